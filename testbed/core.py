# pyright: strict
"""The values that flow through the testbed: who is at stake, who looks, what they see, what they claim.

An attack receives a view, a question and auxiliary records; it returns a claim. It never receives a
`Split`: members, controls and the pairing between a question's items and people stay with the harness and
the judge. Values are frozen and their arrays read-only, so that what an attack was shown is what it was
judged on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from testbed.errors import InputError, ThreatError

Array: TypeAlias = npt.NDArray[Any]
Parameters: TypeAlias = Mapping[str, Array]

Position = Literal["server", "client", "recipient"]
Access = Literal["white", "score", "label"]
Kind = Literal["numeric", "categorical"]
Status = Literal["ok", "error", "dropped", "refused"]

KNOWLEDGE = frozenset(
    {
        "architecture",  # the model's code, so that gradients can be computed
        "auxiliary",  # other people's records from the same population
        "batch_size",
        "generator",  # the synthesiser's code
        "hyper_parameters",  # learning rate, steps, optimiser
        "known_columns",  # a target's other attributes
        "labels",  # the labels in a client's batch
        "recipe",  # may run the whole pipeline on own records
        "target_records",  # the records whose membership is in doubt
    }
)
"""The closed set of what an attacker may know beforehand; what is not granted is refused."""


def frozen(values: npt.ArrayLike) -> Array:
    """A read-only array; copied only where the caller could still write to it."""
    array = np.asarray(values)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


# --- people ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute. `levels` are the categories that the release itself shows, in code order."""

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    date: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of a predicate: equality with a value, a bound, or being missing."""

    column: int
    op: Literal["eq", "le", "ge", "missing"]
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """Mixed-type rows: per column a float64 array (NaN is missing; dates in days) or int32 codes (-1 is missing).

    Codes of at least `len(column.levels)` stand for categories that the release does not contain.
    `persons` gives the person behind each row; several rows may share one.
    """

    columns: tuple[Column, ...]
    values: tuple[Array, ...]
    persons: Array

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.values) or any(len(v) != len(self.persons) for v in self.values):
            raise ValueError("a table needs one array per column, all as long as `persons`")
        object.__setattr__(self, "values", tuple(frozen(v) for v in self.values))
        object.__setattr__(self, "persons", frozen(self.persons))

    def __len__(self) -> int:
        return len(self.persons)

    def __repr__(self) -> str:
        return f"Table({len(self)} rows, {len(self.columns)} columns)"

    def take(self, rows: npt.ArrayLike) -> Table:
        index = np.asarray(rows)
        return Table(self.columns, tuple(v[index] for v in self.values), self.persons[index])

    def matching(self, conjunction: tuple[Condition, ...]) -> Array:
        """Which rows satisfy all conditions (n,) bool. A comparison with a missing value is false."""
        keep = np.ones(len(self), dtype=bool)
        for condition in conjunction:
            values = self.values[condition.column]
            match condition.op:
                case "missing":
                    keep &= np.isnan(values) if values.dtype.kind == "f" else values == -1
                case "eq":
                    keep &= values == condition.value
                case "le":
                    keep &= values <= condition.value
                case "ge":
                    keep &= values >= condition.value
        return keep

    def select(self, names: tuple[str, ...]) -> Table:
        place = {c.name: i for i, c in enumerate(self.columns)}
        chosen = [place[n] for n in names]
        return Table(tuple(self.columns[i] for i in chosen), tuple(self.values[i] for i in chosen), self.persons)


@dataclass(frozen=True, slots=True)
class Cohort:
    """People's records as a model takes them: `x` (n, ...) float32, `y` (n,) int64 classes, `persons` (n,)."""

    x: Array
    y: Array
    persons: Array

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.y) == len(self.persons):
            raise ValueError("x, y and persons must be equally long")
        if not np.isfinite(self.x).all():
            raise InputError(
                "TB-DATA-020",
                "Records hold values that are not finite.",
                "A model cannot train on them, and distances to them mean nothing.",
                "Impute or drop missing and infinite values first.",
            )
        for name in ("x", "y", "persons"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Cohort({len(self)} records of shape {self.x.shape[1:]})"

    def take(self, rows: npt.ArrayLike) -> Cohort:
        index = np.asarray(rows)
        return Cohort(self.x[index], self.y[index], self.persons[index])


People: TypeAlias = Table | Cohort


@dataclass(frozen=True, slots=True)
class Split:
    """Whose records were used, whose were not, and whose the attacker may hold. No person is in two groups.

    `party` gives the federation's site of each member. `decoys` are the look-alikes of a line-up: people in no
    other group. Raises `InputError` where groups share a person.
    """

    members: People
    controls: People | None
    auxiliary: People | None
    party: Array | None = None
    decoys: People | None = None

    def __post_init__(self) -> None:
        groups = [
            (name, set(people.persons.tolist()))
            for name in ("members", "controls", "auxiliary", "decoys")
            if (people := getattr(self, name)) is not None
        ]
        for i, (first, one) in enumerate(groups):
            for second, other in groups[i + 1 :]:
                if shared := len(one & other):
                    raise InputError(
                        "TB-SPLIT-001",
                        f"{first} and {second} share {'a person' if shared == 1 else 'several people'}.",
                        "Someone who is in both groups is neither used nor unused, so no rate means anything.",
                        "Split by person (testbed split --person COLUMN), not by row.",
                    )
        if self.party is not None:
            object.__setattr__(self, "party", frozen(self.party))


# --- who looks ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Threat:
    """Who attacks, from where, knowing what. `nodes` are the partitions a client position holds."""

    position: Position
    malicious: bool = False
    knows: frozenset[str] = frozenset()
    access: Access = "white"
    budget: int | None = None
    nodes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if unknown := self.knows - KNOWLEDGE:
            raise ThreatError(
                "TB-THREAT-001",
                f"Unknown kind of knowledge: {', '.join(sorted(unknown))}.",
                "What an attacker may know is a closed set, so that threat models can be compared.",
                f"Use some of: {', '.join(sorted(KNOWLEDGE))}.",
            )


# --- what is seen ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network by the name of its factory and its arguments, so that a transcript can rebuild it."""

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Protocol:
    """What every party of the federation was told: the rules of its training."""

    kind: Literal["fedsgd", "fedavg", "unknown"] = "unknown"
    batch_size: int | None = None
    local_epochs: int = 1
    local_steps: int | None = None
    learning_rate: float | None = None
    optimizer: str = "sgd"
    momentum: float = 0.0
    rounds: int = 0
    clients: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message to a client and its answer. What the position cannot see is None."""

    round: int
    client: int
    sent: Parameters | None
    returned: Parameters | None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    status: Status = "ok"

    @property
    def key(self) -> tuple[int, int]:
        return self.round, self.client


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a position saw of a federation, round by round, and what its adversary noted down on the way.

    `memory` is what an acting adversary needs to read its own traces later; `act` names the attack that acted.
    """

    exchanges: tuple[Exchange, ...]
    model: ModelSpec | None
    protocol: Protocol
    position: Position = "server"
    final: Parameters | None = None
    act: str | None = None
    memory: Mapping[str, Array] = field(default_factory=dict[str, Array])


@dataclass(frozen=True, slots=True)
class Release:
    """A published synthetic table."""

    table: Table


View: TypeAlias = Transcript | Release


@dataclass(frozen=True, slots=True)
class Act:
    """What a malicious server does while the federation runs.

    `model` replaces the architecture that clients are told to train; `craft(round, client, parameters)` replaces
    what is sent to one client; `remember` is kept with the transcript.
    """

    model: ModelSpec | None = None
    craft: Callable[[int, int, Parameters], Parameters] | None = None
    remember: Mapping[str, Array] = field(default_factory=dict[str, Array])


Recipe: TypeAlias = Callable[..., View]
"""`(people, rng, act=None) -> View`: the pipeline under test, its configuration closed over."""


# --- what is asked --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Records:
    """Membership: whose records of these were used? Members and controls, pooled and shuffled.

    `suspected` names for each record the client that is asked about ("was she in this hospital's data?"), for
    members and controls alike; None asks about the federation as a whole.
    """

    people: People
    suspected: Array | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Reconstruction: rebuild the records behind these exchanges. Shapes and no rows.

    `sizes` gives each exchange's batch size, or None where the threat does not grant it; `labels` likewise.
    """

    keys: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    classes: int
    sizes: tuple[int, ...] | None = None
    labels: tuple[Array, ...] | None = None
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class Halves:
    """Linkability: two sets of columns about the same people, in independent orders."""

    left: Table
    right: Table


@dataclass(frozen=True, slots=True)
class Gaps:
    """Attribute inference: people's rows, and the column that is to be guessed for each from the others.

    For every name in `secrets` in turn, an attack may use all columns but that one. The harness hands over one
    `Gaps` per secret, with the secret's own values removed.
    """

    known: Table
    secret: Column


@dataclass(frozen=True, slots=True)
class Fields:
    """Singling out: the release's columns, and how many predicates are wanted over how many columns each."""

    columns: tuple[Column, ...]
    wanted: int


Question: TypeAlias = Records | Batch | Halves | Gaps | Fields


# --- what is claimed ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scores:
    """One finite number per record; larger is surer that it was used."""

    values: Array


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """For each exchange the records rebuilt, (k, ...) each; k may differ from the true batch size."""

    batches: Mapping[tuple[int, int], Array]
    labels: Mapping[tuple[int, int], Array] = field(default_factory=dict[tuple[int, int], Array])


@dataclass(frozen=True, slots=True)
class Links:
    """For each row of either half, the released rows that it points to: (n, k) row numbers each.

    A pair is linked where its two halves point to a common row. `tied` is the share of rows whose choice was
    settled by chance.
    """

    left: Array
    right: Array
    tied: float = 0.0


@dataclass(frozen=True, slots=True)
class Guesses:
    """One guess of the secret per row, on the scale of the column: a number or a code."""

    values: Array
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Predicates:
    """Conjunctions that each describe exactly one released row."""

    conjunctions: tuple[tuple[Condition, ...], ...]


Claim: TypeAlias = Scores | Reconstruction | Links | Guesses | Predicates


# --- what came of it ------------------------------------------------------------------------------------

Cell = Literal["true", "blind", "positive"]
Group = Literal["used", "unused", "not_applicable"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line per guess: which view, whose record, which item and cluster, how sure, how right (0 to 1)."""

    view: Array
    group: Array
    item: Array
    cluster: Array
    score: Array
    success: Array
    requested: int
    performed: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = ("view", "group", "item", "cluster", "score", "success")
        if len({len(getattr(self, c)) for c in columns}) != 1:
            raise ValueError("every column of evidence must be equally long")
        judged = self.success[~np.isnan(self.success)]
        if ((judged < 0) | (judged > 1)).any():
            raise ValueError("success must lie in [0, 1]")
        for c in columns:
            object.__setattr__(self, c, frozen(getattr(self, c)))

    def __len__(self) -> int:
        return len(self.item)

    def __repr__(self) -> str:
        return f"Evidence({len(self)} rows, {self.performed} of {self.requested} guesses performed)"

    def cell(self, view: Cell, group: Group) -> Evidence:
        return self.where((self.view == view) & (self.group == group))

    def where(self, keep: Array) -> Evidence:
        return Evidence(
            self.view[keep],
            self.group[keep],
            self.item[keep],
            self.cluster[keep],
            self.score[keep],
            self.success[keep],
            self.requested,
            self.performed,
            self.notes,
        )

    @staticmethod
    def rows(
        view: Cell,
        group: Group,
        *,
        score: npt.ArrayLike | None = None,
        success: npt.ArrayLike | None = None,
        item: npt.ArrayLike | None = None,
        cluster: npt.ArrayLike | None = None,
        requested: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> Evidence:
        """Rows of one cell; a score or a success that the claim does not carry is NaN."""
        given = np.asarray(score if success is None else success, dtype=float)
        n = len(given)
        items = np.arange(n) if item is None else np.asarray(item)
        return Evidence(
            np.full(n, view, dtype="U8"),
            np.full(n, group, dtype="U14"),
            items,
            items if cluster is None else np.asarray(cluster),
            np.full(n, np.nan) if score is None else np.asarray(score, dtype=float),
            np.full(n, np.nan) if success is None else np.asarray(success, dtype=float),
            n if requested is None else requested,
            n,
            notes,
        )

    @staticmethod
    def join(*parts: Evidence) -> Evidence:
        """All rows of all parts; requested and performed are those of the attack cell, the first part."""
        return Evidence(
            *(
                np.concatenate([getattr(p, c) for p in parts])
                for c in ("view", "group", "item", "cluster", "score", "success")
            ),
            requested=parts[0].requested,
            performed=parts[0].performed,
            notes=tuple(dict.fromkeys(note for p in parts for note in p.notes)),
        )


class Unavailable(Exception):  # noqa: N818 - an outcome that is reported, not a mistake
    """An attack could not form its claim on this view; the finding becomes `Unmeasured`."""

    def __init__(self, code: str, needs: str) -> None:
        super().__init__(f"{code}: {needs}")
        self.code, self.needs = code, needs
