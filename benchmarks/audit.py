"""CPU seconds of whole audits of a forest: `python benchmarks/audit.py`.

The table has the shape of Location-30: 446 places visited or not, 30 kinds of people. 1,500 people were used, 1,500 are
controls, 2,010 are the attacker's own. The command `testbed audit-model` runs as a process of its own, from reading the
files to the report. It runs twice with one cache folder: the second run finds the evidence of all attacks there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import peers
from sklearn.ensemble import RandomForestClassifier

from testbed.core.randomness import keyed_rng
from testbed.findings.assemble import environment

SIZES = {"members": 1500, "controls": 1500, "reference": 2010}


def places(count: int, inputs: int = 446, kinds: int = 30) -> pd.DataFrame:
    """People who each visit most places of their kind, and some others."""
    rng = keyed_rng(0, "places")
    usual = rng.random((kinds, inputs)) < 0.2
    kind = rng.integers(0, kinds, count)
    x = np.where(rng.random((count, inputs)) < 0.5, rng.random((count, inputs)) < 0.2, usual[kind])
    return pd.DataFrame(x.astype(int), columns=[f"place_{i}" for i in range(inputs)]).assign(label=kind)


def prepared(folder: Path) -> list[str]:
    """Writes the tables and the model, and returns the command that audits it."""
    people = places(sum(SIZES.values()))
    start = 0
    for name, size in SIZES.items():
        people.iloc[start : start + size].to_csv(folder / f"{name}.csv", index=False)
        start += size
    used = people.iloc[: SIZES["members"]]
    forest = RandomForestClassifier(100, random_state=0).fit(used.drop(columns="label"), used["label"])
    joblib.dump(forest, folder / "forest.joblib")
    command = [sys.executable, "-m", "testbed", "audit-model", "--model", str(folder / "forest.joblib"), "--trusted"]
    for name in SIZES:
        command += [f"--{name}", str(folder / f"{name}.csv")]
    return [*command, "--data-class", "synthetic", "--shadows", "16"]


def main() -> None:
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed 0")
    print(f"a forest of 100 trees, {SIZES} people x 446 inputs, 30 classes, 16 shadow models")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        command = prepared(folder)
        spent: list[float] = []
        for run in ("first run", "second run"):
            whole = [*command, "--cache", str(folder / "cache"), "--out", str(folder / run.replace(" ", "_"))]
            done, cpu, wall = peers.timed(lambda whole=whole: subprocess.run(whole, capture_output=True, check=False))
            print(f"  {run:12} {cpu:6.1f} CPU s, {wall:6.1f} s wall, exit {done.returncode}", flush=True)
            spent.append(cpu)
        _, started, _ = peers.timed(
            lambda: subprocess.run([*command[:3], "list", "attacks"], capture_output=True, check=True)
        )
        print(f"  second / first {spent[1] / spent[0]:.1%}; {started:.1f} CPU s are `testbed list`, which does nothing")


if __name__ == "__main__":
    main()
