"""Categories that two tables code differently: yes and 1, I21.9 and I219, I21.9 and its group I21."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from testbed.data.tables import spellings

YES = [
    "yes",
    "y",
    "ja",
    "j",
    "true",
    "t",
    "1",
    "oui",
    "o",
    "sí",
    "si",
    "s",
    "sim",
    "tak",
    "kyllä",
    "ano",
    "igen",
    "da",
    "ναι",
    "evet",
    "positive",
    "pos",
    "checked",
    "x",
]
NO = [
    "no",
    "n",
    "nein",
    "false",
    "f",
    "0",
    "non",
    "nej",
    "nie",
    "não",
    "ei",
    "ne",
    "nem",
    "nu",
    "όχι",
    "hayır",
    "negative",
    "neg",
    "unchecked",
]
TRUTH = {**dict.fromkeys(NO, "no"), **dict.fromkeys(YES, "yes")}
UNKNOWN = 0.5
"""Categories of a release are coded differently if fewer than this share of its cells occur in the original."""
MOSTLY = 0.9
"""The smallest share of the released cells that a coding must explain."""
GAIN = 0.01
"""The smallest gain in that share, for codes without their punctuation."""
MARKS = re.compile(r"[\W_]+")
CUT = re.compile(r"(?:[*#?.\-_\s]+|(?<=[\d.\-_])x+)+$")
"""What stands in place of the cut part of a code."""
Keys = Mapping[str, Mapping[Hashable, int]]
"""The categories of each table (see `spellings.category`), with the number of their cells."""


def meeting(keys: Keys) -> tuple[dict[str, dict[Hashable, Hashable]], str]:
    """New categories by table for those that would not meet otherwise, and what was done, for the report.

    Empty if the tables meet as they are, or cannot be made to.
    """
    before = known(keys)
    for recode, told in (
        (_truth, "yes and no are compared as such, however each table writes them"),
        (_bare, "codes are compared without their punctuation"),
        (_shortened, "original and control are cut to the codes of the release"),
    ):
        found = recode(keys)
        if found is None:
            continue
        after = known({r: _moved(own, found[r]) for r, own in keys.items()})
        if after >= MOSTLY and (before < UNKNOWN or (recode is _bare and after > before + GAIN)):
            return found, told
    return {}, ""


def known(keys: Keys) -> float:
    """The share of the released cells whose category the original has."""
    cells = sum(keys["synthetic"].values())
    return sum(n for k, n in keys["synthetic"].items() if k in keys["original"]) / max(1, cells)


def _moved(own: Mapping[Hashable, int], recoded: Mapping[Hashable, Hashable]) -> dict[Hashable, int]:
    counted: dict[Hashable, int] = {}
    for key, cells in own.items():
        new = recoded.get(key, key)
        counted[new] = counted.get(new, 0) + cells
    return counted


def _truth(keys: Keys) -> dict[str, dict[Hashable, Hashable]] | None:
    if not all(str(k) in TRUTH for own in keys.values() for k in own) or any(len(own) > 2 for own in keys.values()):
        return None
    return {role: {k: TRUTH[str(k)] for k in own} for role, own in keys.items()}


def _bare(keys: Keys) -> dict[str, dict[Hashable, Hashable]] | None:
    """Without punctuation; None if two categories of the real people would become one."""
    found = {role: {k: MARKS.sub("", str(k)) or k for k in own} for role, own in keys.items()}
    real = {k: new for role, own in found.items() if role != "synthetic" for k, new in own.items()}
    return found if len(set(real.values())) == len(real) else None


def _shortened(keys: Keys) -> dict[str, dict[Hashable, Hashable]] | None:
    """Categories of the original cut to released ones: I21.9 to I21, 22362 to 223**, Male to M."""
    released = {k: stem for k in keys["synthetic"] if (stem := CUT.sub("", str(k)))}
    if len(set(released.values())) >= len(keys["original"]) + (len(keys["synthetic"]) <= 2):
        return None
    stems = set(released.values())
    longest = max(map(len, stems), default=0)
    found: dict[str, dict[Hashable, Hashable]] = {"synthetic": dict(released)}
    for role, own in keys.items():
        if role != "synthetic":
            starts = {k: [str(k)[:n] for n in range(longest, 0, -1) if str(k)[:n] in stems] for k in own}
            found[role] = {k: some[0] for k, some in starts.items() if some}
    return found


def mapped(values: Any, mapping: Mapping[Any, Any]) -> Any:
    """A pandas column with the values of a meta file's mapping in place; YAML reads Yes and No as true and false."""
    places: dict[Hashable, str] = {}
    for key, new in mapping.items():
        if isinstance(key, bool):
            places |= dict.fromkeys(YES if key else NO, spellings.text(new))
        places[spellings.category(spellings.text(key))] = spellings.text(new)
    return values.map(lambda v: places.get(spellings.category(spellings.text(v)), v), na_action="ignore").astype(object)
