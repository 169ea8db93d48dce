# pyright: strict
"""Findings about a training recipe: several runs of it, the unit being the run."""

from __future__ import annotations

import numpy as np

from testbed import stats
from testbed.findings import MEASURES, estimate
from testbed.report.schema import Estimate, Finding, Measure, Unmeasured, Validity
from testbed.wording import FEW_GUESSES, percent


def over_runs(runs: list[list[Finding]]) -> list[Finding]:
    """Findings about the training recipe: the mean over runs of each measure, with a t interval, unit run."""
    joined: list[Finding] = []
    for same in zip(*runs, strict=True):
        measures = {name: _over_runs([getattr(f, name) for f in same]) for name in MEASURES}
        flags = sorted({flag for f in same for flag in f.validity.flags})
        attack = same[0].attack.model_copy(
            update={name: sum(getattr(f.attack, name) for f in same) for name in ("requested", "performed")}
        )
        if attack.performed >= FEW_GUESSES:
            flags = [f for f in flags if f != "few_guesses"]
        plain = f"Over {len(same)} runs: {percent(measures['measure'])} on average; control "
        plain += f"{percent(measures['control'])}. In the first run: {same[0].plain}"
        joined.append(
            same[0].model_copy(
                update={
                    **measures,
                    "attack": attack,
                    "validity": Validity(ok=not flags, flags=flags),
                    "plain": plain,
                }
            )
        )
    return joined


RANGES = {**dict.fromkeys(("rate", "tpr_at_fpr", "auc", "line_up_top1"), (0.0, 1.0)), "excess": (-1.0, 1.0)}


def _over_runs(measures: list[Measure]) -> Measure:
    estimates = [m for m in measures if isinstance(m, Estimate)]
    if len(estimates) < len(measures):
        return next(m for m in measures if isinstance(m, Unmeasured))
    values = np.array([e.value for e in estimates])
    found = stats.t_interval(values, estimates[0].level, RANGES.get(estimates[0].metric))
    if found.low == found.high:  # equal runs: no variance to be seen, so a single run's own interval is shown
        widest = max(estimates, key=lambda e: e.high - e.low)
        return widest.model_copy(update={"unit": "run", "n": len(estimates), "method": f"{widest.method}; runs agree"})
    first = estimates[0]
    return estimate(first.metric, found, "run", len(estimates), first.fpr)
