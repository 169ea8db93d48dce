"""What a sweep costs beside its cells, and how fast a large one is listed and compared.

1. Overhead: 55 cells that only sleep, for 10 s each, on two processes, against the seconds of their sleep. Bound 5 %,
   with the start and the comparison at the end. Beside it: what a cell costs once the processes run. Other processes on
   the machine make the start longer.
2. A folder of 10,000 finished cells (2,000 settings, five replicates): listed and compared in 10 s and 1 GB.

Usage: python benchmarks/sweep.py [overhead|large]
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "harness" / "sweep" / "tiny.py"
SECONDS, CELLS, WORKERS = 10.0, 55, 2
SETTINGS, REPLICATES = 2_000, 5


def overhead(folder: Path) -> None:
    """A sweep of sleeping cells, as the command runs it."""
    command = [sys.executable, "-m", "testbed", "sweep", "mine.py", "-s", f"pause={SECONDS:g}"]
    people = ",".join(str(300 + n) for n in range(CELLS))
    command += ["--grid", f"people={people}", "--workers", str(WORKERS), "--out", "out"]
    began = time.monotonic()
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    taken, bare = time.monotonic() - began, SECONDS * -(-CELLS // WORKERS)
    written = sorted(file.stat().st_mtime for file in (folder / "out" / "cells").glob("*/cell.json"))
    running = (written[-1] - written[0]) / (-(-CELLS // WORKERS) - 1)
    print(f"{CELLS} cells of {SECONDS:g} s on {WORKERS} processes: {taken:.1f} s, of which {bare:.0f} s are the cells'")
    print(f"overhead {100 * (taken / bare - 1):.1f} % (bound 5 %), once started {100 * (running / SECONDS - 1):.1f} %")


def large(folder: Path) -> None:
    """A folder of many cells, made of one result; then the command that compares them, in a process of its own."""
    from testbed.harness import scenario
    from testbed.harness.run import run
    from testbed.harness.sweep import folder as folders
    from testbed.harness.sweep.grid import grid
    from testbed.harness.sweep.inputs import Snapshot
    from testbed.report import store

    mine = str(folder / "mine.py")
    out = folder / "out"
    asked = grid(mine, {"people": range(300, 300 + SETTINGS)}, replicates=REPLICATES)
    results = [
        {f"share/{k}": v for k, v in store.shared(run(scenario.find(mine), {}, seed=s).result).items()}
        for s in range(REPLICATES)
    ]
    snapshot = Snapshot()
    with folders.locked(out):
        for cell in asked.cells():
            told = {"status": "done", "ran": {}, "seconds": 1.0}
            folders.put(out, snapshot.of(cell), results[cell.replicate], told)
        folders.put_places(out, snapshot.places)
    began = time.monotonic()
    command = [sys.executable, "-m", "testbed", "compare", "out", "--json", "--policy", "example-open-release"]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    taken = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = used.ru_maxrss / 1e6
    made = json.loads(done.stdout)
    page = (out / "share" / "comparison.html").stat().st_size
    print(f"{made['run']['runs']:,} cells of {len(made['settings']):,} settings compared: {taken:.1f} s (bound 10 s)")
    print(f"of these {used.ru_utime + used.ru_stime:.1f} s are this machine's work; other processes may slow it down")
    print(f"memory {memory:.2f} GB (bound 1 GB), page {page / 1e3:.0f} KB (bound 300 KB)")


def main(which: list[str]) -> None:
    for part in (overhead, large):
        if not which or part.__name__ in which:
            with tempfile.TemporaryDirectory() as place:
                shutil.copy(TINY, Path(place) / "mine.py")
                part(Path(place))


if __name__ == "__main__":
    main(sys.argv[1:])
