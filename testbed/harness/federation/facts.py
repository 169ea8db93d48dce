"""What the report of every federation says beside its attacks: whether promises are kept, and what remains useful."""

from __future__ import annotations

from dataclasses import replace

from testbed.core import Position
from testbed.data.cohorts import Source
from testbed.harness.dp_audit import promised
from testbed.harness.federation.usefulness import usefulness
from testbed.harness.outcome import Outcome
from testbed.subjects.federation.federation import Federation


def completed(
    outcome: Outcome, source: Source | None, federation: Federation, records: int, position: Position
) -> Outcome:
    """The outcome with the facts of this federation, whose smallest client has so many `records`.

    Without a `source` of labelled people there is no accuracy. An epsilon that is promised against an attacker at this
    `position` is audited, and the run fails if it is exceeded.
    """
    kept = promised.kept(federation, records, position)
    useful = usefulness(source, federation) if source else []
    return replace(outcome, findings=[*outcome.findings, *kept], utility=[*outcome.utility, *useful])
