"""A defence as a value: its name, what it changes in a federation, and what it guarantees."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from testbed.core.errors import UsageError
from testbed.core.people import Array, Cohort
from testbed.core.threat import Position
from testbed.core.views import Predictor

Where: TypeAlias = Literal[
    "update",
    "message",
    "training",
    "server",
    "protocol",
    "rules",
    "answers",
    "queries",
    "pipeline",
    "table",
    "generator",
    "trees",
    "statistics",
    "cut",
]
"""What a defence changes.

- `update`: what a client sends, after its training. It gives a Flower mod.
- `message`: a client's answers to the protocol of secure aggregation. It gives a Flower mod.
- `training`: each step of the training of a client, or of a released model. It gives a `LocalRule`.
- `server`: how updates become the next model. It gives a function from a Flower strategy to a Flower strategy.
- `protocol`: what the server is told at all, such as sums alone. It gives the settings of that protocol.
- `rules`: how the federation trains, such as its batches. It gives a function from a `Protocol` to a `Protocol`, which
  changes nothing if it is applied again.
- `answers`: what a released model answers. It gives an `Answering`.
- `queries`: about how many records anybody may ask a released model. It gives that number.
- `pipeline`: of what trainings a released model is made. It gives a `Pipeline`.
- `table`: the rows and cells of a synthetic table before it goes out. It gives a `Change`.
- `generator`: what makes the synthetic table. It gives a `Synthesis`, which replaces the owner's own generator.
- `trees`: how a client grows boosted trees, and what it sends of them. It gives an `OfTrees`.
- `cut`: the gradients that the party with the labels sends in split learning. It gives an `AtTheCut`.
- `statistics`: the counts, quantiles or curves that a client sends of its people. It gives a `Disclosure`.
"""
WORKS_ON: Mapping[Where, str] = {
    "update": "a client's update",
    "message": "a client's messages",
    "training": "each step of a training",
    "server": "the server's aggregation",
    "protocol": "the protocol of a federation",
    "rules": "the rules by which a federation trains",
    "answers": "the answers of a released model",
    "queries": "the queries to a released model",
    "pipeline": "the training of a released model",
    "table": "a synthetic table before it goes out",
    "generator": "what makes a synthetic table",
    "trees": "the boosted trees of a client",
    "statistics": "the statistics that a client sends of its people",
    "cut": "the gradients at the cut of a split network",
}
"""What each kind of defence changes, in words."""


@dataclass(frozen=True, slots=True)
class Released:
    """A model as its owner holds it: its `members`, and people `outside` its training data, if the owner has some."""

    model: Predictor
    members: Cohort
    outside: Cohort | None


Answering: TypeAlias = Callable[[Released], Predictor]
"""A released model to the model that others may ask instead."""
Fit: TypeAlias = Callable[..., Predictor]
"""A training `(people, rng, soft=None)`. `soft` are labels (n, classes) that replace the people's classes."""
Pipeline: TypeAlias = Callable[[Fit, Cohort], Fit]
"""A training, and people outside the training data, to the training that is used instead."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A synthetic table (pandas) before it goes out, as its owner holds it, who has `original` and `control`, or not.

    `kinds` says of each column whether it is `numeric`, `date`, `categorical` or `other`, which no defence changes.
    `declared` are the kinds that the owner gave, and `person` is the person's column.
    """

    release: Any
    kinds: Mapping[str, str]
    original: Any = None
    control: Any = None
    declared: Mapping[str, str] = field(default_factory=dict[str, str])
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A synthetic table after a defence.

    `alike` does to a table of other people what the defence did to the released rows: so an attacker who knows the
    defence compares them. It may look at the released table, and at nothing else that the owner holds. None means that
    rows of other people stay as they are.
    """

    draft: Draft
    alike: Callable[[Any], Any] | None = None
    told: tuple[str, ...] = ()
    """What was done, a line each, without a value of a real record."""


Change: TypeAlias = Callable[[Draft], Changed]
"""A synthetic table to the one that goes out instead."""
Synthesis: TypeAlias = Callable[..., Any]
"""A generator `(original, rows, public) -> table`. `public` is a table of which everybody may know everything."""


@dataclass(frozen=True, slots=True)
class OfTrees:
    """What a defence changes of boosted trees: settings of their growth, and each tree before it is sent.

    `settings` have XGBoost's names; of two defences the stricter one holds. `change(tree, rng)` changes one new tree in
    place, as XGBoost's JSON has it.
    """

    settings: Mapping[str, float] = field(default_factory=dict[str, float])
    change: Callable[[dict[str, Any], np.random.Generator], None] | None = None


Disclosure: TypeAlias = Callable[[dict[str, Array], np.random.Generator], dict[str, Array]]
"""The statistics of a client's people, by the names of `testbed.models.summaries`, to those that it sends."""
AtTheCut: TypeAlias = Callable[[Array, np.random.Generator], Array]
"""The gradients of a batch at the cut (records, width) to those that are sent instead."""
Bounds: TypeAlias = tuple[Mapping[str, Array], Mapping[str, Array]]
"""The lowest and the highest value that each number can have had; equal where it is known."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How often people's records enter what an attacker sees: all that a guarantee may depend on.

    `uses` is the largest number of local batches that one record enters over all `rounds`. `position` is where the
    attacker stands: noise that the server adds protects nobody from the server.
    """

    rounds: int = 1
    uses: int = 1
    clients: int = 1
    position: Position = "server"


