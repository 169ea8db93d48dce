# pyright: strict
"""Which finished cells still count: those of the code and the data as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.core.errors import UsageError
from testbed.harness.sweep import folder as folders
from testbed.harness.sweep.folder import Kept
from testbed.harness.sweep.grid import Cell
from testbed.harness.sweep.inputs import Inputs, Snapshot, digest


@dataclass(frozen=True, slots=True)
class Stale:
    """A finished cell that does not count: its code or its data have changed since. `changed` names what has."""

    cell: Kept
    why: Literal["other_code", "other_data"]
    changed: tuple[str, ...]


def cell_of(inputs: Inputs) -> Cell:
    """The cell that has these inputs."""
    return Cell(inputs.scenario, inputs.params, inputs.seed, inputs.replicate, inputs.engine)


def standing(folder: Path, accept_stale: bool = False) -> tuple[list[Kept], list[Stale], Snapshot]:
    """The cells of a sweep's folder that count, and those that do not; one that was run again since is neither.

    With `accept_stale` other code counts too, and a file that is gone is taken to be unchanged. Other data never count.
    Raises `UsageError` if the user's files are gone, so that nobody can tell.
    """
    snapshot = Snapshot(folders.read_places(folder))
    kept = folders.cells(folder)
    current: dict[str, Kept] = {}
    exact: set[str] = set()
    stale: dict[str, list[Stale]] = {}
    for cell in sorted(kept, key=lambda k: (k.written, k.path.name)):
        asked = cell.inputs.asked
        try:
            now = snapshot.of(cell_of(cell.inputs))
        except UsageError:
            if not (accept_stale and _agreed(kept)):
                raise
            now = cell.inputs
        found = _stale(folder, cell, now, snapshot)
        if found is None:
            current[asked] = cell
            exact.add(asked)
        elif found.why == "other_code" and accept_stale:
            if asked not in exact:
                current[asked] = cell
        else:
            stale.setdefault(asked, []).append(found)
    left = [one for asked, of in stale.items() if asked not in current for one in of]
    return list(current.values()), left, snapshot


def _stale(folder: Path, cell: Kept, now: Inputs, snapshot: Snapshot) -> Stale | None:
    before = cell.inputs
    if dict(before.data) != dict(now.data):
        names = sorted(n for n in {*before.data, *now.data} if before.data.get(n) != now.data.get(n))
        return Stale(cell, "other_data", tuple(names))
    if before.code != now.code:
        old, new = folders.code(folder, before.code), snapshot.code(cell_of(before)).modules
        names = sorted(m for m in {*old, *new} if old.get(m) != new.get(m)) if old else ["modules that are not known"]
        return Stale(cell, "other_code", tuple(names))
    changed = snapshot.other(cell.ran)
    return Stale(cell, "other_code", tuple(changed)) if changed else None


def _agreed(kept: Sequence[Kept]) -> bool:
    """Do all cells say the same of each file that they name?"""
    return len({digest([name, told]) for k in kept for name, told in k.inputs.data.items()}) == len(
        {name for k in kept for name in k.inputs.data}
    )
