# pyright: strict
"""Findings from evidence: each number of a report is a pure function of evidence rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Array, Cell, Evidence, Group
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import AttackRun, Estimate, Finding, Measure, Metric, Series, Unit, Unmeasured, Validity
from testbed.findings.statistics import Interval
from testbed.findings.taxonomy import taxonomy
from testbed.findings.validity import FEW_FORMED, FEW_GUESSES, MANY_GUESSES
from testbed.findings.wording import percent, plain_words

MEASURES = ("measure", "control", "baseline", "excess", "residual", "positive_control")
"""The fields of a finding that hold an estimate or an `Unmeasured`."""
NO_POLICY = Unmeasured(unmeasured="no_policy", needs="a policy file (--policy) that limits this risk")
NOT_APPLICABLE = Unmeasured(unmeasured="not_applicable", needs="nothing: the measure has no meaning here")
NO_CONTROL = Unmeasured(
    unmeasured="no_control", needs="records of people who were not used (testbed split, then --control)"
)


def estimate(
    metric: Metric, interval: Interval, unit: Unit, n: int | None = None, fpr: float | None = None
) -> Estimate:
    """An interval as it stands in a result. `n` is the count of units, by default the interval's own."""
    return Estimate(
        metric=metric,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        level=interval.level,
        method=interval.method,
        unit=unit,
        n=interval.n if n is None else n,
        fpr=fpr,
    )


def _rate(evidence: Evidence, view: Cell, group: Group, unit: Unit, design: float = 1.0) -> tuple[Interval, int] | None:
    """A cell's success rate with its interval, and its count of units; None if the cell is empty.

    `design` is a design effect: the interval is that of n / `design` guesses. For the unit batch, n counts batches.
    """
    cell = evidence.cell(view, group)
    if not len(cell):
        return None
    if unit == "batch":
        batches = len(np.unique(cell.cluster))
        worth = max(1, round(batches / design))
        interval = statistics.wilson(float(cell.success.mean()) * worth, worth)
        method = "wilson over batches" if worth == batches else "wilson over batches, n divided by the design effect"
        return Interval(interval.value, interval.low, interval.high, interval.level, method, worth), batches
    rate = statistics.proportion(cell.success, cell.cluster)
    if design > 1:
        rate = statistics.widened(rate, design)
    return rate, len(cell)


def rates(
    plan: Plan,
    evidence: Evidence,
    paired: bool = False,
    missing: Mapping[str, Unmeasured] | None = None,
    design: float = 1.0,
) -> Finding:
    """A finding whose measures are the success rates of the four cells.

    `paired` says that each guess is judged in both groups, so the two rates are correlated. `missing` gives the reason
    for an empty cell, by measure name. `design` is a design effect: n guesses count as n / `design`. Raises
    `ValueError` if the attack cell is empty.
    """
    missing = missing or {}
    cells: dict[str, tuple[Cell, Group]] = {
        "measure": ("true", "used"),
        "control": ("true", "unused"),
        "baseline": ("blind", "used"),
        "positive_control": ("positive", "used"),
    }
    found = {name: _rate(evidence, *cell, plan.unit, design) for name, cell in cells.items()}
    if found["measure"] is None:
        raise ValueError("the attack cell is empty")
    measure, control = found["measure"], found["control"]
    assert measure is not None
    link = 0.0
    if paired and control is not None:
        used, unused = evidence.cell("true", "used"), evidence.cell("true", "unused")
        link = statistics.correlation(used.success, unused.success, min(measure[0].n, control[0].n))
    excess = statistics.excess(measure[0], control[0], link) if control else None
    return _finding(plan, evidence, found, missing, excess, ())


