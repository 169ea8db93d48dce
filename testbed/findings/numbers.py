"""Numbers as text, the same in a terminal and in a report. Formatting only: no arithmetic on findings."""

from __future__ import annotations

from testbed.findings.schema import Estimate, Measure

_PERCENT = {"rate", "line_up_top1", "tpr_at_fpr", "residual", "exact_match", "token_recall", "fidelity"}


def number(value: float, metric: str) -> str:
    """A value in its metric's unit: per cent for shares, points for an excess, dB, or three decimals."""
    if metric == "excess":
        return f"{100 * value:.1f} points"
    if metric in _PERCENT:
        return f"{100 * value:.1f} %"
    return f"{value:.1f} dB" if metric == "psnr_db" else f"{value:.3f}"


def what(measure: Measure) -> str:
    """'TPR at 1 % FPR' or 'AUC' for the two metrics that one attack may have side by side; else nothing."""
    if isinstance(measure, Estimate) and measure.metric == "tpr_at_fpr" and measure.fpr is not None:
        return f"TPR at {100 * measure.fpr:g} % FPR"
    return "AUC" if isinstance(measure, Estimate) and measure.metric == "auc" else ""


def units(unit: str) -> str:
    """The plural of a unit, with blanks for underscores."""
    return {"class": "classes"}.get(unit, unit.replace("_", " ") + "s")


def short(measure: Measure) -> str:
    """The value without its interval, or in brackets the code that says why there is none."""
    return number(measure.value, measure.metric) if isinstance(measure, Estimate) else f"({measure.unmeasured})"


def interval(measure: Measure) -> str:
    """'value (low to high), n = count', or in brackets the code that says why there is no value."""
    if not isinstance(measure, Estimate):
        return f"({measure.unmeasured})"
    low, high = (number(v, measure.metric).partition(" ")[0] for v in (measure.low, measure.high))
    return f"{number(measure.value, measure.metric)} ({low} to {high}), n = {measure.n}"


def range_(measure: Measure) -> str:
    """'value (low to high)', or in brackets the code that says why there is no value."""
    return interval(measure).partition(", n = ")[0]
