# pyright: strict
"""The cell rule for the people asked about: no rate, bound or curve describes fewer people than a policy allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from testbed.findings.schema import Estimate, Finding, Measure, Reason, Series, Subject, Unmeasured, Utility

OF_PEOPLE = ("person", "record", "row")
"""Units that are people, or may be. Guesses, batches, hospitals and runs are no people."""
NEEDS = "numbers that may be shown, about "
"""How the needs of a hidden number begin."""
ABOVE = "informs and does not decide. It is above the limit, about too few people for its numbers to be shown."
FIELDS = ("measure", "control", "baseline", "positive_control", "excess", "residual")


def holds(subject: Subject) -> bool:
    """Whether the rule holds for this subject: for real people of a table or a model.

    What was recorded of a federation is asked about record by record: its rates count guesses that were right, and
    describe nobody.
    """
    return subject.data_class == "real" and subject.type in ("synthetic_table", "model")


def without(findings: list[Finding], min_cell: int, limits: Mapping[str, float]) -> list[Finding]:
    """The judged findings without rates over fewer than `min_cell` people, and with ROC points so many controls apart.

    A hidden rate is unmeasured (`small_group`), and so is the excess that it is a part of. Flags stay, and so does a
    FAIL: it was given while the numbers were known. A hidden finding that informs and was surely above its limit asks
    for a look.
    """
    return [_without(f, min_cell, limits.get(f.risk, 1.0)) for f in findings]


def hidden(finding: Finding) -> bool:
    """Whether the finding's numbers are not shown, because they describe too few people."""
    return isinstance(finding.excess, Unmeasured) and finding.excess.needs.startswith(NEEDS)


def usefulness(utility: Sequence[Utility], min_cell: int) -> list[Utility]:
    """What a defence costs, without rates over fewer than `min_cell` people."""
    why = Unmeasured(unmeasured="small_group", needs=f"{NEEDS}{min_cell} or more people")
    return [u.model_copy(update={"measure": why}) if _small(u.measure, min_cell) else u for u in utility]


def alarms(findings: list[Finding], to_do: str) -> list[Reason]:
    """A reason for review for each hidden finding that informs and was above its limit."""
    return [
        Reason(rule=f.rule, verdict="review", text=f"{f.risk.replace('_', ' ')} ({f.attack.name}) {ABOVE} {to_do}")
        for f in findings
        if not f.primary and hidden(f) and f.verdict == "review"
    ]


def _without(finding: Finding, min_cell: int, limit: float) -> Finding:
    small = [name for name in FIELDS if _small(getattr(finding, name), min_cell)]
    controls = getattr(finding.control, "n", None) or getattr(finding.measure, "n", None) or 0
    series = [_thinned(s, min_cell / controls) if controls and s.kind == "roc" else s for s in finding.series]
    if not small:
        return finding.model_copy(update={"series": series}) if finding.series else finding
    why = Unmeasured(unmeasured="small_group", needs=f"{NEEDS}{min_cell} or more people of each kind")
    update: dict[str, object] = dict.fromkeys(small, why)
    if {"measure", "control"} & set(small):
        update |= {"excess": why, "residual": why, "series": [], "adjusted_p": None}
        update["plain"] = f"This is not shown: it describes fewer than {min_cell} people."
        if not finding.primary and isinstance(finding.excess, Estimate) and finding.excess.low > limit:
            update["verdict"] = "review"
    return finding.model_copy(update=update)


def _small(measure: Measure, min_cell: int) -> bool:
    return isinstance(measure, Estimate) and measure.unit in OF_PEOPLE and measure.n < min_cell


def _thinned(series: Series, apart: float) -> Series:
    """The points of a curve of which each lies `apart` or more from the one before; the first and the last stay."""
    kept: list[int] = []
    for i, x in enumerate(series.x):
        if not kept or x - series.x[kept[-1]] >= apart * (1 - 1e-9):
            kept.append(i)
    last = len(series.x) - 1
    if kept and kept[-1] != last:
        while len(kept) > 1 and series.x[last] - series.x[kept[-1]] < apart * (1 - 1e-9):
            kept.pop()
        kept.append(last)
    lists = {name: getattr(series, name) for name in ("labels", "x", "y", "low", "high")}
    return series.model_copy(update={name: [full[i] for i in kept] for name, full in lists.items() if full})
