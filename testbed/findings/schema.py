# pyright: strict
"""`result.json`, the single source of every report: `testbed.result/1`.

Additional properties are refused, so that a raw row cannot ride along, and every number is either a statistic
with its interval, method, unit and n, or an `Unmeasured` that says what is missing. Statistics are rounded to
four significant digits when they enter.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA = "testbed.result/1"

Verdict = Literal["pass", "review", "fail", "none"]
DataClass = Literal["real", "public", "synthetic"]
Risk = Literal[
    "singling_out",
    "linkability",
    "attribute_inference",
    "membership",
    "reconstruction",
    "property",
    "class_inversion",
    "extraction",
    "copying",
    "structure",
    "epsilon",
]
Metric = Literal[
    "rate",
    "line_up_top1",
    "tpr_at_fpr",
    "auc",
    "excess",
    "residual",
    "exact_match",
    "token_recall",
    "psnr_db",
    "epsilon_lower",
    "epsilon_upper",
    "fidelity",
]
Unit = Literal["record", "person", "client", "query", "predicate", "class", "batch", "run", "row", "column_set"]


def four_digits(value: float) -> float:
    """Four significant digits: enough for any decision, too few to carry a record's measurement."""
    return value if value == 0 or not math.isfinite(value) else round(value, 3 - math.floor(math.log10(abs(value))))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a statistic must be finite")
    return four_digits(value)


Statistic = Annotated[float, AfterValidator(_finite)]
"""A number that describes many guesses; exempt from the gate's search because of its rounding."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Estimate(Model):
    """A measured number. `level` is two-sided; of an excess it is 0.90, so that each bound holds one-sided at 95 %."""

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
    """Could not tell, and what it would take. Never a zero."""

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
    """The policy's limit on the excess, and where it stands."""

    excess: Statistic
    source: str


class Series(Model):
    """Aggregates behind one chart: never a mark per record."""

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
    """One attack on one risk: what it reached, on whom it cannot be leakage, what chance gives, what it could find."""

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
    """Of several groups: the one-sided p of 'nothing is given away', Holm-adjusted over all of them."""
    target: str | None = None
    """What was guessed at: a secret's column, a split's name, the positions of a line-up."""


class Tool(Model):
    name: Literal["leakage-testbed"] = "leakage-testbed"
    version: str


class Environment(Model):
    """The machine, in words; differs between equal runs."""

    python: str
    system: str
    cores: int
    packages: dict[str, str]
    cpu_seconds: Statistic = 0.0


class Run(Model):
    id: str
    created: str
    duration_s: Statistic
    environment: Environment
    tool: Tool
    command: Literal["run", "evaluate", "replay", "audit-model", "check"]
    scenario: str
    question: str
    engine: str
    seed: int
    params: dict[str, bool | int | float | str | None]
    status: Literal["complete", "partial"] = "complete"


class TableColumn(Model):
    """What one column of a table was taken for. `gaps` is the share of cells without a value, to a hundredth."""

    name: str
    kind: Literal["number", "date", "category"]
    declared: bool
    """Whether the meta file says the kind; else it was told from the cells."""
    unit: str | None = None
    gaps: Statistic
    coded_gaps: bool = False
    """Whether numbers that stand for missing values, such as 99999 or -9, were read as gaps."""
    doubtful: bool = False
    """Taken as a category, though it has many different values and most of them hold digits."""


class Subject(Model):
    type: Literal["federation", "synthetic_table", "transcript", "model"]
    name: str
    data_class: DataClass
    licence: str
    size_band: str
    columns: int | None = None
    table: list[TableColumn] = []
    """Of a table, its columns in their order."""


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


class Utility(Model):
    name: str
    measure: Measure


class Policy(Model):
    id: str
    sha256: str


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
    """How many different releases of this original were evaluated on this machine; real data only."""
    pictures: list[Picture] = []


class Result(Model):
    schema_: Literal["testbed.result/1"] = Field(SCHEMA, alias="schema")
    run: Run
    subject: Subject
    threat: ThreatModel
    defences: list[Defence]
    findings: list[Finding]
    utility: list[Utility]
    decision: Decision
    disclosure: Disclosure

    def dump(self) -> dict[str, Any]:
        """As it is written: aliases restored, optional parts that are absent left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
