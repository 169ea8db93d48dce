# pyright: strict
"""Findings about a training recipe, from several runs of it; the unit is the run."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from testbed.findings import statistics
from testbed.findings.measures import MEASURES, estimate
from testbed.findings.schema import Estimate, Finding, Measure, Unmeasured, Validity
from testbed.findings.statistics import Interval
from testbed.findings.validity import FEW_GUESSES
from testbed.findings.wording import percent


def over_runs(runs: list[list[Finding]]) -> list[Finding]:
    """One finding a question: the mean over runs of each measure, with a t interval; the unit is the run.

    A question that some run did not ask is unmeasured. Flags of any run are kept, except `few_guesses` where all runs
    together have enough.
    """
    joined: list[Finding] = []
    by_run = [_by_question(run) for run in runs]
    for question in dict.fromkeys(q for findings in by_run for q in findings):
        same = [findings[question] for findings in by_run if question in findings]
        everywhere = len(same) == len(runs)
        measures: dict[str, Measure] = dict.fromkeys(MEASURES, NOT_IN_EVERY_RUN)
        if everywhere:
            measures = {name: mean_over_runs([getattr(f, name) for f in same]) for name in MEASURES}
        flags = sorted({flag for f in same for flag in f.validity.flags})
        attack = same[0].attack.model_copy(
            update={name: sum(getattr(f.attack, name) for f in same) for name in ("requested", "performed")}
        )
        if attack.performed >= FEW_GUESSES:
            flags = [f for f in flags if f != "few_guesses"]
        plain = f"On average over {len(same)} runs, the attack reaches {percent(measures['measure'])}. "
        plain += f"On the control it reaches {percent(measures['control'])}. In the first run: {same[0].plain}"
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


NOT_IN_EVERY_RUN = Unmeasured(unmeasured="not_in_every_run", needs="a subject of which every run asks the same")


def _by_question(found: list[Finding]) -> dict[tuple[object, ...], Finding]:
    """Findings keyed by the question they answer: rule numbers depend on what else a run asked.

    A deciding finding is keyed by its rule alone, since its target may differ between runs.
    """
    by_question: dict[tuple[object, ...], Finding] = {}
    for finding in found:
        question = (finding.rule,) if finding.primary else (finding.risk, finding.attack.name, finding.target)
        number = sum(q[: len(question)] == question for q in by_question)
        by_question[(*question, number)] = finding
    return by_question


RANGES = {**dict.fromkeys(("rate", "tpr_at_fpr", "auc", "line_up_top1"), (0.0, 1.0)), "excess": (-1.0, 1.0)}
"""The smallest and largest possible value of each metric; an interval ends there."""


def _pooled(runs: list[Estimate], over: Interval) -> Interval:
    """The interval `over` of the mean, at least as wide as the runs' own intervals imply for their mean.

    Few runs may agree by chance: five runs of which one has a single hit vary less than the guesses within each.
    """
    below, above = (
        math.sqrt(sum((getattr(e, side) - e.value) ** 2 for e in runs)) / len(runs) for side in ("low", "high")
    )
    if over.low == over.high or (over.low <= over.value - below and over.high >= over.value + above):
        return over
    low, high = min(over.low, over.value - below), max(over.high, over.value + above)
    return replace(over, low=low, high=high, method="t over runs, no narrower than the runs' own")


def mean_over_runs(measures: list[Measure]) -> Measure:
    """One measure over all runs; unmeasured as soon as it is unmeasured in one run."""
    estimates = [m for m in measures if isinstance(m, Estimate)]
    if len(estimates) < len(measures):
        return next(m for m in measures if isinstance(m, Unmeasured))
    values = np.array([e.value for e in estimates])
    if estimates[0].level >= 1:  # a closed form, without sampling error
        mean = float(values.mean())
        return estimates[0].model_copy(
            update={"value": mean, "low": mean, "high": mean, "unit": "run", "n": len(estimates)}
        )
    pooled = _pooled(estimates, statistics.t_interval(values, estimates[0].level, RANGES.get(estimates[0].metric)))
    if pooled.low == pooled.high:  # equal runs show no variance, so the widest interval of a single run is shown
        widest = max(estimates, key=lambda e: e.high - e.low)
        return widest.model_copy(update={"unit": "run", "n": len(estimates), "method": f"{widest.method}; runs agree"})
    first = estimates[0]
    return estimate(first.metric, pooled, "run", len(estimates), first.fpr)
