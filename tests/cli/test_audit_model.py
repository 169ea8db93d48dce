"""`testbed audit-model` as a process: what stands on standard output, and which options are refused."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Members, controls, and a network that prints while it is trained."""
    folder = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(0)
    for name in ("m", "c"):
        frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
        frame.assign(label=rng.integers(0, 2, 120)).to_csv(folder / f"{name}.csv", index=False)
    members = pd.read_csv(folder / "m.csv")
    made = MLPClassifier((4,), max_iter=5, verbose=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        made.fit(members[["a", "b", "c"]], members.label)
    joblib.dump(made, folder / "loud.joblib")
    return folder


def run(files: Path, *more: str) -> subprocess.CompletedProcess[str]:
    tables = ["--members", str(files / "m.csv"), "--controls", str(files / "c.csv")]
    command = [sys.executable, "-m", "testbed", "audit-model", *tables, *more]
    return subprocess.run(command, capture_output=True, text=True, cwd=files, check=False, timeout=300)


def test_json_stays_json_whatever_a_model_prints(files: Path) -> None:
    out = ["--json", "--shadows", "4", "--attack", "rmia", "--out", str(files / "out")]
    done = run(files, "--model", str(files / "loud.joblib"), *out)
    assert done.returncode in (0, 1, 3), done.stderr
    assert json.loads(done.stdout)["subject"]["type"] == "model"
    assert "loss" in done.stderr
