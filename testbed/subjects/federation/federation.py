"""A federation as a value; running it turns people's records into the server's transcript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_args

import numpy as np

from testbed.core import Act, Array, Cohort, ModelSpec, Position, Protocol, Transcript
from testbed.core.defence import Defence, Exposure, Where
from testbed.core.errors import UsageError
from testbed.core.guard import Guard
from testbed.subjects.federation import compat, secure
from testbed.subjects.federation.algorithms import strategy_for
from testbed.subjects.federation.apps import (
    PARTITION,
    Ordered,
    adversary,
    client_app,
    server_app,
    uses,
)
from testbed.subjects.federation.attendance import TRAINED, Attendance
from testbed.subjects.federation.combinations import check
from testbed.subjects.federation.engines import ENGINES
from testbed.subjects.federation.guarding import Watching, guarded
from testbed.subjects.federation.local import Rule
from testbed.subjects.federation.parties import Parties
from testbed.subjects.federation.secure import SecureAggregation
from testbed.subjects.federation.tap import record


@dataclass(frozen=True, slots=True)
class Federation:
    """A recipe: the model, the rules of training, and the defences and guards of a federation.

    A client whose guard refuses does not stop the federation. A server's guards do not work on sums.
    """

    model: ModelSpec
    protocol: Protocol
    seed: int = 0
    defences: tuple[Defence, ...] = ()
    """Applied in this order: the first one stands nearest to the records."""
    tolerate: bool = False
    secure: SecureAggregation | None = None
    start: Mapping[str, Array] | None = field(default=None, repr=False)
    """Parameters of an already trained model to begin with; otherwise they are drawn by `seed`."""
    guards: tuple[Guard, ...] = ()
    evaluates: bool = False
    """Whether all clients also evaluate each round's global model, and report its loss and accuracy."""
    attendance: Attendance = field(default_factory=Attendance)
    """Who takes part in a round. By default all clients always answer."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for a server's guards under secure aggregation, and for rules that do not go together."""
        object.__setattr__(self, "protocol", ruled(self.protocol, self.defences))
        secured = self.secure is not None or any(d.where == "protocol" for d in self.defences)
        check(self.protocol, self.attendance, self.defences, self.guards, secured)
        of_server = [g.name for g in self.guards if g.side == "server"]
        if of_server and secured:
            raise UsageError(
                "TB-GUARD-007",
                f"The guard {of_server[0]} does not work under secure aggregation.",
                "It looks at single updates, and the server has their sum alone.",
                "Leave it out. Guards of clients work there.",
            )

    @property
    def secured(self) -> SecureAggregation | None:
        """The secure aggregation under which the clients answer, if there is one."""
        return self.secure or next((d.build(self.seed) for d in self.defences if d.where == "protocol"), None)

    def exposure(self, records: int, position: Position = "server") -> Exposure:
        """How often the records of a client that has `records` of them enter what is seen from this position."""
        protocol = self.protocol
        return Exposure(protocol.rounds, uses(protocol, records), protocol.clients, position)

    def turns(self, clients: int) -> Array | None:
        """The turn (rounds, clients) of each client in each round; None if all of them always answer."""
        if self.attendance.everybody:
            return None
        return self.attendance.turns(self.seed, self.protocol.rounds, clients)

    def nobody(self, clients: int) -> bool:
        """Whether no client ever answers: all that are invited drop out, or would answer after the last round."""
        drawn = self.turns(clients)
        return drawn is not None and not np.isin(drawn, TRAINED).any()

    def run(
        self, partitions: Sequence[Cohort], engine: str = "in-process", act: Act | None = None, actor: str | None = None
    ) -> Transcript:
        """Trains on one partition a client and returns what the server sees.

        `act` is what a malicious position does meanwhile, and `actor` the name of the attack. Raises `UsageError` for
        an unknown engine or a client without records, `RunError` if the federation fails.
        """
        if engine not in ENGINES:
            raise UsageError(
                "TB-RUN-004",
                f"There is no engine called {engine!r}.",
                "A federation runs in this process, on Flower's simulation runtime, or deployed as processes.",
                f"Use one of: {', '.join(ENGINES)}.",
            )
        if not all(map(len, partitions)):
            raise UsageError(
                "TB-SPLIT-012",
                "A client holds no record.",
                "The mean over no records is undefined, and would make the model unusable.",
                "Use fewer clients, more members, or another partition.",
            )
        if self.nobody(len(partitions)):
            raise UsageError(
                "TB-RUN-017",
                "No client would answer in any round.",
                "All that are invited drop out, or would answer after the last round.",
                "Use more rounds, more clients, fewer dropouts, or another seed.",
            )
        partitions = Parties(partitions)
        protocol = replace(self.protocol, clients=len(partitions))
        model = act.model if act and act.model else self.model
        exposure = self.exposure(min(map(len, partitions)))
        built: dict[Where, list[tuple[Defence, Any]]] = {where: [] for where in get_args(Where)}
        for one in self.defences:
            built[one.where].append((one, one.build(self.seed, exposure)))
        ours = [g for g in self.guards if g.side == "client"]
        may_refuse = any(g.action == "refuse" for g in ours)
        with compat.quiet():
            strategy = strategy_for(protocol, self.evaluates)
            for _, wrap in built["server"]:
                strategy = wrap(strategy, protocol)
            ordered = Ordered(
                strategy,
                act and act.craft,
                tolerate=self.tolerate,
                observe=act and act.observe,
                probe=act and act.probe,
                may_refuse=may_refuse,
                evaluates=self.evaluates,
            )
        ordered.turns = self.turns(len(partitions))
        watching = Watching(ordered, [g for g in self.guards if g.side == "server"], protocol.kind == "fedsgd")
        tap = record(watching if watching.guards else ordered, model, protocol)
        tap.partition_of = ordered.partition_of
        rules = [Rule(d.name, d.drawn(self.seed), change) for d, change in built["training"]]
        mods = [mod for _, mod in reversed(built["update"])]  # Flower applies the first one last
        if ours:
            own = act.nodes if act and act.answer else ()
            mods.insert(0, guarded(ours, lambda context: partitions[int(context.node_config[PARTITION])], None, own))
        if act and act.answer:
            mods.insert(0, adversary(act.answer, act.nodes))
        checks = [mod for _, mod in built["message"]]
        if secured := self.secured:
            # Updates are changed before they are masked. A defence that checks messages does so before the protocol.
            sizes = [len(p) for p in partitions]
            given = secure.Seen([], {})
            server = secure.server_app(ordered, model, protocol, self.seed, secured, sizes, act, given, self.start)
            mods = [*secure.mods(model, self.seed), *mods]
            watched = partial(secure.transcript, given, model, protocol)
        else:
            server = server_app(tap, ordered, model, protocol, self.seed, self.start)
            watched = tap.transcript
        client = client_app(partitions, protocol, self.seed, [*checks, *mods], rules, ordered.turns)

        def seen() -> Transcript:
            return watched() if act is None else replace(watched(), act=actor, memory=act.remember)

        return ENGINES[engine](server, client, len(partitions), seen)


def ruled(protocol: Protocol, defences: Sequence[Defence]) -> Protocol:
    """The rules of training after those defences that change them. Applied again, it changes nothing."""
    for one in defences:
        if one.where == "rules":
            protocol = one.build(0)(protocol)
    return protocol


def by_party(people: Cohort, party: Array) -> list[Cohort]:
    """One partition for each party number from 0 on; people of party -1 are left out."""
    return [people.take(np.flatnonzero(party == p)) for p in range(int(party.max()) + 1)]