UNITS = ("record", "client")
"""Whose replacement a guarantee is about."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Differential privacy over all rounds together: `epsilon` at `delta`, for one replaced `unit`.

    `method` names how it was computed, and what it assumes about sampling.
    """

    epsilon: float
    delta: float
    unit: Literal["record", "client"]
    method: str

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UsageError(
                "TB-DEFENCE-020",
                f"A guarantee for a {self.unit} cannot be stated.",
                "What is replaced is a record or a client. A person may hold several records, and nobody counts them.",
                f"State it for a {' or a '.join(UNITS)}.",
            )


@dataclass(frozen=True, slots=True)
class Defence:
    """A defence with its parameters. `make(seed=..., **params)` gives what it puts into the federation (`Where`).

    `promise(exposure, **params)` gives its guarantee, or None for a heuristic. `bounds(update, **params)` is what a
    defended update says about the update before it, to an attacker who knows the defence, up to a factor that all
    numbers share. None means that it says no more than the numbers themselves: noise.
    """

    name: str
    params: Mapping[str, Any]
    make: Callable[..., Any] = field(repr=False, compare=False)
    promise: Callable[..., Guarantee | None] | None = field(default=None, repr=False, compare=False)
    where: Where = "update"
    secret: bool = False
    """Whether the noise comes from the operating system, as on records of real people: whoever knows a seed can remove
    the noise that was drawn by it, and a run's seed stands in its report."""
    bounds: Callable[..., Bounds] | None = field(default=None, repr=False, compare=False)
    mixes: bool = False
    """Whether one record enters what is computed for another record. A bound per record no longer holds then."""
    bits: Callable[..., float] | None = field(default=None, repr=False, compare=False)
    """`bits(**params)`: in how many bits each number of an update can be sent after this defence. None means 32."""
    exposed: bool = False
    """Whether `make` also takes the `exposure`, as noise does that is chosen by an epsilon."""

    def build(self, seed: int, exposure: Exposure | None = None) -> Any:
        """What the defence puts into the federation. Its randomness follows from `seed`, or from a secret one."""
        more = {"exposure": exposure or Exposure()} if self.exposed else {}
        return self.make(seed=self.drawn(seed), **more, **self.params)

    def drawn(self, seed: int) -> int:
        """The seed of the defence's noise: `seed`, or a new secret one."""
        return secrets.randbits(62) if self.secret else seed

    def guarantee(self, exposure: Exposure) -> Guarantee | None:
        """The guarantee for this exposure, or None if nothing is proven."""
        return self.promise(exposure, **self.params) if self.promise else None

    def before(self, update: Mapping[str, Array]) -> Bounds | None:
        """Where each number can have been before this defence, given the update after it; None if nothing is known."""
        return self.bounds(update, **self.params) if self.bounds else None


FEDERATED: tuple[Where, ...] = ("update", "message", "training", "server", "protocol", "rules")
"""Where a defence of a federation of networks can be."""
OF_TREES: tuple[Where, ...] = ("trees",)
"""Where a defence of a federation of boosted trees can be."""


def check_where(defences: Sequence[Defence], possible: Collection[Where], subject: str, instead: str) -> None:
    """Raises `UsageError` for a defence that changes nothing of this subject. `instead` says where it does."""
    for one in defences:
        if one.where not in possible:
            raise UsageError(
                "TB-DEFENCE-021",
                f"The defence {one.name} does not go together with {subject}.",
                f"It changes {WORKS_ON[one.where]}, which {subject} does not have. It would protect nobody.",
                instead,
            )


def guarantees(defences: tuple[Defence, ...], exposure: Exposure) -> list[Guarantee | None]:
    """The guarantee of each of several defences, which are applied in this order.

    What works later on an update alone cannot weaken a guarantee. A later training rule that mixes records voids a
    bound per record: one record then enters several bounded parts, or the original decides which rows of a private
    table go out. A second rule of the server voids the noise of a first one: that noise is scaled for a mean, and a
    median or a single chosen update moves further.
    """
    return [
        None if voided_by(defences, place, exposure) else one.guarantee(exposure) for place, one in enumerate(defences)
    ]


BOUNDS_RECORDS: tuple[Where, ...] = ("training", "pipeline", "generator")
"""Where a guarantee rests on a bound per record that a later rule can undo."""


def voided_by(defences: tuple[Defence, ...], place: int, exposure: Exposure) -> str:
    """The defence that takes the guarantee of the one at this place (epsilon is infinite then); empty if none does."""
    one = defences[place]
    guarantee = one.guarantee(exposure)
    if guarantee is None:
        return ""
    if guarantee.unit == "record" and one.where in BOUNDS_RECORDS:
        return next((later.name for later in defences[place + 1 :] if later.mixes), "")
    others = [*defences[:place], *defences[place + 1 :]]
    return next((other.name for other in others if one.where == other.where == "server"), "")


def before(defences: tuple[Defence, ...], update: Mapping[str, Array]) -> Bounds | None:
    """Where each number can have been before the last of these defences that tell bounds; None if the last tells none.

    A rule keeps the order of numbers, so the bounds after an earlier defence give those before it, up to a factor that
    all numbers share. What changes the training works before what changes the update. A sum of several clients'
    updates has no bounds. What the server does later changes nothing of an update that it was sent.
    """
    found: Bounds | None = None
    if any(one.where == "protocol" for one in defences):
        return None
    for one in reversed([d for where in ("training", "update") for d in defences if d.where == where]):
        ends = [one.before(part) for part in found or (update, update)]
        if ends[0] is None or ends[1] is None:
            break
        found = ends[0][0], ends[1][1]
    return found
