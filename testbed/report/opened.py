# pyright: strict
"""A folder of results as a page may show it: what stands in it, and of each result the files that may be passed on.

Threat model: somebody put links, further files or altered results into the folder. Only files of a share/ folder that
the testbed writes are read, through no link, and they are checked as `testbed verify` checks them. What was altered is
never handed out: the disclosure gate did not see it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.core import plain_files
from testbed.core.errors import InputError, UsageError
from testbed.findings.schema import Input, Result
from testbed.report import folder as folders
from testbed.report import listing, store, verification
from testbed.report.listing import Entry
from testbed.report.verification import COMPARED, PAGE, RESULT, Check

SHARE, EVIDENCE = folders.PARTS
WITHOUT_RESULT = ("sweep", "compare")
"""Kinds of entries that are comparisons of results, and no result."""


def key_of(entry: Entry) -> str:
    """The name of an entry in an address: it is looked up, and says no path."""
    return hashlib.sha256(os.fsencode(entry.path)).hexdigest()[:24]


def seal_of(entry: Entry) -> str:
    """Whether an entry's digests fit its content: `sealed`, `altered`, `without proof`, or `-` if it is no result."""
    if entry.state == "altered":
        return "altered"
    if entry.kind in ("sweep", "unknown") or entry.state not in ("complete", "partial"):
        return "-"
    return entry.note or "sealed"


def found(folder: Path) -> dict[str, Entry]:
    """The entries of a folder by their keys, the newest first. Nothing within evidence/ is one."""
    kept = [e for e in listing.entries(folder) if EVIDENCE not in Path(e.path).parts]
    return {key_of(entry): entry for entry in kept}


@dataclass(frozen=True, slots=True)
class Opened:
    """An entry with the files of its share/ folder and their checks; `others` counts files that nobody may see here."""

    entry: Entry
    files: Mapping[str, bytes]
    checks: list[Check]
    others: int

    @property
    def readable(self) -> list[str]:
        """The names of the files that are handed out: none if the result was altered, and none that was itself."""
        broken = {c.name for c in self.checks if c.holds is False}
        if not self.checks or broken - set(map(_check_of, self.files)):
            return []
        return [name for name in self.files if _check_of(name) not in broken]

    @property
    def result(self) -> Result:
        """The result itself. Raises `UsageError` if there is none, and `InputError` if it was altered."""
        if RESULT not in self.files:
            raise UsageError(
                "TB-SERVE-002",
                "This entry is no result, so it cannot be compared with another one.",
                "A sweep or a comparison has its own page; an interrupted run has none yet.",
                "Choose two results.",
            )
        if RESULT not in self.readable:
            raise InputError(
                "TB-SERVE-003",
                "A result that does not hold what verify checks is not compared.",
                "Neither its numbers nor its verdict can be relied on.",
                "Open its page: it says what does not hold.",
            )
        return store.parse(self.files[RESULT].decode("utf-8"))


def opened(folder: Path, entry: Entry) -> Opened:
    """An entry's files, read without following any link, and what holds of them."""
    inner = (*(p for p in Path(entry.path).parts if p != os.curdir), SHARE)
    present = plain_files.listed(folder.resolve(), inner=inner)
    known = [n for n in present if re.fullmatch(folders.KNOWN[SHARE], n) or n in COMPARED]
    read = {name: plain_files.content(folder.resolve(), name, inner) for name in known}
    files = {name: content for name, content in read.items() if content is not None}
    if RESULT in files:
        checks = verification.of_files({n: c for n, c in files.items() if n not in COMPARED})
    elif COMPARED[0] in files:
        checks = verification.of_comparison(files)
    else:
        checks = []
    return Opened(entry, files, checks, len(present) - len(files))


def same_inputs(one: Result, other: Result) -> list[tuple[str, Input | None, Input | None, str]]:
    """The inputs of two results by role, and whether both judged the same one, as far as digests tell."""
    sides = [{i.role: i for i in r.proof.inputs} if r.proof else {} for r in (one, other)]
    keys = [r.proof.key if r.proof else None for r in (one, other)]
    rows: list[tuple[str, Input | None, Input | None, str]] = []
    for role in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = (side.get(role) for side in sides)
        if a is None or b is None:
            told = "in one of them only"
        elif a.keyed != b.keyed or (a.keyed and keys[0] != keys[1]):
            told = "cannot be told: the digests have different keys"
        else:
            told = "the same" if a.digest == b.digest else "another one"
        rows.append((role, a, b, told))
    return rows


def _check_of(file: str) -> str:
    """The name of the check that is about one file alone."""
    return "report" if file == PAGE else file
