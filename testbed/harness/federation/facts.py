"""What the report of every federation says beside its attacks: whether promises are kept, and what remains useful."""

from __future__ import annotations

from dataclasses import replace

from testbed.core import Cohort, Position
from testbed.data.cohorts import Source
from testbed.harness.dp_audit import promised
from testbed.harness.federation.alarms import false_alarms
from testbed.harness.federation.cost import cost
from testbed.harness.federation.usefulness import usefulness
from testbed.harness.outcome import Outcome
from testbed.subjects.federation.federation import Federation


def completed(
    outcome: Outcome, source: Source | None, people: Cohort, federation: Federation, records: int, position: Position
) -> Outcome:
    """The outcome with the facts of this federation, whose smallest client has so many `records`.

    `people` are any who fit its network: on them it is told what the defences cost in bytes and seconds.
    Guards' false alarms stand beside the accuracy. Without a `source` of labelled people there is no accuracy. An
    epsilon that is promised against an attacker at this `position` is audited, and the run fails if it is exceeded.
    """
    wrong = false_alarms(federation, people, max(records, 1))
    federation = replace(federation, guards=())
    kept = promised.kept(federation, records, position)
    useful = usefulness(source, federation) if source else []
    spent = cost(federation, people, records) if federation.defences else None
    return replace(
        outcome,
        findings=[*outcome.findings, *kept],
        utility=[*outcome.utility, *useful, *wrong],
        traffic=spent and spent.traffic,
        client_round=spent and spent.seconds,
    )
