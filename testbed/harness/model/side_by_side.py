"""Several kinds of models on several data sets, with and without over-fitting: which of their leaks rise together?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy import stats as _scipy_stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from testbed.core import Array, Split
from testbed.core.randomness import keyed_rng
from testbed.core.user_code import without_folders
from testbed.data.cohorts import divide, source
from testbed.findings import statistics
from testbed.findings.schema import Estimate, Finding, Measure
from testbed.findings.statistics import Interval
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.subjects.predictors.estimator import SklearnRecipe, sklearn_predictor
from testbed.subjects.predictors.subject import Subject

scipy_stats = cast(Any, _scipy_stats)  # SciPy ships no types

MODELS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "logistic": (
        lambda: LogisticRegression(C=0.05, max_iter=2000),
        lambda: LogisticRegression(C=1e4, max_iter=2000),
    ),
    "tree": (
        lambda: DecisionTreeClassifier(min_samples_leaf=20, random_state=0),
        lambda: DecisionTreeClassifier(random_state=0),
    ),
    "forest": (
        lambda: RandomForestClassifier(50, min_samples_leaf=20, random_state=0),
        lambda: RandomForestClassifier(50, bootstrap=False, random_state=0),
    ),
    "network": (
        lambda: MLPClassifier((32,), alpha=1.0, early_stopping=True, max_iter=100, random_state=0),
        lambda: MLPClassifier((64, 64), alpha=1e-6, max_iter=400, tol=1e-6, random_state=0),
    ),
}
"""For each kind of model, one that is kept from over-fitting ("held back"), and one that is not ("let go")."""


@dataclass(frozen=True, slots=True)
class Audited:
    """One subject, its `gap` (accuracy on its own people minus accuracy on others), and the findings on it."""

    name: str
    gap: float
    findings: Sequence[Finding]


def subjects(names: Sequence[str], people: int, seed: int) -> Iterator[tuple[str, float, Subject]]:
    """The name, gap and subject of every model on every data set.

    Each is trained on `people` people, or on a third of the data set if this is fewer.
    """
    for name in names:
        known = source(name)
        size = min(people, len(np.unique(known.people.persons)) // 3)
        rows = divide(known.people, {"members": size, "controls": size, "others": size}, keyed_rng(seed, name))
        members, controls, others = (_flat(known.people.take(r)) for r in rows.values())
        inputs = tuple(f"{c} {i}" if w > 1 else c for c, w in known.columns for i in range(w))
        features = inputs or tuple(f"x{i}" for i in range(members.x.shape[1]))
        for kind, degrees in MODELS.items():
            for degree, build in zip(("held back", "let go"), degrees, strict=True):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a network that is held back stops early, and warns of it
                    fitted = build().fit(members.x, members.y)
                gap = float(fitted.score(members.x, members.y) - fitted.score(controls.x, controls.y))
                subject = Subject(
                    sklearn_predictor(fitted),
                    Split(members, controls, others),
                    SklearnRecipe(fitted),
                    fitted,
                    features,
                )
                yield f"{without_folders(name)}, {kind}, {degree}", gap, subject


def _flat(people: Any) -> Any:
    return type(people)(people.x.reshape(len(people), -1), people.y, people.persons)


def audited(
    names: Sequence[str], people: int, shadows: int, seed: int, progress: Callable[[str], None]
) -> list[Audited]:
    """Every subject with its findings: the attacks that may decide on membership, and all other risks of models."""
    made: list[Audited] = []
    for name, gap, subject in subjects(names, people, seed):
        progress(name)
        found, _ = examine(subject, Options(shadows=shadows, seed=seed, deciding_only=True))
        made.append(Audited(name, gap, found))
    return made


def measured(subject: Audited, attack: str, metric: str) -> tuple[float, float] | None:
    """The rate of an attack on a subject, and its rate without the leak: means over the attack's findings.

    The second is the control's rate, or for class inversion the blind one's. None if nothing was measured.
    """
    pairs: list[tuple[float, float]] = []
    for f in subject.findings:
        if f.attack.name == attack and isinstance(f.measure, Estimate) and f.measure.metric == metric:
            # A class is no person, so class inversion is compared with the blind cell and not with the control.
            about_people = isinstance(f.control, Estimate) and attack != "class_inversion"
            without: Measure = f.control if about_people else f.baseline
            if isinstance(without, Estimate):
                pairs.append((f.measure.value, without.value))
    return tuple(np.mean(pairs, axis=0).tolist()) if pairs else None


def spearman(one: Array, other: Array, level: float = 0.95) -> Interval:
    """Rank correlation with an interval by Fisher's z and the variance of Bonett and Wright (2000).

    The interval is all of [-1, 1] if one of the two is constant, or if there are fewer than five pairs.
    """
    n = len(one)
    if n < 5 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return Interval(0.0, -1.0, 1.0, level, "not identified", n)
    value = float(scipy_stats.spearmanr(one, other).statistic)
    inside = min(max(value, -1 + 1e-9), 1 - 1e-9)
    half = float(scipy_stats.norm.ppf((1 + level) / 2)) * math.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(inside) - half), math.tanh(math.atanh(inside) + half)
    return Interval(value, min(value, low), max(value, high), level, "spearman, fisher z", n)


def mean_over(values: Array, made: Sequence[Audited], level: float = 0.95) -> Interval:
    """The mean over subjects with Student's t interval over data sets.

    Models of one data set share its people, so they are not independent. With a single data set the interval is over
    its models, and holds for this data set only.
    """
    of = np.array([a.name.split(",")[0] for a in made])
    means = np.array([values[of == name].mean() for name in np.unique(of)])
    return statistics.t_interval(means if len(means) > 1 else values, level)
