"""One unit for a column: the commonest, to which all others are converted where that needs no substance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from testbed.data.tables import units
from testbed.data.tables.cells import Texts
from testbed.data.tables.quantities import ONE, Parsed, unit_of

FLAGS = frozenset("HLAN")
"""Letters behind a number that mean high, low, abnormal or normal, unless all cells have the same."""
MAIN = 0.9
"""A table's unit stands in at least this share of its cells that have a unit."""
COMMON = 0.5
"""The share of the texts that must have the unit for the report to name it."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """The column's unit and what brings other units to it; a unit without a conversion stays as it is."""

    unit: str = ""
    scales: Mapping[str, tuple[float, float]] = ()  # type: ignore[assignment]
    told: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()

    def converted(self, number: float, unit: str) -> float:
        """A number of this unit in the column's unit."""
        if not self.scales or unit not in self.scales:
            return number
        factor, offset = self.scales[unit]
        return factor * number + offset

    def shown(self, cells: Counter[str]) -> str:
        """The unit as most cells write it, if most of the texts have it."""
        if not self.unit:
            return ""
        written = Counter(w for t in cells if (w := _written(t, self.unit)))
        most, count = written.most_common(1)[0] if written else ("", 0)
        return most if count > COMMON * len(cells) else ""


def _written(text: str, unit: str) -> str:
    match = ONE.match(text.strip())
    if not match or (unit_of(match["rest"]) != unit and units.plainly(match["before"] or "") != unit):
        return ""
    return min((match["rest"] or match["before"] or "").split(" ("), key=len).strip()


def units_of(texts: Mapping[str, Texts], parsed: Mapping[str, Parsed]) -> Agreed | None:
    """The unit of the texts of all tables; None if they are codes such as 12A and 3C."""
    by_role = {role: _counted(own, parsed) for role, own in texts.items()}
    all_ = sum(by_role.values(), Counter[str]())
    if len(all_) <= 1:
        return Agreed(next(iter(all_), ""))
    base = (by_role["original"] or all_).most_common(1)[0][0]
    known = {unit: units.scale(unit) for unit in all_}
    of_base = known[base]
    scales: dict[str, tuple[float, float]] = {}
    strange: set[str] = set()
    for unit, scale in known.items():
        if unit == base:
            continue
        if scale is None or of_base is None or scale.dimension != of_base.dimension:
            strange.add(unit)
        else:
            scales[unit] = (scale.factor / of_base.factor, (scale.offset - of_base.offset) / of_base.factor)
    told = (f"units converted to {base}",) if any(s != (1.0, 0.0) for s in scales.values()) else ()
    if not strange:
        return Agreed(base, scales, told)
    tables = [c for c in by_role.values() if c]
    single = all(c.most_common(1)[0][1] >= MAIN * c.total() for c in tables)
    if not single and any(known[u] is None for u in [base, *strange]):
        return None
    if single and all(c.most_common(1)[0][0] not in strange for c in tables):
        return Agreed(base, {**scales, **dict.fromkeys(strange, (float("nan"), 0.0))}, told)
    return Agreed(base, scales, told, frozenset({"units_differ"}))


def _counted(own: Texts, parsed: Mapping[str, Parsed]) -> Counter[str]:
    """The units of a table's cells, without flags."""
    found = Counter[str]()
    bare = 0
    for text, cells in own.counted().items():
        for part in parsed[text].parts if text in parsed else ():
            found[part.unit] += cells
            bare += not part.unit
    bare += found.pop("", 0)
    if bare or len(found) > 1:
        for letter in FLAGS:
            found.pop(letter, 0)
    return found
