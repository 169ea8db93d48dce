# pyright: strict
"""The schema of `result.json`, from which every report is made: `testbed.result/1`.

Unknown properties are refused, so that no raw row can be added. Every number is either a statistic with its interval,
method, unit and n, or an `Unmeasured` that says what is missing. Statistics are rounded to four significant digits.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from testbed.findings.rounded import Statistic as Statistic
from testbed.findings.rounded import four_digits as four_digits
from testbed.findings.terms import DataClass, Metric, Risk, Unit, Verdict

SCHEMA = "testbed.result/1"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Estimate(Model):
    """A measured number with its interval. `level` is two-sided; 0.90 for an excess, so each bound holds at 95 %."""

    metric: Metric
    value: Statistic
    low: Statistic
    high: Statistic
    level: Statistic
    method: str
    unit: Unit
    n: int = Field(ge=0)
    fpr: Statistic | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Estimate:
        if not self.low <= self.value <= self.high:
            raise ValueError("an estimate must lie within its interval")
        return self


class Unmeasured(Model):
    """Why there is no number (a code), and what it needs to have one. It is never written as a zero."""

    unmeasured: str
    needs: str


Measure = Estimate | Unmeasured


class AttackRun(Model):
    name: str
    params: dict[str, bool | int | float | str | None]
    requested: int
    performed: int


class Validity(Model):
    ok: bool
    flags: list[str]


class Limit(Model):
    """The policy's limit on the excess, and the id of the policy."""

    excess: Statistic
    source: str


class Series(Model):
    """The numbers of one chart: at most 60 aggregates, never one per record."""

    name: str
    kind: Literal["roc", "bars", "lines"]
    x_label: str
    y_label: str
    labels: list[str] = []
    x: list[Statistic] = []
    y: list[Statistic] = []
    low: list[Statistic] = []
    high: list[Statistic] = []

    @model_validator(mode="after")
    def _thinned(self) -> Series:
        sizes = {len(s) for s in (self.labels, self.x, self.y, self.low, self.high) if s}
        if len(sizes) > 1 or (sizes and max(sizes) > 60):
            raise ValueError("a series holds equally long lists of at most 60 points")
        return self


class Taxon(Model):
    scheme: str
    id: str
    fit: Literal["exact", "partial", "none"]


class Finding(Model):
    """One attack on one risk.

    `measure`: success on people whose records were used. `control`: on people whose records were not used. `baseline`:
    without a view of the records used. `positive_control`: on a subject known to leak. `excess`: measure minus control.
    `residual`: excess / (1 - control).
    """

    rule: str = Field(pattern=r"^TB-[A-Z_]+-\d{3}$")
    risk: Risk
    attack: AttackRun
    primary: bool
    measure: Measure
    control: Measure
    baseline: Measure
    excess: Measure
    residual: Measure
    positive_control: Measure
    validity: Validity
    limit: Limit | Unmeasured
    verdict: Verdict
    plain: str
    taxonomy: list[Taxon] = []
    series: list[Series] = []
    adjusted_p: Statistic | None = None
    """For findings by group: the one-sided p-value of 'no excess', Holm-adjusted over all groups."""
    target: str | None = None
    """What was guessed: a secret's column, a split's name, the size of a line-up."""


class Tool(Model):
    name: Literal["leakage-testbed"] = "leakage-testbed"
    version: str


class Environment(Model):
    """The machine's software and size; it differs between otherwise equal runs."""

    python: str
    system: str
    cores: int
    packages: dict[str, str]
    cpu_seconds: Statistic = 0.0
    client_round: dict[str, Statistic] | None = None
    """CPU seconds of one client's round with the defences and without, if there are defences."""


class Run(Model):
    id: str
    created: str
    duration_s: Statistic
    environment: Environment
    tool: Tool
    command: Literal["run", "evaluate", "replay", "audit-model", "check", "range"]
    scenario: str
    question: str
    engine: str
    seed: int
    params: dict[str, bool | int | float | str | None]
    status: Literal["complete", "partial"] = "complete"


class TableColumn(Model):
    """How one column of a table was read. `gaps` is the share of cells without a value, rounded to a hundredth."""

    name: str
    kind: Literal["number", "date", "category", "empty"]
    """`empty`: it has no value in the original or in the release, and was left out."""
    declared: bool
    """Whether the meta file gives the kind; otherwise it was inferred from the cells."""
    unit: str | None = None
    gaps: Statistic
    coded_gaps: bool = False
    """Whether numbers that stand for missing values, such as 99999 or -9, were read as gaps."""
    doubtful: bool = False
    """Whether it was read as a category although it has many different values and most of them hold digits."""
    notes: list[str] = []
    """What was done so that the tables can be compared (units, bands, mapped values), or what speaks against it."""
    flags: list[str] = []
    """The flags that this column raises, such as `kind_in_doubt` or `units_differ`."""
    likeness: Measure | None = None
    """1 minus the distance between released and real values; 1 is best."""
    copies: Measure | None = None
    """The share of values of a single person of the original that stand in the release."""
    control_copies: Measure | None = None
    """The same share for people of the control."""


