"""Numbers in words, the same in a terminal and in a report. Formatting only: no arithmetic on findings."""

from __future__ import annotations

from testbed.findings.schema import Estimate, Measure

_PERCENT = {"rate", "line_up_top1", "tpr_at_fpr", "excess", "residual", "exact_match", "token_recall", "fidelity"}


def number(value: float, metric: str) -> str:
    if metric in _PERCENT:
        return f"{100 * value:.1f} %"
    return f"{value:.1f} dB" if metric == "psnr_db" else f"{value:.3f}"


def what(measure: Measure) -> str:
    """What kind of number it is, where the same attack may have several."""
    if isinstance(measure, Estimate) and measure.metric == "tpr_at_fpr" and measure.fpr is not None:
        return f"TPR at {100 * measure.fpr:g} % FPR"
    return "AUC" if isinstance(measure, Estimate) and measure.metric == "auc" else ""


def units(unit: str) -> str:
    """The plural."""
    return {"class": "classes"}.get(unit, unit.replace("_", " ") + "s")


def short(measure: Measure) -> str:
    """The value alone, or why there is none."""
    return number(measure.value, measure.metric) if isinstance(measure, Estimate) else f"({measure.unmeasured})"


def interval(measure: Measure) -> str:
    """Value, interval, n and unit."""
    if not isinstance(measure, Estimate):
        return f"({measure.unmeasured})"
    low, high = (number(v, measure.metric).replace(" %", "").replace(" dB", "") for v in (measure.low, measure.high))
    return f"{number(measure.value, measure.metric)} ({low} to {high}), n = {measure.n}"