def membership(
    plan: Plan,
    evidence: Evidence,
    missing: Mapping[str, Unmeasured] | None = None,
    design: float = 1.0,
    part: Array | None = None,
) -> Finding:
    """A membership finding: the TPR at a fixed FPR, beside the FPR itself, with an excess and a ROC.

    Each half of the controls sets a threshold; the FPR is measured on the other half (`at_threshold`). The finding is
    unmeasured if the controls are too few for this FPR: ten false positives must be expected. `design` is a design
    effect: n guesses count as n / `design`. `part` (n,) gives each item the number of its part of the people, where
    parts were scored by different attacks; each part then has its own thresholds.
    """
    missing = dict(missing or {})
    used, unused = (evidence.cell("true", g) for g in ("used", "unused"))
    controls = len(np.unique(unused.cluster))
    fpr = plan.fpr or false_positive_rate(controls)
    if controls * fpr < statistics.RESOLVABLE_FALSE_POSITIVES:
        why = Unmeasured(
            unmeasured="fpr_not_resolvable",
            needs=f"{int(np.ceil(statistics.RESOLVABLE_FALSE_POSITIVES / fpr))} controls for an FPR of {fpr:g}; "
            f"there are {controls}",
        )
        return unmeasured(plan, why, evidence.requested, evidence.performed)
    found: dict[str, tuple[Interval, int] | None] = {}
    found["measure"], found["control"] = at_threshold(used, unused, fpr, design, part)
    blind_control = None
    for name, view in (("baseline", "blind"), ("positive_control", "positive")):
        cells = [evidence.where((evidence.view == view) & (evidence.group == g)) for g in ("used", "unused")]
        found[name], judged = (
            at_threshold(cells[0], cells[1], fpr, design, part) if min(map(len, cells)) else (None, None)
        )
        blind_control = judged if view == "blind" else blind_control
    flags: list[str] = []
    baseline = found["baseline"]
    if baseline is None and "baseline" not in missing:
        found["baseline"] = Interval(fpr, fpr, fpr, 1.0, "closed form: guessing", len(used)), len(used)
    if baseline is not None and blind_control is not None:
        apart = statistics.excess(baseline[0], blind_control[0], level=0.99)
        flags += ["split_differs"] if apart.low > 0 or apart.high < 0 else []
    roc_x, roc_y = statistics.roc(used.score, unused.score)
    series = Series(
        name=f"ROC of {plan.attack}",
        kind="roc",
        x_label="false-positive rate",
        y_label="true-positive rate",
        x=roc_x,
        y=roc_y,
    )
    measure, control = found["measure"], found["control"]
    assert measure is not None
    assert control is not None
    slope = statistics.roc_slope(fpr, used.score, unused.score)
    excess = statistics.excess(measure[0], control[0], slope=slope)
    finding = _finding(plan, evidence, found, missing, excess, flags, fpr=fpr, series=[series])
    worth = _worth(measure[0].value, control[0].value)
    return finding.model_copy(update={"plain": finding.plain + worth})


PREVALENCES = (0.01, 0.1, 0.5)
"""Shares of the suspects who were in the data, for which a report says how often an accusation is right."""


def _worth(tpr: float, fpr: float) -> str:
    """A sentence on how often an accusation is right, for each share of `PREVALENCES`."""
    values = [statistics.ppv(tpr, fpr, p) for p in PREVALENCES]
    if any(v is None for v in values):
        return ""
    cases = [
        f"{100 * (v or 0):.0f} times in 100 if {100 * p:g} of 100 suspects {'was' if p == 0.01 else 'were'} in the data"
        for v, p in zip(values, PREVALENCES, strict=True)
    ]
    return f" An accusation is right {'; '.join(cases)}."


def false_positive_rate(controls: int) -> float:
    """The smallest customary false-positive rate that this many controls can show; the largest if they show none."""
    return statistics.resolvable_fpr(controls) or statistics.FALSE_POSITIVE_RATES[-1]