class Subject(Model):
    type: Literal["federation", "synthetic_table", "transcript", "model", "exercise"]
    name: str
    data_class: DataClass
    licence: str
    size_band: str
    columns: int | None = None
    table: list[TableColumn] = []
    """A table's columns in their order; empty for other subjects."""
    notes: list[str] = []
    """What the readers of the files guessed or left out: an encoding, lines above or below the table."""


class ThreatModel(Model):
    position: Literal["server", "client", "recipient"]
    malicious: bool
    knows: list[str]
    access: Literal["white", "score", "label"]
    sees: str
    not_tested: list[str]


class Defence(Model):
    name: str
    params: dict[str, bool | int | float | str | None]
    epsilon: Measure
    adaptive: bool = False
    """Whether the attack that decides was told of the defence and adapts to it."""


class Traffic(Model):
    """Bytes that a client sends in a round: four for each number, and in the smallest form that the defences allow."""

    dense: Statistic
    smallest: Statistic


class Utility(Model):
    name: str
    measure: Measure


class Waiver(Model):
    """Somebody accepts a risk until a day. It is applied where the risk gave a FAIL or a REVIEW."""

    risk: Risk
    name: str
    reason: str
    expires: str
    state: Literal["applied", "expired", "not needed"]


class Policy(Model):
    """The policy that decided. `basis` says where its limits come from, as its file does."""

    id: str
    sha256: str
    basis: str | None = None
    waivers: list[Waiver] | None = None


class Reason(Model):
    rule: str
    verdict: Verdict
    text: str


class Decision(Model):
    verdict: Verdict
    policy: Policy | Unmeasured
    reasons: list[Reason]


class Picture(Model):
    """An image shown beside its original: public or synthetic data only."""

    caption: str
    licence: str
    png_base64: str


class Disclosure(Model):
    tier: Literal["shareable"] = "shareable"
    gate: Literal["passed"] = "passed"
    min_cell: int
    withheld: list[str]
    evaluations: int | None = None
    """How many evaluations of these people were made on this machine, with this one; real data only."""
    not_counted: str | None = None
    """Why evaluations of these people could not be counted, or which ones are not in the count; real data only."""
    closest: Literal["one person", "a few people"] | None = None
    """By how many people an earlier evaluation's original differs from this one, if by fewer than `min_cell`."""
    pictures: list[Picture] = []


class Input(Model):
    """A table, a model or a transcript that a result is about: what it was, its file's name, and its digest.

    The digest of a table is one of its rows in any order, whatever the file's format; of any other file, of its bytes.
    """

    role: str
    name: str
    rows: str
    """The number of rows as a band, or `not a table`."""
    digest: str
    keyed: bool
    """Whether the digest was computed with the site's key, so that nobody else can try out what the table may hold."""


class Proof(Model):
    """Digests (SHA-256) that show whether the result was altered: of its findings, its decision, and the whole content.

    `content` leaves out the four fields that differ between equal runs; `run.id` is a digest that includes them.
    """

    command: str | None = None
    """The command line with files' names for paths, without options that change no result."""
    inputs: list[Input] = []
    key: str | None = None
    """The name of the site's key, itself a digest; absent if no input needed it."""
    findings: str
    decision: str
    content: str


class ExerciseScore(Model):
    """The points of one side of a team, and the counts that they were given for."""

    team: int
    side: Literal["red", "blue"]
    points: int
    counts: dict[str, int]


class ExerciseRound(Model):
    """One round of a team's federation: what blue had switched on, what happened, and what was lost."""

    team: int
    round: int
    minute: Statistic
    title: str
    defence: str
    guards: str
    alarms: int
    utility: Statistic
    above_floor: bool
    sent: int
    """Patients whose update was sent."""
    lost: int
    """Patients of this round who were reconstructed."""
    attacked: str | None = None
    """The technique of a malicious coordinator."""
    detected: bool = False
    """Whether blue reported it, with the right technique."""
    par: Statistic | None = None
    """The true-positive rate of the trivial membership attack, where membership was asked about."""
    best: Statistic | None = None
    """The largest true-positive rate that a membership claim of red had."""
    leaks: bool | None = None
    """Does this candidate release hold rows of single patients? None for other levels."""
    decided: Literal["release", "hold"] | None = None
    """What blue decided about a candidate release."""


class ExerciseEvent(Model):
    """One line of the timeline. `points` are those of the side that acted; 0 where none were given."""

    minute: Statistic
    team: int
    round: int
    who: str
    what: str
    points: int = 0


class Exercise(Model):
    """What happened in a cyber-range exercise, for its debriefing."""

    instance: str
    minutes: int
    scores: list[ExerciseScore]
    rounds: list[ExerciseRound]
    timeline: list[ExerciseEvent]


class Result(Model):
    schema_: Literal["testbed.result/1"] = Field(SCHEMA, alias="schema")
    run: Run
    subject: Subject
    threat: ThreatModel
    defences: list[Defence]
    findings: list[Finding]
    utility: list[Utility]
    traffic: Traffic | None = None
    exercise: Exercise | None = None
    decision: Decision
    disclosure: Disclosure
    summary: list[str] | None = None
    """What several findings say together, in words for the first page; absent where each speaks for itself."""
    proof: Proof | None = None
    """Absent in results of earlier versions."""

    def dump(self) -> dict[str, Any]:
        """The result as it is written to JSON: field names by alias, absent optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
