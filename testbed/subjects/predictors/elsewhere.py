"""Shadow models that were trained elsewhere (R, Java, a trusted research environment), by a table of their answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Act, Array, Cohort, Predictor, Regressor, Split, Unavailable
from testbed.core.errors import InputError
from testbed.subjects.predictors.people import near_one, probabilities
from testbed.subjects.predictors.regression import CLASSES, Scale

FEWEST = 4
"""Shadow models at least."""
FEWEST_SIDE = 2
"""Models that a person must have been in, and models that the person must not have been in, at least."""
YES, NO = ("1", "1.0", "true", "yes", "in", "member"), ("0", "0.0", "false", "no", "out", "control")


@dataclass(frozen=True, slots=True)
class GivenShadows:
    """A recipe that trains nothing: its models are those of a table. Records are numbers of rows.

    `answers` (models, n, outputs) and `included` (models, n) are by these numbers. With a `scale`, the answers are the
    predicted numbers (models, n, 1).
    """

    answers: Array
    included: Array
    scale: Scale | None = None

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        raise Unavailable("cannot_retrain", "models of other people: shadow models were trained elsewhere")

    def shadows_of(self, people: Cohort) -> tuple[list[Predictor], Array]:
        """The models, and which of them were trained on which of these people (models, n)."""
        return [self._model(said) for said in self.answers], self.included[:, _numbers(people)]

    def _model(self, said: Array) -> Predictor:
        scale = self.scale
        if scale is None:
            return Predictor(lambda people: said[_numbers(people)], said.shape[1])

        def ask(people: Cohort) -> Array:
            return scale.likelihoods(said[_numbers(people), 0], people.x[:, -1])

        def errors(people: Cohort) -> Array:
            return scale.errors(said[_numbers(people), 0], people.x[:, -1])

        return Regressor(ask, CLASSES, errors)


def _numbers(people: Cohort) -> Array:
    return people.x[:, 0].astype(int)


def of_predictions(frame: pd.DataFrame, people: Split, shadows: pd.DataFrame) -> GivenShadows:
    """The shadow models beside a table of predictions, whose people are `people`.

    Raises `InputError` if several of its rows have one id, and as `shadow_predictions` does.
    """
    groups = [g for g in (people.members, people.controls) if isinstance(g, Cohort)]
    ids = np.empty(len(frame), dtype=object)
    for group in groups:
        ids[_numbers(group)] = group.persons
    if len(set(ids.tolist())) < len(ids):
        raise InputError(
            "TB-SUBJECT-058",
            "Several rows of the predictions have the same id.",
            "The answers of the shadow models are found by it.",
            "Give each record an id of its own.",
        )
    names = columns(frame)
    if names != ["prediction"]:
        return shadow_predictions(shadows, ids.tolist(), names, None)
    truth, said = (np.asarray(frame[c], dtype=np.float64) for c in ("label", "prediction"))
    scale = Scale.of(truth)
    return shadow_predictions(shadows, ids.tolist(), names, scale.measured(said, scale.kept(truth)))


def shadow_predictions(
    frame: pd.DataFrame, ids: Sequence[str], names: Sequence[str], scale: Scale | None
) -> GivenShadows:
    """The shadow models of a table `id,shadow,used,p_0,p_1,...`, with one row for each person and each shadow model.

    `shadow` names the model, and `used` says whether the person was in its training data. `ids` (n,) are those of the
    predictions, by number, and `names` are its columns of answers. Raises `InputError` for a table that does not hold
    each answer once, or for too few models.
    """
    if absent := [c for c in ("id", "shadow", "used", *names) if c not in frame.columns]:
        raise InputError(
            "TB-SUBJECT-054",
            f"The shadow predictions lack columns: {', '.join(absent[:5])}.",
            "They need id, shadow (which model), used (was this person in its training data?), and the same columns of "
            "answers as the predictions.",
            "Write one row for each person and each shadow model: docs/models.md has an example.",
        )
    number = {name: i for i, name in enumerate(ids)}
    person = pd.Series([number.get(name, -1) for name in frame["id"].astype(str)]).to_numpy()
    model, models = pd.factorize(frame["shadow"].astype(str), sort=True)
    rows, model, person = frame[person >= 0], model[person >= 0], person[person >= 0]
    held = np.zeros((len(models), len(ids)), int)
    np.add.at(held, (model, person), 1)
    if (held != 1).any():
        raise InputError(
            "TB-SUBJECT-055",
            "Some people do not have one answer of each shadow model.",
            f"There are {len(models)} shadow models and {len(ids)} people in the predictions, so "
            f"{len(models) * len(ids)} rows are needed. {int((held == 0).sum())} are missing, and "
            f"{int((held > 1).sum())} occur more than once.",
            "Ask every shadow model about everybody, also about those whom it was trained on.",
        )
    included = np.zeros(held.shape, bool)
    included[model, person] = _used(rows["used"])
    _enough(included)
    values = np.asarray(rows[list(names)], dtype=np.float64)
    if scale is None:
        values = values / values.sum(1, keepdims=True) if near_one(values) else values
        probabilities(values)
    answers = np.empty((*held.shape, len(names)))
    answers[model, person] = values
    return GivenShadows(answers, included, scale)


def _used(values: Any) -> Array:
    text = values.astype(str).str.strip().str.lower()
    if not text.isin([*YES, *NO]).all():
        raise InputError(
            "TB-SUBJECT-056",
            "The column used of the shadow predictions holds other words than yes and no.",
            "It says whether a person was in the training data of a shadow model.",
            "Write 1 and 0, or yes and no.",
        )
    return text.isin(YES).to_numpy()


def _enough(included: Array) -> None:
    inside = included.sum(0)
    least = int(min(inside.min(), (len(included) - inside).min()))
    if len(included) < FEWEST or least < FEWEST_SIDE:
        raise InputError(
            "TB-SUBJECT-057",
            f"There are {len(included)} shadow models, and some people were in, or not in, only {least} of them.",
            f"Attacks compare models with a person and models without: {FEWEST_SIDE} of each at least.",
            "Train each pair of shadow models on the two halves of all people, members and controls together.",
        )


def columns(frame: pd.DataFrame) -> list[str]:
    """The columns of answers of a table of predictions."""
    names = sorted((c for c in frame.columns if re.fullmatch(r"p_\d+", str(c))), key=lambda c: int(c[2:]))
    return names or ["prediction"]