def at_threshold(
    used: Evidence, unused: Evidence, fpr: float, design: float = 1.0, part: Array | None = None
) -> tuple[tuple[Interval, int], tuple[Interval, int]]:
    """TPR and FPR, each with its count of records, at thresholds set by halves of the controls.

    Persons are split into two halves, and each half sets a threshold. A control is judged at the other half's
    threshold, a used record at both, averaged; where there are parts, at those of its own `part`. Averaging over both
    halves cancels the thresholds' sampling error in the FPR. The TPR's interval takes the thresholds as fixed; their
    uncertainty enters the interval of the excess, through the ROC's slope.
    """
    accused, falsely = np.zeros(len(used)), np.zeros(len(unused))
    mine, theirs = (
        np.zeros(len(e), int) if part is None else part[e.item.astype(int)].astype(int) for e in (used, unused)
    )
    for number in np.unique(mine):
        here, there = mine == number, theirs == number
        accused[here], falsely[there] = _accused(used.where(here), unused.where(there), fpr)
    rate, control = statistics.proportion(accused, used.cluster), statistics.proportion(falsely, unused.cluster)
    if design > 1:
        rate, control = (statistics.widened(r, design) for r in (rate, control))
    return (rate, len(used)), (control, len(unused))


def _accused(used: Evidence, unused: Evidence, fpr: float) -> tuple[Array, Array]:
    """Each record's chance of being accused: used records over both thresholds, controls at the other half's."""
    _, first, person = np.unique(unused.cluster, return_index=True, return_inverse=True)
    even = np.argsort(np.argsort(first))[person] % 2 == 0  # persons in the order in which they were asked about
    one, other = (statistics.accuser(fpr, unused.score[half]) for half in (even, ~even))
    return (one(used.score) + other(used.score)) / 2, np.where(even, other(unused.score), one(unused.score))


def area_under_curve(plan: Plan, evidence: Evidence, design: float = 1.0) -> Finding:
    """A finding with the AUC. It informs and never decides, because an AUC hides the leak of a few records."""
    cells = {
        view: tuple(evidence.where((evidence.view == view) & (evidence.group == g)) for g in ("used", "unused"))
        for view in ("true", "blind", "positive")
    }
    areas: dict[str, Measure] = {
        view: Unmeasured(unmeasured="not_run", needs="a view of this kind")
        if min(len(used), len(unused)) == 0
        else estimate(
            "auc",
            statistics.auc(used.score, unused.score, clusters=(used.cluster, unused.cluster), design=design),
            plan.unit,
        )
        for view, (used, unused) in cells.items()
    }
    value = areas["true"]
    if isinstance(areas["blind"], Unmeasured):
        areas["blind"] = estimate(
            "auc", Interval(0.5, 0.5, 0.5, 1.0, "closed form: guessing", len(cells["true"][0])), plan.unit
        )
    return Finding(
        rule=plan.rule,
        risk=plan.risk,
        attack=_attack_run(plan, evidence),
        primary=False,
        measure=value,
        control=NOT_APPLICABLE,
        baseline=areas["blind"],
        excess=NOT_APPLICABLE,
        residual=NOT_APPLICABLE,
        positive_control=areas["positive"],
        validity=Validity(ok=True, flags=[]),
        limit=NO_POLICY,
        verdict="none",
        plain=f"In {percent(value)} of pairs, the attack scores a random member higher than a random non-member (AUC). "
        "Guessing gives 50 %.",
        taxonomy=taxonomy(plan.risk),
        target=plan.target,
    )


