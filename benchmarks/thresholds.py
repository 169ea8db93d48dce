"""How often the bounds of a membership excess are right: about the thresholds chosen, and about the rate asked for.

python benchmarks/thresholds.py
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from testbed import judge
from testbed.core import Scores
from testbed.core.randomness import keyed_rng
from testbed.findings import measures
from testbed.findings.assemble import environment
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate

DRAWS = 1000
SETTINGS = (
    (100, 0.1, 0.0),
    (200, 0.05, 0.0),
    (1000, 0.01, 0.0),
    (1000, 0.01, 0.5),
    (1000, 0.01, 1.0),
    (5000, 0.01, 2.0),
)
"""Records a group, false-positive rate, and by how many standard deviations members score higher."""


def main() -> None:
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, {DRAWS} draws each")
    print("records    FPR  shift  true excess   lower bound right   upper bound right   mean width")
    for records, fpr, shift in SETTINGS:
        plan = Plan(
            rule="TB-MEMBERSHIP-001",
            risk="membership",
            attack="normal scores",
            metric="tpr_at_fpr",
            unit="record",
            fpr=fpr,
            primary=True,
        )
        truth = float(norm.sf(norm.isf(fpr) - shift)) - fpr
        used = np.arange(2 * records) < records
        low = high = width = 0.0
        for draw in range(DRAWS):
            scores = keyed_rng(draw, "scores", records).normal(size=2 * records) + shift * used
            excess = measures.membership(plan, judge.scores(Scores(scores), used, "true")).excess
            assert isinstance(excess, Estimate)
            low += excess.low <= truth
            high += excess.high >= truth
            width += excess.high - excess.low
        right = f"{low / DRAWS:18.3f}  {high / DRAWS:18.3f}  {width / DRAWS:11.3f}"
        print(f"{records:7} {fpr:6.2f} {shift:6.1f} {truth:12.3f}{right}", flush=True)


if __name__ == "__main__":
    main()
