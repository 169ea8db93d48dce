"""The utility of a release, as aggregates: marginals, correlations, a model trained on it, propensity.

The release is compared with people who were not in the data, if there are any, so a copy gains no advantage.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import stats as _scipy_stats
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from testbed.attacks.release.density import sampled
from testbed.attacks.release.features import ranked
from testbed.core import Array, Table
from testbed.core.randomness import keyed_rng
from testbed.findings import statistics
from testbed.findings.schema import Estimate, Measure, Metric, Unit, Unmeasured, Utility

TREES = 50
PREDICTED = 5
"""Columns that a model is trained to predict, if the user names none."""


def utility(release: Table, real: Table, seed: int, targets: tuple[str, ...] = ()) -> list[Utility]:
    """Four figures from at most 5,000 rows of each table. The best value is 0.5 for propensity and 1 for the others."""
    ours, theirs = (sampled(t, seed) for t in (release, real))
    measures = {
        "marginals: 1 minus the distance between a column's two distributions": _marginals(ours, theirs),
        "correlations: 1 minus half the difference of a pair's rank correlations": _correlations(ours, theirs),
        "train on synthetic, test on real: skill beyond the best constant": _trained(ours, theirs, seed, targets),
        "propensity: AUC of distinguishing released from real rows; 0.5 is best": _propensity(ours, theirs, seed),
    }
    return [Utility(name=name, measure=measure) for name, measure in measures.items()]


def _over(values: list[float], metric: Metric, unit: Unit, within: tuple[float, float]) -> Measure:
    """The mean over columns with its interval, whose bounds stay among the possible values."""
    if len(values) < 2:
        return Unmeasured(unmeasured="too_few_columns", needs="two columns or more")
    found = statistics.t_interval(np.array(values), within=within)
    return Estimate(
        metric=metric,
        value=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        method="t over columns",
        unit=unit,
        n=len(values),
    )


def _marginals(release: Table, real: Table) -> Measure:
    """1 minus Kolmogorov-Smirnov's distance (numbers) or total variation (categories). A missing value is a value."""
    scores = [
        likeness(column.kind, mine, other)
        for column, mine, other in zip(release.columns, release.values, real.values, strict=True)
    ]
    return _over(scores, "fidelity", "column_set", (0.0, 1.0))


def likeness(kind: str, released: Array, real: Array) -> float:
    """1 minus the distance between two samples of a column: 1 if they are alike, 0 if they share nothing.

    The distance is Kolmogorov and Smirnov's for numbers, and the total variation for categories. A missing value is a
    value.
    """
    if kind == "numeric":
        filled = [np.where(np.isnan(v), np.inf, v) for v in (released, real)]
        grid = np.unique(np.concatenate(filled))
        below = [np.searchsorted(np.sort(v), grid, "right") / len(v) for v in filled]
        return 1 - float(np.abs(below[0] - below[1]).max())
    size = 2 + int(max(released.max(), real.max()))
    shares = [np.bincount(v + 1, minlength=size) / len(v) for v in (released, real)]
    return 1 - float(np.abs(shares[0] - shares[1]).sum() / 2)


def _correlations(release: Table, real: Table) -> Measure:
    matrices: list[Array] = []
    for table in (release, real):
        x = np.asarray(_scipy_stats.rankdata(ranked(table, real), axis=0), dtype=float)
        x = x + keyed_rng(0, "no column is constant").normal(0, 1e-9, x.shape)
        matrices.append(np.atleast_2d(np.corrcoef(x, rowvar=False)))
    upper = np.triu_indices(len(release.columns), 1)
    scores = (1 - np.abs(matrices[0] - matrices[1])[upper] / 2).tolist()
    return _over(scores, "fidelity", "column_set", (0.0, 1.0))


def _trained(release: Table, real: Table, seed: int, targets: tuple[str, ...]) -> Measure:
    """Skill beyond the best constant prediction, mean over targets. 0 is no better than that prediction."""
    if len(release.columns) < 2:
        return Unmeasured(unmeasured="too_few_columns", needs="two columns or more")
    names = [c.name for c in release.columns]
    chosen = targets or tuple(names[:: max(1, len(names) // PREDICTED)][:PREDICTED])
    return _over([_skill(release, real, n, seed) for n in chosen], "fidelity", "column_set", (-1.0, 1.0))


def _skill(release: Table, real: Table, target: str, seed: int) -> float:
    j = [c.name for c in release.columns].index(target)
    x, asked = (np.delete(ranked(t, release), j, 1) for t in (release, real))
    y, truth = release.values[j].astype(float), real.values[j].astype(float)
    state = int(keyed_rng(seed, "utility", target).integers(2**31))
    if release.columns[j].kind == "numeric":
        there, tested = ~np.isnan(y), ~np.isnan(truth)
        if there.sum() < 2 or tested.sum() < 2 or np.ptp(truth[tested]) == 0:
            return 0.0
        scale = float(np.abs(np.concatenate([y[there], truth[tested]])).max()) or 1.0
        model = ExtraTreesRegressor(TREES, random_state=state, max_features=1 / 3).fit(x[there], y[there] / scale)
        error = np.asarray(model.predict(asked[tested])) - truth[tested] / scale
        spread = float(np.var(truth[tested] / scale))
        return max(-1.0, 1 - float(np.mean(error**2)) / spread) if spread > 0 else 0.0
    codes, counts = np.unique(y, return_counts=True)
    guess = float((truth == codes[counts.argmax()]).mean())
    if len(codes) < 2 or guess == 1:
        return 0.0
    keep = np.isin(y, codes[np.argsort(-counts)][:20])
    forest = ExtraTreesClassifier(TREES, random_state=state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn warns of many classes with few rows each
        forest.fit(x[keep], y[keep])
    return (float((np.asarray(forest.predict(asked)) == truth).mean()) - guess) / (1 - guess)


def _propensity(release: Table, real: Table, seed: int) -> Measure:
    """AUC of a forest that distinguishes released from real rows: trained on a random half, measured on the other."""
    if min(len(release), len(real)) < 20:
        return Unmeasured(unmeasured="too_few_rows", needs="20 rows a side")
    x = np.concatenate([ranked(release, real), ranked(real, real)])
    y = np.arange(len(x)) < len(release)
    half = keyed_rng(seed, "propensity").permutation(len(x)) % 2 == 0
    state = int(keyed_rng(seed, "forest").integers(2**31))
    forest = ExtraTreesClassifier(TREES, random_state=state, min_samples_leaf=5).fit(x[half], y[half])
    score = np.asarray(forest.predict_proba(x[~half]))[:, 1]
    found = statistics.auc(score[y[~half]], score[~y[~half]])
    return Estimate(
        metric="auc",
        value=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        method=found.method,
        unit="row",
        n=found.n,
    )