def _finding(
    plan: Plan,
    evidence: Evidence,
    found: Mapping[str, tuple[Interval, int] | None],
    missing: Mapping[str, Unmeasured],
    over: Interval | None,
    flags: list[str] | tuple[str, ...],
    fpr: float | None = None,
    series: list[Series] | None = None,
) -> Finding:
    metrics: dict[str, Metric] = dict.fromkeys(found, plan.metric)
    if plan.metric == "tpr_at_fpr":
        metrics["control"] = "rate"
    measures: dict[str, Measure] = {
        name: missing.get(name, NO_CONTROL if name == "control" else NOT_APPLICABLE)
        if got is None
        else estimate(metrics[name], got[0], plan.unit, got[1], fpr if metrics[name] == "tpr_at_fpr" else None)
        for name, got in found.items()
    }
    attack, control, positive = found["measure"], found["control"], found["positive_control"]
    assert attack is not None
    flags = [*flags, *_flags(evidence, over is not None)]
    if over is not None and statistics.surely_negative(over):
        flags.append("negative_excess")
    if positive is None:
        flags.append("positive_control_missing")
    else:
        # What a class looks like is also true of people whose records were not used, so a blind view is the comparison.
        others = found["baseline"] if plan.unit == "class" else control
        if statistics.excess(positive[0], others[0] if others else statistics.wilson(0, positive[0].n)).low <= 0:
            flags.append("positive_control_failed")
    excess: Measure = (
        estimate("excess", over, plan.unit, min(attack[1], control[1])) if over and control else NO_CONTROL
    )
    return Finding(
        rule=plan.rule,
        risk=plan.risk,
        attack=_attack_run(plan, evidence),
        primary=plan.primary,
        measure=measures["measure"],
        control=measures["control"],
        baseline=measures["baseline"],
        excess=excess,
        residual=residual_share(over, control[0], plan.unit) if over and control else NO_CONTROL,
        positive_control=measures["positive_control"],
        validity=Validity(ok=not flags, flags=sorted(flags)),
        limit=NO_POLICY,
        verdict="none",
        plain=plain_words(plan.risk, plan.target, measures, excess),
        taxonomy=taxonomy(plan.risk),
        series=series or [],
        target=plan.target,
    )


def unmeasured(plan: Plan, why: Unmeasured, requested: int = 0, performed: int = 0) -> Finding:
    """A finding that could not be measured, with the reason `why` in every field; it can never pass."""
    return Finding(
        rule=plan.rule,
        risk=plan.risk,
        attack=AttackRun(name=plan.attack, params=dict(plan.params), requested=requested, performed=performed),
        primary=plan.primary,
        measure=why,
        control=why,
        baseline=why,
        excess=why,
        residual=why,
        positive_control=why,
        validity=Validity(ok=False, flags=[why.unmeasured]),
        limit=NO_POLICY,
        verdict="none",
        plain=f"This could not be measured ({why.unmeasured}). What is needed: {why.needs}.",
        taxonomy=taxonomy(plan.risk),
        target=plan.target,
    )


def diagnostic(plan: Plan, measure: Interval, control: Interval | None, plain: str) -> Finding:
    """A finding with a rate, beside the control's rate if there is one; baseline and positive control do not apply."""
    excess = statistics.excess(measure, control) if control else None
    return unmeasured(plan, NOT_APPLICABLE, measure.n, measure.n).model_copy(
        update={
            "measure": estimate("rate", measure, plan.unit),
            "control": estimate("rate", control, plan.unit) if control else NOT_APPLICABLE,
            "excess": estimate("excess", excess, plan.unit) if excess else NOT_APPLICABLE,
            "plain": plain,
        }
    )


def flagged(finding: Finding, flag: str) -> Finding:
    """The finding with one more flag, so that it never passes."""
    flags = sorted({*finding.validity.flags, flag})
    return finding.model_copy(update={"validity": finding.validity.model_copy(update={"ok": False, "flags": flags})})


def _flags(evidence: Evidence, controlled: bool) -> list[str]:
    flags = [] if controlled else ["no_control"]
    if evidence.performed < FEW_GUESSES:
        flags.append("few_guesses")
    if evidence.performed < enough_formed(evidence.requested):
        flags.append("few_formed")
    return flags


def enough_formed(requested: int) -> float:
    """The number of formed guesses below which a finding is flagged `few_formed`."""
    return FEW_FORMED * min(requested, MANY_GUESSES)


def residual_share(over: Interval | None, control: Interval | None, unit: Unit) -> Measure:
    """The residual risk: the excess divided by 1 - control, the share that was left to learn."""
    if over is None or control is None:
        return NO_CONTROL
    scaled = statistics.residual(over, control.value)
    return estimate("residual", scaled, unit) if scaled else NOT_APPLICABLE


def _attack_run(plan: Plan, evidence: Evidence) -> AttackRun:
    return AttackRun(
        name=plan.attack, params=dict(plan.params), requested=evidence.requested, performed=evidence.performed
    )
