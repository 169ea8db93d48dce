"""Models of the time to an event, in the form that attacks expect: the likelihood of each person's own outcome.

A record's last two values are the time and whether the event happened then (1) or the person was last seen without it
(0, censored). The model's answer is a survival curve at given times. The likelihood of an event is the fall of the
curve between the two given times around it. Of a censored person it is the height of the curve. It counts relative to
the curve of all people (Nelson-Aalen): an outcome that is usual for everybody is no sign that the model knows it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.stats import norm

from testbed.core import Array, Cohort, Predictor, Split, Survivor
from testbed.core.errors import InputError
from testbed.data.tables.encode import as_numbers
from testbed.subjects.predictors.copies import last_of, searched, steps_of
from testbed.subjects.predictors.outcomes import Answers
from testbed.subjects.predictors.people import together

GIVEN_TIMES = 20
"""Times at which a model is asked for its curve: quantiles of the times of events."""
SOFT = 0.01
"""Added to each likelihood, so that an outcome that the model holds for impossible does not count without limit."""
OUTCOME = np.dtype([("event", bool), ("time", np.float64)])
"""How scikit-survival's models are given an outcome."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The event that a model predicts. `times` (k,) are those at which it is asked, in increasing order.

    `usual` (k + 1, 2) are the likelihoods under the curve of all people: of being last seen without the
    event, and of the event, in each of the intervals that the times divide.
    """

    times: Array
    usual: Array

    @property
    def held(self) -> int:
        return 2

    @staticmethod
    def of(outcomes: Array) -> Endpoint:
        """The endpoint of people with these outcomes (n, 2). Raises `InputError` with fewer than two event times."""
        ended = outcomes[outcomes[:, 1] == 1, 0]
        times = np.unique(np.quantile(ended, np.arange(1, GIVEN_TIMES + 1) / (GIVEN_TIMES + 1))) if len(ended) else []
        if len(times) < 2:
            raise InputError(
                "TB-SUBJECT-070",
                "The event happened at fewer than two different times.",
                "Without them there is no curve with which a person's own outcome could be compared.",
                "Check the columns of --label (the time) and --event (1 if it happened then, else 0).",
            )
        plain = Endpoint(np.asarray(times), np.ones((len(times) + 1, 2)))
        everybody = np.exp(-baseline(np.ones(len(outcomes)), outcomes, plain.times))
        return Endpoint(plain.times, np.stack([s[0] for s in _sides(everybody[None])], 1))

    def labels(self, outcomes: Array) -> Array:
        """What `fit` is given for outcomes (n, 2)."""
        made = np.empty(len(outcomes), OUTCOME)
        made["time"], made["event"] = outcomes[:, 0], outcomes[:, 1] == 1
        return made

    def likelihoods(self, curves: Array, outcomes: Array) -> Array:
        """Probabilities (n, 2), the second for the outcome: its likelihood over the sum with the usual one."""
        row, place = np.arange(len(curves)), np.searchsorted(self.times, outcomes[:, 0])
        ended = outcomes[:, 1].astype(int)
        own = np.stack(_sides(curves), 2)[row, place, ended] + SOFT
        likely = own / (own + self.usual[place, ended] + SOFT)
        return np.column_stack([1 - likely, likely])

    def view(self, said: Answers) -> Survivor:
        """The model as attackers see it. `said` gives its curves (n, times) for inputs."""

        def curves(people: Cohort) -> Array:
            return checked(said(people.x[:, :-2]), len(people), len(self.times))

        def ask(people: Cohort) -> Array:
            return self.likelihoods(curves(people), people.x[:, -2:])

        return Survivor(ask, 2, curves, self.times)

    def when_asked(self, model: Callable[[], Predictor]) -> Survivor:
        """The view of a model that `model` makes when it is asked for the first time."""

        def curves(people: Cohort) -> Array:
            return cast(Survivor, model()).curves(people)

        return Survivor(lambda people: model().ask(people), 2, curves, self.times)

    def method(self, made: Any) -> Callable[[Any], Array]:
        """The function of a fitted model that answers what `fit` was given: curves, or risks if it has no curves."""
        return lambda given: answers_of(made, given, self.times)

    def told(self, said: Answers, known: Cohort) -> Answers:
        """`said` as curves. Risks (n,) become curves by what became of the people known, members and others alike."""
        first = said(known.x[:, :-2])
        if first.ndim == 2 and first.shape[1] > 1:
            return said
        return by_risk(said, first.ravel(), known.x[:, -2:], self.times)


def _sides(curves: Array) -> tuple[Array, Array]:
    """Likelihoods (n, k + 1) of being last seen in each interval, and of an event in it, by curves (n, k)."""
    ends = np.ones((len(curves), 1))
    whole = np.concatenate([ends, curves, 0 * ends], 1)
    seen = np.concatenate([whole[:, :-2] + whole[:, 1:-1], 2 * whole[:, -2:-1]], 1) / 2
    return seen, whole[:, :-1] - whole[:, 1:]


def checked(curves: Array, people: int, times: int) -> Array:
    """Curves (n, times) as they are, without a rise. Raises `InputError` for anything else than probabilities."""
    if curves.shape != (people, times) or not np.isfinite(curves).all() or (np.abs(curves - 0.5) > 0.5 + 1e-6).any():
        raise InputError(
            "TB-SUBJECT-071",
            "The model does not give a survival curve, or one finite risk, for each person.",
            "Attacks compare the curve, which lies between 0 and 1, with what became of the person.",
            "Give a model whose predict_survival_function or predict answers so, or a table for --predictions.",
        )
    return np.minimum.accumulate(np.clip(curves, 0, 1), axis=1)


def survives(made: Any) -> bool:
    """Whether a model predicts times of an event. Its `predict` gives a risk, which has no true value."""
    made = last_of(made)
    made = getattr(made, "best_estimator_", made)
    return hasattr(made, "predict_survival_function") or type(made).__module__.startswith(("sksurv", "lifelines"))


def answers_of(made: Any, given: Any, times: Array) -> Array:
    """Curves (n, k) at these times (k,) of a fitted model, or its risks (n,) if it gives no curve.

    It reads step functions (scikit-survival), tables of times by people (lifelines), and arrays at times asked for.
    """
    made = searched(made)
    if steps := steps_of(made):
        for _, step in steps[:-1]:
            given = given if step is None or isinstance(step, str) else step.transform(given)
        return answers_of(steps[-1][1], given, times)
    ask = getattr(made, "predict_survival_function", None)
    if ask is not None:
        try:
            takes = inspect.signature(ask).parameters
            steps = getattr(made, "unique_times_", None)
            if "return_array" in takes and steps is not None:
                return _at(np.asarray(steps), np.asarray(ask(given, return_array=True), np.float64), times)
            return _curves(ask(given, times=times) if "times" in takes else ask(given), times)
        except (ValueError, NotImplementedError, AttributeError):  # a model that was fitted for risks alone
            if not hasattr(made, "predict"):
                raise
    return np.asarray(made.predict(given), np.float64)


def _curves(said: Any, times: Array) -> Array:
    if isinstance(said, pd.DataFrame):
        return _at(np.asarray(said.index, np.float64), np.asarray(said, np.float64).T, times)
    if len(said) and hasattr(said[0], "x") and hasattr(said[0], "y"):
        return np.concatenate([_at(np.asarray(f.x), np.asarray(f.y)[None], times) for f in said])
    return np.asarray(said, np.float64)


def _at(steps: Array, heights: Array, times: Array) -> Array:
    """The heights (n, k) at these times of curves (n, steps) that are 1 before their first step."""
    return np.concatenate([np.ones((len(heights), 1)), heights], 1)[:, np.searchsorted(steps, times, side="right")]


def by_risk(said: Answers, known: Array, outcomes: Array, times: Array) -> Answers:
    """Curves from risks: those of a Cox model whose only input is the place of a risk among those `known` (n,).

    The place is a normal score, so that the scale of the risk plays no part, nor whether a large number means early or
    late. The Cox model is fitted to the outcomes (n, 2) of all people known (Cox 1972, Breslow 1974).
    """
    if not np.isfinite(known).all():
        return lambda x: np.full((len(x), len(times)), np.nan)
    order = np.sort(known)

    def score(risk: Array) -> Array:
        below = (np.searchsorted(order, risk, "left") + np.searchsorted(order, risk, "right")) / 2
        return norm.ppf((below + 0.5) / (len(order) + 1))

    at = score(known)
    slope = cox_slope(at, outcomes)
    hazard = baseline(np.exp(slope * at), outcomes, times)
    return lambda x: np.exp(-hazard * np.exp(slope * score(np.ravel(said(x))))[:, None])


STEPS, LARGEST = 20, 5.0
"""Newton steps of a Cox model with one input, and its largest coefficient: one that separates people has no bound."""


def cox_slope(at: Array, outcomes: Array) -> float:
    """The coefficient of a Cox model with one input (n,), by Newton's method on Breslow's partial likelihood."""
    order = np.argsort(-outcomes[:, 0], kind="stable")
    z, time, ended = at[order], outcomes[order, 0], outcomes[order, 1] == 1
    last = np.searchsorted(-time, -time, side="right") - 1  # ties in time are at risk together
    slope = 0.0
    for _ in range(STEPS):
        weight = np.exp(slope * z)
        zeroth, first, second = (np.cumsum(weight * z**power)[last][ended] for power in range(3))
        mean = first / zeroth
        gradient, curvature = (z[ended] - mean).sum(), (second / zeroth - mean**2).sum()
        if curvature <= 1e-12:
            break
        slope = float(np.clip(slope + gradient / curvature, -LARGEST, LARGEST))
    return slope


def baseline(weight: Array, outcomes: Array, times: Array) -> Array:
    """Breslow's cumulative hazard (k,) at these times, of people with these relative risks (n,)."""
    order = np.argsort(-outcomes[:, 0], kind="stable")
    time, ended = outcomes[order, 0], outcomes[order, 1] == 1
    at_risk = np.cumsum(weight[order])[np.searchsorted(-time, -time, side="right") - 1]
    rises = np.where(ended, 1 / at_risk, 0.0)
    return np.array([rises[time <= t].sum() for t in times])


def outcomes_of(frames: dict[str, pd.DataFrame], label: Sequence[str]) -> dict[str, Array]:
    """The outcomes (n, 2) of each table, from its columns of the time and of the event.

    Raises `InputError` for times that are missing, negative or infinite, and for events that are not 0 or 1.
    """
    made: dict[str, Array] = {}
    for role, frame in frames.items():
        time, event = (np.asarray(as_numbers(frame[c]), np.float64) for c in label)
        if not (np.isfinite(time).all() and (time >= 0).all() and np.isin(event, (0, 1)).all()):
            raise InputError(
                "TB-SUBJECT-072",
                f"The {role} hold other outcomes than a time from 0 on, and 1 or 0.",
                "The model's curve is compared with when the event happened (1), or until when it did not (0).",
                "Name the columns with --label (the time) and --event. Leave out people without a time.",
            )
        made[role] = np.column_stack([time, event])
    return made


def endpoint(people: Split) -> Endpoint:
    """The endpoint of members and controls together, so that it reveals no membership."""
    return Endpoint.of(together(people).x[:, -2:])
