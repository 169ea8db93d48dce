"""Who takes part in a round: clients are invited by lot, drop out, do a part of their work, or answer late."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from testbed.core import Array
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng

if TYPE_CHECKING:  # a recording is judged without Flower
    from flwr.app import Message
    from flwr.serverapp import Grid


class Turn(IntEnum):
    """What a client does in a round."""

    ABSENT = 0
    """It is not invited, or is still busy with an earlier round. Nothing is sent to it."""
    ANSWERS = 1
    DROPPED = 2
    """It is invited, and fails before it trains. It sends nothing."""
    PARTIAL = 3
    """It answers after a part of its local steps."""
    LATE = 4
    """It does all of its work, and its answer arrives with those of the next round."""


TRAINED = (Turn.ANSWERS, Turn.PARTIAL, Turn.LATE)
"""Turns of which the server receives an answer."""


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who takes part, drawn by the seed: the same on every engine.

    In each round `participation` is the share of clients that are invited. Each of them drops out with probability
    `dropouts`, and else is a straggler with probability `stragglers`: it stops after a random number of its local
    steps, at least one and not all, as in Li et al. 2020 (FedProx). With `late` it finishes, and answers one round
    later, trained on the model that it was sent; meanwhile it is not invited. After the last round nothing arrives.
    """

    participation: float = 1.0
    dropouts: float = 0.0
    stragglers: float = 0.0
    late: bool = False

    def __post_init__(self) -> None:
        """Raises `UsageError` for shares that are none."""
        if not (0 < self.participation <= 1 and 0 <= self.dropouts < 1 and 0 <= self.stragglers <= 1):
            raise UsageError(
                "TB-RUN-018",
                "These shares of clients are impossible.",
                "participation is above 0 and at most 1, dropouts from 0 to below 1, stragglers from 0 to 1.",
                "Use for example participation=0.5, dropouts=0.1, stragglers=0.2.",
            )
        if self.late and not self.stragglers:
            raise UsageError(
                "TB-RUN-010",
                "late=true has no stragglers.",
                "It says what stragglers do: they answer late, instead of doing a part of their work.",
                "Give stragglers=0.2 beside it, or leave it out.",
            )

    @property
    def everybody(self) -> bool:
        """Whether every client answers in every round, with all of its work."""
        return self.participation == 1 and not self.dropouts and not self.stragglers

    @property
    def partial(self) -> bool:
        """Whether stragglers do a part of their work."""
        return self.stragglers > 0 and not self.late

    def turns(self, seed: int, rounds: int, clients: int) -> Array:
        """The turn (rounds, clients) of each client in each round."""
        made = np.full((rounds, clients), Turn.ABSENT, np.int8)
        invited = max(1, round(self.participation * clients))
        busy = np.zeros(clients, bool)
        for at in range(rounds):
            rng = keyed_rng(seed, "attendance", str(at + 1))
            order, fate = rng.permutation(clients), rng.random((2, clients))
            chosen = order[~busy[order]][:invited]
            slow = np.where(fate[1] < self.stragglers, Turn.LATE if self.late else Turn.PARTIAL, Turn.ANSWERS)
            drawn = np.where(fate[0] < self.dropouts, Turn.DROPPED, slow)
            made[at, chosen] = drawn[chosen]
            busy = made[at] == Turn.LATE
        if rounds:
            made[-1, busy] = Turn.DROPPED
        return made


def worked(turn: int, seed: int, client: int, round_: int, steps: Sequence[Array]) -> list[Array]:
    """The local steps that a client makes of those it should: a straggler stops after some of them."""
    if turn != Turn.PARTIAL or len(steps) < 2:
        return list(steps)
    return list(steps[: int(keyed_rng(seed, "partial", client, str(round_)).integers(1, len(steps)))])


@contextlib.contextmanager
def unreliable(grid: Grid, turns: Array, partition_of: Mapping[int, int]) -> Generator[None]:
    """A context in which the grid loses messages to clients that drop out, and holds back late answers for a round.

    The grid stays the same object. A strategy sees of it what a real network would show: fewer answers, and old ones.
    """
    own = grid.send_and_receive
    held: list[Message] = []
    grid.send_and_receive = partial(_exchanged, own, turns, partition_of, held)  # type: ignore[method-assign]
    try:
        yield
    finally:
        vars(grid).pop("send_and_receive", None)


def _exchanged(
    own: Callable[..., Iterable[Message]],
    turns: Array,
    partition_of: Mapping[int, int],
    held: list[Message],
    messages: Iterable[Message],
    **more: Any,
) -> list[Message]:
    sent = list(messages)
    if not sent or sent[0].metadata.message_type.partition(".")[0] != "train":
        return list(own(sent, **more))
    config = next(iter(sent[0].content.config_records.values()))
    now = turns[int(str(config["server-round"])) - 1]
    through = [m for m in sent if now[partition_of[m.metadata.dst_node_id]] != Turn.DROPPED]
    replies = list(own(through, **more)) if through else []
    late = [m for m in replies if now[partition_of[m.metadata.src_node_id]] == Turn.LATE]
    arrived = [m for m in replies if now[partition_of[m.metadata.src_node_id]] != Turn.LATE] + held
    held[:] = late
    return arrived
