# pyright: strict
"""The cell rule for the people asked about: no rate, bound or curve describes fewer people than a policy allows."""

from __future__ import annotations

from testbed.findings.schema import Estimate, Finding, Measure, Series, Unmeasured

OF_PEOPLE = ("person", "record", "row")
"""Units that are people, or may be. Guesses, batches, hospitals and runs are no people."""
FIELDS = ("measure", "control", "baseline", "positive_control", "excess", "residual")


def without(findings: list[Finding], min_cell: int) -> list[Finding]:
    """The findings without rates over fewer than `min_cell` people, and with ROC points so many controls apart.

    A hidden rate is unmeasured (`small_group`), and so is the excess that it is a part of. Flags stay: a leak that was
    found still stops a release.
    """
    return [_without(f, min_cell) for f in findings]


def _without(finding: Finding, min_cell: int) -> Finding:
    hidden = [name for name in FIELDS if _small(getattr(finding, name), min_cell)]
    controls = getattr(finding.control, "n", None) or getattr(finding.measure, "n", None) or 0
    series = [_thinned(s, min_cell / controls) if controls and s.kind == "roc" else s for s in finding.series]
    if not hidden:
        return finding.model_copy(update={"series": series}) if finding.series else finding
    why = Unmeasured(unmeasured="small_group", needs=f"{min_cell} or more people of each kind")
    update: dict[str, object] = dict.fromkeys(hidden, why)
    if {"measure", "control"} & set(hidden):
        update |= {"excess": why, "residual": why, "series": [], "adjusted_p": None}
        update["plain"] = f"This is not shown: it describes fewer than {min_cell} people."
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
