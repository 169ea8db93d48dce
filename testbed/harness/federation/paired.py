"""Comparison of attacks over runs: how much more does one attack find than another in the same federations?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from testbed.core import Array
from testbed.findings import statistics
from testbed.findings.measures import NOT_APPLICABLE, estimate, unmeasured
from testbed.findings.plan import Plan, derived
from testbed.findings.schema import Estimate, Finding, Measure, Unmeasured, Validity
from testbed.findings.statistics import Interval
from testbed.findings.wording import percent


def beside(runs: Sequence[Sequence[Finding]], against: str, by: str = "paired") -> list[Finding]:
    """For each finding of the runs, a finding that compares its attack with the attack `against`. They inform.

    The excess is the mean difference over runs, with a t interval at 90 %. All runs must list their findings in the
    same order. Each rule is derived from the attack's own rule; `by` is a key of `DERIVED`.
    """
    made: list[Finding] = []
    for same in zip(*runs, strict=True):
        first = same[0]
        if first.attack.name == against:
            continue
        others = [f for run in runs for f in run if f.attack.name == against and _metric(f) in (None, _metric(first))]
        plan = Plan(
            rule=derived(first.rule, by),
            risk=first.risk,
            attack=first.attack.name,
            metric="auc",
            unit="run",
            primary=False,
            params=first.attack.params,
            target=f"{first.target or first.attack.name}, beside {against}",
        )
        values, theirs = ([f.measure for f in group] for group in (same, others))
        lacking = next((m for m in (*values, *theirs) if isinstance(m, Unmeasured)), None)
        if lacking is None and len(theirs) != len(values):
            lacking = Unmeasured(unmeasured="not_run", needs=f"{against} in every run, on the same measure")
        if lacking is not None:
            made.append(unmeasured(plan, lacking))
            continue
        made.append(_compared(plan, values, theirs, against))
    return made


def in_turns(runs: Sequence[Sequence[Finding]], turns: str, fixed: str) -> list[Finding]:
    """For each attack of a server in turns, a finding that compares it with the same attack of a fixed server.

    `turns` and `fixed` begin the targets of the two servers' findings. They inform, as those of `beside` do.
    """
    made: list[Finding] = []
    for first in (f for f in runs[0] if (f.target or "").startswith(turns)):
        plan = Plan(
            rule=derived(first.rule, "paired_turns"),
            risk=first.risk,
            attack=first.attack.name,
            metric="auc",
            unit="run",
            params=first.attack.params,
            target=f"{turns}, beside {fixed}",
        )
        alike = [[f for f in run if f.rule == first.rule] for run in runs]
        values, theirs = (
            [f.measure for run in alike for f in run if (f.target or "").startswith(turns) == own]
            for own in (True, False)
        )
        lacking = next((m for m in (*values, *theirs) if isinstance(m, Unmeasured)), None)
        made.append(unmeasured(plan, lacking) if lacking else _compared(plan, values, theirs, f"of a {fixed}"))
    return made


def _metric(finding: Finding) -> str | None:
    measure = finding.measure
    return measure.metric if isinstance(measure, Estimate) else None


def _compared(plan: Plan, values: list[Measure], theirs: list[Measure], against: str) -> Finding:
    own, other = (np.array([m.value for m in group if isinstance(m, Estimate)]) for group in (values, theirs))
    first = values[0]
    assert isinstance(first, Estimate)
    difference = over_runs(own - other, 0.90)
    measures = [
        estimate(first.metric, statistics.t_interval(v, within=(0.0, 1.0)), "run", len(own), first.fpr)
        for v in (own, other)
    ]
    apart = estimate("excess", difference, "run", len(own))
    name = "AUC" if first.metric == "auc" else f"TPR at an FPR of {first.fpr:g}" if first.fpr else first.metric
    verdict = (
        f"The attack {against} would have missed this"
        if difference.low > 0
        else f"The attack {against} finds more"
        if difference.high < 0
        else "The data do not show which of the two finds more"
    )
    low, value, high = (100 * x for x in (apart.low, apart.value, apart.high))
    plain = (
        f"Over {len(own)} runs, the attack {plan.attack} reaches a mean {name} of {percent(measures[0])}. "
        f"The attack {against} reaches {percent(measures[1])}. The difference is {value:.1f} percentage points "
        f"({low:.1f} to {high:.1f}). {verdict}."
    )
    return unmeasured(plan, NOT_APPLICABLE, len(own), len(own)).model_copy(
        update={
            "measure": measures[0],
            "control": measures[1],
            "excess": apart,
            "validity": Validity(ok=True, flags=[]),
            "plain": plain,
        }
    )


def over_runs(values: Array, level: float = 0.95) -> Interval:
    """The mean over runs with Student's t interval. Raises `ValueError` for fewer than two runs."""
    if len(values) < 2:
        raise ValueError(f"an interval over runs needs two or more. Got {len(values)} instead.")
    return statistics.t_interval(values, level)
