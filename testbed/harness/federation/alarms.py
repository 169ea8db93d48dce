"""What guards do to a federation's figures: who was not read, and how often an honest round gives an alarm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from testbed.attacks.registry import find
from testbed.core import Array, Cohort, Evidence, Exchange, Reconstruction, Transcript
from testbed.core.guard import Gathered, Guard, Memory, Received
from testbed.findings import measures, schema, statistics
from testbed.findings.schema import Finding, Unmeasured, Utility
from testbed.harness.federation.recorded import Key
from testbed.subjects.federation.attendance import Attendance
from testbed.subjects.federation.local import one_thread

if TYPE_CHECKING:  # a recording is judged without Flower
    from testbed.subjects.federation.federation import Federation

HONEST = 20
"""Honest federations in which alarms are counted, each with initial weights and batches of its own."""
ROUNDS = 10
"""Most rounds of each."""
NO_HIDING = "naive_attacker"
"""The flag of a finding whose malicious attacker does nothing to hide from the guards."""


def reported(guards: Sequence[Guard], hides: bool) -> list[schema.Defence]:
    """Each guard for the report; `hides` says whether the server that decides hides from it. A guard proves nothing."""
    nothing = Unmeasured(unmeasured="no_guarantee", needs="a defence with a differential-privacy accountant")
    return [
        schema.Defence(
            name=g.name,
            params={**g.params, "threshold": g.threshold, "action": g.action},
            epsilon=nothing,
            adaptive=hides and g.side == "client",
        )
        for g in guards
    ]


def refused(view: Transcript) -> frozenset[Key]:
    """The exchanges, by round and client, in which the client refused to train."""
    return frozenset(e.key for e in view.exchanges if e.status == "refused")


def counted(rows: Evidence, claim: Reconstruction, people: Mapping[Key, Cohort], view: Transcript) -> Evidence:
    """The evidence, in which the people of clients that refused count as asked about: nothing was read of them."""
    gone = refused(view)
    unread = [len(p) for key, p in people.items() if key in gone and not len(claim.batches.get(key, ()))]
    share = sum(unread) / max(1, sum(map(len, people.values())))  # rows are people, or their batches
    return replace(rows, performed=min(rows.requested, rows.performed + round(share * rows.requested)))


def unhidden(findings: Sequence[Finding], guards: Sequence[Guard]) -> list[Finding]:
    """The findings, with a flag on each attacker who acts, does not hide, and is looked at by guards."""
    sides = {g.side for g in guards}
    acting = [find(f.attack.name) for f in findings]
    watched = [a.malicious and bool(sides - {a.position}) for a in acting]
    return [measures.flagged(f, NO_HIDING) if w else f for f, w in zip(findings, watched, strict=True)]


def false_alarms(federation: Federation, people: Cohort, records: int) -> list[Utility]:
    """How often each guard, and any guard of a side, raises an alarm in an honest round; the unit is the run.

    Each client holds `records` of these people. The federations have the same rules and defences, nobody attacks, and
    nobody refuses. Under secure aggregation the same clients answer without masks, which guards of clients do not see.
    """
    if not federation.guards:
        return []
    protocol = replace(federation.protocol, rounds=min(ROUNDS, federation.protocol.rounds))
    open_ = tuple(d for d in federation.defences if d.where not in ("protocol", "message"))
    held = [np.arange(c * records, (c + 1) * records) % len(people) for c in range(protocol.clients)]
    parts = [people.take(rows) for rows in held]
    raised: dict[str, list[tuple[int, bool]]] = {g.name: [] for g in federation.guards}
    for number in range(HONEST):
        honest = replace(
            federation,
            protocol=protocol,
            seed=federation.seed + number,
            defences=open_,
            secure=None,
            guards=(),
            attendance=Attendance(),
        )
        seen = honest.run(parts)
        for guard in federation.guards:
            raised[guard.name] += [(number, guard.alarms(s)) for s in signals(guard, seen, parts)]
    made = [_rate(f"honest rounds with an alarm of {name}", rows) for name, rows in raised.items()]
    for side in ("client", "server"):
        ours = [raised[g.name] for g in federation.guards if g.side == side]
        if len(ours) > 1:
            both = [(rows[0][0], any(alarm for _, alarm in rows)) for rows in zip(*ours, strict=True)]
            made.append(_rate(f"honest rounds with an alarm of any guard of the {side}", both))
    return made


def _rate(name: str, rows: Sequence[tuple[int, bool]]) -> Utility:
    federation, alarm = (np.array(column) for column in zip(*rows, strict=True))
    found = statistics.proportion(alarm.astype(float), federation)
    return Utility(name=name, measure=measures.estimate("rate", found, "run", len(alarm)))


def signals(guard: Guard, seen: Transcript, parts: Sequence[Cohort]) -> Iterator[float]:
    """The guard's signal for each round and client of a whole transcript, in this order; NaN where it cannot tell."""
    by_round: dict[int, dict[int, Exchange]] = {}
    for exchange in seen.exchanges:
        by_round.setdefault(exchange.round, {})[exchange.client] = exchange
    memories: dict[int, Memory] = {client: {} for client in range(-1, len(parts))}
    before: dict[int, Exchange] = {}
    assert seen.model is not None
    settings = {
        "kind": seen.protocol.kind,
        "learning-rate": seen.protocol.learning_rate,
        "clients": len(parts),
    }
    for round_, exchanges in sorted(by_round.items()):
        if guard.side == "server":
            yield from _of_server(guard, round_, exchanges, seen, memories[-1])
            continue
        for client, exchange in sorted(exchanges.items()):
            assert exchange.sent is not None
            received = Received(round_, client, seen.model, exchange.sent, parts[client], before.get(client), settings)
            with one_thread():
                signal = guard.check(received, memories[client])
            assert not isinstance(signal, Mapping)
            yield signal
        before = exchanges


def _of_server(
    guard: Guard, round_: int, exchanges: Mapping[int, Exchange], seen: Transcript, memory: Memory
) -> Iterator[float]:
    sent = {c: e.sent for c, e in exchanges.items() if e.sent is not None}
    updates: dict[int, dict[str, Array]] = {}
    for client, exchange in exchanges.items():
        returned = exchange.returned or {}
        updates[client] = {
            k: -v if seen.protocol.kind == "fedsgd" else v - sent[client][k] for k, v in returned.items()
        }
    told = guard.check(Gathered(round_, sent, updates), memory)
    assert isinstance(told, Mapping)
    yield from (told[client] for client in sorted(exchanges))
