# pyright: strict
"""The schema of `comparison.json`: `testbed.comparison/1`. Between equal sweeps only four fields of `run` differ."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from testbed.findings.schema import (
    Decision,
    Disclosure,
    Environment,
    Limit,
    Measure,
    Model,
    Risk,
    Statistic,
    Subject,
    ThreatModel,
    Tool,
    Traffic,
    Unmeasured,
    Verdict,
)

SCHEMA = "testbed.comparison/1"
Value = bool | int | float | str | None


class Times(Environment):
    """The machine, and how long a run of each setting took there."""

    seconds: dict[str, Statistic] = Field(default_factory=dict[str, Statistic])
    client_rounds: dict[str, dict[str, Statistic]] = Field(default_factory=dict[str, dict[str, Statistic]])
    """CPU seconds of one client's round in each setting with defences: with them and without."""


class ComparisonRun(Model):
    """`id`, `created`, `duration_s` and `environment` differ between equal sweeps; nothing else does."""

    id: str
    created: str
    duration_s: Statistic
    environment: Times
    tool: Tool
    command: Literal["compare"] = "compare"
    scenarios: list[str]
    questions: list[str]
    varied: list[str]
    """The parameters in which settings differ."""
    runs: int


class Protection(Model):
    """A defence of a setting. `adaptive` says whether an attacker that knows the defence was run."""

    name: str
    params: dict[str, Value]
    guarantee: Literal["formal", "heuristic"]
    epsilon: Measure
    adaptive: bool


class Leak(Model):
    """What the strongest attack on one risk finds under a setting. Attacks are ranked by their excess."""

    risk: Risk
    attack: str
    target: str | None = None
    attacks: int
    """How many attacks on this risk were run, this one among them."""
    measure: Measure
    control: Measure
    excess: Measure
    upper: Statistic | None = None
    """Upper bound of the excess that holds for all settings together with 95 % confidence; of attacks that decide, the
    highest one."""
    limit: Limit | Unmeasured
    verdict: Verdict
    letters: str = ""
    """Settings that share a letter could not be distinguished."""
    dominated: bool = False
    """Whether another setting leaks no more and is no less useful, and is better in one of the two."""


class Use(Model):
    """A figure of utility, and how much of it the setting costs: the reference's minus its own."""

    name: str
    measure: Measure
    cost: Measure


class Setting(Model):
    """All runs with the same parameters but for the attack and the seed."""

    name: str
    params: dict[str, Value]
    runs: int
    reference: str | None = None
    """The setting without defence that costs are counted from."""
    protections: list[Protection]
    leaks: list[Leak]
    utility: list[Use]
    traffic: Traffic | None = None
    verdict: Verdict
    reasons: list[str] = Field(default_factory=list[str])


class Entry(Model):
    """One attack under one setting: a cell of the matrix."""

    setting: str
    risk: Risk
    attack: str
    target: str | None = None
    primary: bool
    measure: Measure
    excess: Measure
    verdict: Verdict
    flags: list[str]


class Difference(Model):
    """The excess of one setting minus that of another, each under its strongest attack. p is two-sided."""

    risk: Risk
    one: str
    other: str
    difference: Measure
    p: Statistic | None = None
    adjusted_p: Statistic | None = None
    """Corrected for all pairs of this risk (Holm)."""


class LeftOut(Model):
    """Runs that do not count, and why."""

    setting: str
    why: Literal["other_code", "other_data", "failed", "damaged"]
    runs: int
    detail: str


class Recommendation(Model):
    setting: str | None = None
    text: str
    cautions: list[str] = Field(default_factory=list[str])


class ComparisonProof(Model):
    """Digests (SHA-256) of the settings, the decision, and all that does not differ between equal comparisons.

    `run.id` is a digest that includes what differs, too.
    """

    settings: str
    decision: str
    content: str


class Comparison(Model):
    schema_: Literal["testbed.comparison/1"] = Field(SCHEMA, alias="schema")
    run: ComparisonRun
    subjects: list[Subject]
    threats: list[ThreatModel]
    main_utility: str | None = None
    """The figure of utility by which settings are ranked."""
    settings: list[Setting]
    matrix: list[Entry]
    differences: list[Difference]
    left_out: list[LeftOut]
    decision: Decision
    recommendation: Recommendation
    disclosure: Disclosure
    proof: ComparisonProof | None = None

    def dump(self) -> dict[str, Any]:
        """The comparison as it is written to JSON: absent optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
