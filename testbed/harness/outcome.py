"""The outcome of a run: findings, evidence, and the files that stay private."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.findings.schema import Picture, Result, Traffic, Utility

if TYPE_CHECKING:
    from testbed.core import Evidence
    from testbed.core.disclosure import People
    from testbed.findings.schema import Finding


Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a trial: findings, pictures and utility for the report; evidence and files for evidence/.

    `people` are those whom nothing shared may quote.
    """

    findings: list[Finding]
    evidence: dict[str, Evidence]
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    pictures: list[Picture] = field(default_factory=list[Picture])
    utility: list[Utility] = field(default_factory=list[Utility])
    people: People | None = None
    traffic: Traffic | None = None
    client_round: Mapping[str, float] | None = None
    """CPU seconds of one client's round, with the defences and without."""
    summary: list[str] = field(default_factory=list[str])
    """What several findings say together, in words for the first page."""


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run: its result for the report, and its outcome with what stays private."""

    result: Result
    outcome: Outcome
