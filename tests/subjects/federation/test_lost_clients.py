"""Clients that the server no longer reaches: the run ends in words or goes on without them; it never waits for ever."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from flwr.app import Error, Message

from testbed.core import Transcript
from testbed.core.errors import RunError
from testbed.subjects.federation import apps, compat
from testbed.subjects.federation.algorithms import strategy_for
from testbed.subjects.federation.apps import LOST, Ordered, client_app, server_app
from testbed.subjects.federation.tap import record
from tests.subjects.federation.test_engine import SPEC, parts, protocol

SUPERLINK = 1
"""The number by which a SuperLink calls itself."""
LAST = compat.FIRST_NODE + 2
ASKED = 6
"""Messages of a first round: three queries and three models."""


class Vanishing(compat.InMemoryGrid):
    """A grid whose last node no longer reports after the first round."""

    def get_node_ids(self) -> Iterable[int]:
        return [n for n in super().get_node_ids() if n != LAST or self._sent < ASKED]


class Silent(compat.InMemoryGrid):
    """A grid that has the code of a cut connection in place of the last node's answer, as a SuperLink gives it."""

    code = 0

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        answers = list(super().pull_messages(message_ids))
        if self._sent <= ASKED:
            return answers
        given = [m for m in answers if m.metadata.src_node_id != LAST]
        for message in (m for m in answers if m.metadata.src_node_id == LAST):
            asked = Message(message.content, LAST, "train")
            asked.metadata.__dict__["_message_id"] = message.metadata.reply_to_message_id
            given.append(Message(Error(self.code, "Node is unavailable: 4711"), reply_to=asked))
            given[-1].metadata.__dict__["_src_node_id"] = SUPERLINK
        return given


def run(
    monkeypatch: pytest.MonkeyPatch, grid: type[compat.InMemoryGrid], tolerate: bool, evaluates: bool = False
) -> Transcript:
    monkeypatch.setattr(compat, "InMemoryGrid", grid)
    monkeypatch.setattr(apps, "PATIENCE_S", 0.0)
    rules = replace(protocol(), clients=3)
    ordered = Ordered(strategy_for(rules, evaluates), None, tolerate, evaluates=evaluates)
    tap = record(ordered, SPEC, rules)
    tap.partition_of = ordered.partition_of
    compat.run_in_process(server_app(tap, ordered, SPEC, rules, 0), client_app(parts(), rules, 0), 3)
    return tap.transcript()


@pytest.mark.parametrize("evaluates", [False, True])
def test_a_client_that_is_gone_between_two_rounds_ends_the_run_and_is_named(
    monkeypatch: pytest.MonkeyPatch, evaluates: bool
) -> None:
    with pytest.raises(RunError, match=r"TB-RUN-022: The server lost client 2: .*network"):
        run(monkeypatch, Vanishing, tolerate=False, evaluates=evaluates)


@pytest.mark.parametrize("evaluates", [False, True])
def test_where_dropout_is_tolerated_the_rounds_go_on_with_those_who_are_there(
    monkeypatch: pytest.MonkeyPatch, evaluates: bool
) -> None:
    seen = run(monkeypatch, Vanishing, tolerate=True, evaluates=evaluates)
    train = [e.key for e in seen.exchanges]
    assert train == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]
    assert {e.status for e in seen.exchanges} == {"ok"}


@pytest.mark.parametrize("code", sorted(LOST))
def test_a_connection_that_is_cut_is_told_as_such_and_not_as_a_mistake_of_the_client(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(Silent, "code", code)
    with pytest.raises(RunError, match=r"TB-RUN-022: The server lost client 2") as caught:
        run(monkeypatch, Silent, tolerate=False)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("code", sorted(LOST))
def test_where_dropout_is_tolerated_a_cut_connection_is_a_dropped_message(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(Silent, "code", code)
    told = {e.key: e.status for e in run(monkeypatch, Silent, tolerate=True).exchanges}
    assert told == {(r, c): "dropped" if (r, c) == (2, 2) else "ok" for r in (1, 2) for c in range(3)}


def test_every_client_gone_ends_the_run_even_where_dropout_is_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vanishing, "get_node_ids", lambda self: list(self._contexts) if self._sent < ASKED else [])
    with pytest.raises(RunError, match="TB-RUN-022: The server lost client 0, 1, 2"):
        run(monkeypatch, Vanishing, tolerate=True)
