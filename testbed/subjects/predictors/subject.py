"""A model under audit, with the people it was trained on and the people it was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.core import Cohort, Predictor, Recipe, Split, Table
from testbed.core.defence import Defence


@dataclass(frozen=True, slots=True)
class Protection:
    """The defences of a model under audit, as the audit needs them.

    `put(model, members, seed)` is a model as others may ask it, behind the defences of its answers. `bare` is the
    audited model before them. `naive` trains models without any defence, as attackers do who never heard of one.
    """

    defences: tuple[Defence, ...]
    put: Callable[[Predictor, Cohort, int], Predictor]
    bare: Predictor
    naive: Recipe | None = None
    budget: int | None = None
    """How many records each attacker may ask about."""

    @property
    def masks(self) -> bool:
        """Does one of them change answers?"""
        return any(d.where == "answers" for d in self.defences)


@dataclass(frozen=True, slots=True)
class Kept:
    """The folder that keeps what an audit computes, and a digest of the model and of how such models are trained.

    Without a digest no evidence is kept.
    """

    folder: Path
    model: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under audit, with the people: members were in its training data, controls and others were not.

    `recipe` trains such a model on a cohort. `estimator` is the scikit-learn or torch object itself, if there is one.
    """

    model: Predictor
    split: Split
    recipe: Recipe | None = None
    estimator: Any = None
    features: tuple[str, ...] = ()
    """The names of the inputs, if attacks may ask about attributes."""
    asked: Callable[[], int] | None = None
    """For a model behind a query counter: the number of records asked about so far."""
    unordered: tuple[int, ...] = ()
    """Places of inputs that are numbers of words. Their order says nothing, and may follow from the tables' order."""
    described: bool = True
    """Whether records hold people's attributes; those of a table of predictions are only row numbers."""
    given: Callable[[Any], Any] | None = None
    """What the model is given for records (n, features), if it is not these numbers themselves."""
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    """What was guessed about the model, for the report."""
    protection: Protection | None = None
    """The model's defences. `model` then answers as others see it, and `recipe` trains models under the same ones."""
    kept: Kept | None = None
    """Where evidence about this model is kept, if it is."""

    @property
    def members(self) -> Cohort:
        """The people in the model's training data."""
        assert isinstance(self.split.members, Cohort)
        return self.split.members

    @property
    def controls(self) -> Cohort:
        """People like them who were not in it. The tables of an audit always have some."""
        assert isinstance(self.split.controls, Cohort)
        return self.split.controls

    @property
    def others(self) -> Cohort | None:
        """Further people, who are the attacker's own, if there are any."""
        assert not isinstance(self.split.auxiliary, Table)
        return self.split.auxiliary

    @property
    def removed(self) -> Cohort | None:
        """People whose records were used once and whom the model should have forgotten, if there are any."""
        assert not isinstance(self.split.removed, Table)
        return self.split.removed
