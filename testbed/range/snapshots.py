"""The whole instance of an exercise as one file, and starting over: with everything new, or from such a file."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from zipfile import BadZipFile

from testbed.core.errors import TestbedError, UsageError
from testbed.range import instance as instances
from testbed.range import processes
from testbed.range.events import read as read_log
from testbed.range.instance import Instance
from testbed.range.play import up
from testbed.range.state import Progress, State

SNAPSHOTS = "snapshots"


def snapshot(instance: Instance) -> Path:
    """The whole instance as one file, which its owner alone can read. The scorer may run meanwhile."""
    folder = instance.folder / SNAPSHOTS
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{len(list(folder.glob('*.tar'))) + 1:03d}.tar"
    target.touch(mode=0o600)
    skipped = {SNAPSHOTS, *processes.DOORS}
    with tarfile.open(target, "w") as archive:
        for path in sorted(instance.folder.iterdir()):
            if path.name not in skipped:
                archive.add(path, path.name)
    return target


def reset(instance: Instance, progress: Progress, to: Path | None = None) -> Instance:
    """Everything new: people, flags, secrets, model and log; or everything as it was in a snapshot."""
    name, teams, folder = instance.name, instance.teams, instance.folder
    if to is not None and not to.is_file():
        raise UsageError(
            "TB-RANGE-023", "There is no such snapshot.", f"{to.name} was not found.", "Name a file of snapshots/."
        )
    coming = folder.with_name(f".{name}.from-snapshot")
    if to is not None:
        _unpacked(to, coming)
    ran = processes.stop(instance)
    kept = folder.with_name(f".{name}.before-reset")
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    try:
        if to is None:
            made = up(str(kept / "white" / instances.SOURCE), name, teams, progress)
        else:
            coming.rename(folder)
            made = instances.find(name)
            processes.start(made)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        kept.rename(folder)
        shutil.rmtree(coming, ignore_errors=True)
        if ran:
            processes.start(instance)
        raise
    if (kept / SNAPSHOTS).is_dir():
        (kept / SNAPSHOTS).rename(made.folder / SNAPSHOTS)
    shutil.rmtree(kept)
    return made


def _unpacked(archive: Path, folder: Path) -> None:
    """The snapshot in a new folder. Raises `UsageError` for a file that is none, or not whole; then no folder stays."""
    from testbed.range.scorer import log_key, truths_of  # what judges is heavy to load

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        with tarfile.open(archive) as parts:
            parts.extractall(folder, filter="data")
        State.of(found := instances.find_at(folder))
        read_log(found.scorer, log_key(found.scorer))
        truths_of(found.scorer, list(range(1, found.teams + 1)))
    except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, TestbedError):
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(
            "TB-RANGE-040",
            f"{archive.name} is no whole snapshot of an exercise.",
            "It cannot be unpacked, or a part of it is missing or was changed. Nothing was stopped or changed.",
            "Name a file of snapshots/ that testbed range snapshot wrote.",
        ) from None
