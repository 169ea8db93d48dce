"""Masks of a model's answers: what attackers find who know the mask, and who do not.

python benchmarks/masks.py [SEEDS]
A logistic model of digits, 150 members, 300 controls, 8 shadow models. Each figure is LiRA's true-positive rate at 10 %
false positives: the mean over the seeds, with its 95 % t interval. Each seed has other people.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from testbed.core import Cohort, Split
from testbed.core.randomness import keyed_rng
from testbed.defences import named
from testbed.harness.model.defended import behind
from testbed.harness.model.membership import attacked
from testbed.harness.model.model_audit import ModelAudit, Options
from testbed.harness.model.plans import membership_plans
from testbed.subjects.predictors.estimator import SklearnRecipe, sklearn_predictor
from testbed.subjects.predictors.subject import Subject

MASKS = ("none", "round:1", "temperature:10", "top1", "memguard")
FPR = 0.1


def subject(seed: int) -> Subject:
    """A logistic model that fits its 150 people by heart."""
    x, y = load_digits(return_X_y=True)
    rows = keyed_rng(seed, "people").permutation(len(y))
    members, controls, others = (Cohort(x[r] / 16, y[r], r) for r in (rows[:150], rows[150:450], rows[450:1050]))
    made = LogisticRegression(C=30.0, max_iter=300).fit(members.x, members.y)
    names = tuple(f"pixel{i}" for i in range(x.shape[1]))
    return Subject(sklearn_predictor(made), Split(members, controls, others), SklearnRecipe(made), made, names)


def found(mask: str, seed: int) -> dict[bool, float]:
    """LiRA's rate of members found, by whether the attacker does not know the mask."""
    audit = ModelAudit.of(behind(subject(seed), named.configured(mask), seed), Options(shadows=8), lambda _: None)
    made: dict[bool, float] = {}
    for attack, plan in membership_plans(audit):
        rows = attacked(attack, plan, audit).evidence if attack.name == "lira" and plan.target != "offline" else None
        if rows is not None:
            used, others = rows.cell("true", "used").score, rows.cell("true", "unused").score
            made[plan.unaware] = float((used > np.quantile(others, 1 - FPR)).mean())
    return made


def told(rates: list[float]) -> str:
    if not rates:
        return ""
    mean = float(np.mean(rates))
    more = float(stats.t.ppf(0.975, len(rates) - 1) * np.std(rates, ddof=1) / np.sqrt(len(rates)))
    return f"{mean:.0%} ({max(mean - more, 0):.0%} to {min(mean + more, 1):.0%})"


def main(seeds: int) -> None:
    print(f"{'defence':15} {'who knows it':20} {'who does not'}   ({seeds} seeds)")
    for mask in MASKS:
        rates = [found(mask, seed) for seed in range(seeds)]
        columns = [told([r[unaware] for r in rates if unaware in r]) for unaware in (False, True)]
        print(f"{mask:15} {columns[0]:20} {columns[1]}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
