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

from testbed.cli import main


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


IDLE = [
    (["--model", "loud.joblib", "--budget", "5"], "TB-SUBJECT-035"),
    (["--model", "loud.joblib", "--epochs", "3"], "TB-SUBJECT-035"),
    (["--model", "loud.joblib", "--optimizer", "adam"], "TB-SUBJECT-035"),
    (["--model", "loud.joblib", "--outputs", "number"], "TB-SUBJECT-035"),
    (["--factory", "nowhere:make", "--budget", "5"], "TB-SUBJECT-035"),
    (["--api", "nowhere:ask", "--shadows", "8"], "TB-SUBJECT-035"),
    (["--predictions", "p.csv", "--forgotten", "f.csv"], "TB-SUBJECT-035"),
    (["--api", "nowhere:ask", "--weights", "w.pt"], "TB-SUBJECT-035"),
    (["--factory", "net.py:make", "--cache", "kept"], "TB-SUBJECT-053"),
    (["--factory", "net.py:make", "--shadows", "8"], "TB-SUBJECT-053"),
    (["--factory", "net.py:make", "--ray", "local"], "TB-SUBJECT-053"),
    (["--factory", "net.py:make", "--epochs", "2", "--optimizer", "adam", "--momentum", "0.9"], "TB-SUBJECT-065"),
    (["--api", "nowhere:ask", "--cache", "kept"], "TB-SUBJECT-035"),
    (["--api", "nowhere:ask", "--shadow-predictions", "s.csv"], "TB-SUBJECT-035"),
    (["--predictions", "p.csv", "--cache", "kept"], "TB-SUBJECT-035"),
    (["--predictions", "p.csv", "--budget", "9"], "TB-SUBJECT-035"),
    (["--predictions", "p.csv", "--shadow-predictions", "s.csv", "--shadows", "8"], "TB-SUBJECT-035"),
    (["--model", "loud.joblib", "--shadow-predictions", "s.csv"], "TB-SUBJECT-035"),
    (["--model", "loud.joblib", "--ray", "local"], "TB-SUBJECT-035"),
    (["--model", "loud.joblib", "--attack", "prediction_loss", "--shadows", "8"], "TB-SUBJECT-066"),
    (["--model", "loud.joblib", "--attack", "rmia", "--forgotten", "m.csv"], "TB-SUBJECT-066"),
    (["--model", "loud.joblib", "--attack", "rmia", "--secrets", "a"], "TB-SUBJECT-066"),
    (["--model", "loud.joblib", "--quick", "--secrets", "a"], "TB-SUBJECT-066"),
    (["--model", "scripted.pt", "--trusted", "--epochs", "3"], "TB-SUBJECT-035"),
    (["--model", "scripted.pt", "--trusted", "--cache", "kept"], "TB-SUBJECT-035"),
    (["--model", "fixed.ubj", "--shadows", "8"], "TB-SUBJECT-067"),
    (["--model", "loud.joblib", "--attack", "rmai"], "TB-ATTACK-001"),
    (["--model", "loud.joblib", "--shadows", "5"], "TB-SUBJECT-023"),
    (["--factory", "net.py:make", "--optimizer", "lbfgs"], "Invalid value"),
]


@pytest.mark.parametrize(("options", "told"), IDLE)
def test_an_option_that_does_not_act_is_refused(
    options: list[str], told: str, files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    if "scripted.pt" in options:
        torch = pytest.importorskip("torch")
        torch.jit.script(torch.nn.Linear(3, 2)).save("scripted.pt")
    if "fixed.ubj" in options:
        members = pd.read_csv("m.csv")
        made = pytest.importorskip("xgboost").XGBClassifier(n_estimators=2, max_depth=2)
        made.fit(members[["a", "b", "c"]], members.label).get_booster().save_model("fixed.ubj")
    (files / "net.py").write_text("from torch import nn\nnet = nn.Linear(3, 2)\ndef make():\n    return net\n")
    tables = ["--members", "m.csv", "--controls", "c.csv", "--out", "out2"]
    monkeypatch.setattr("sys.argv", ["testbed", "audit-model", *tables, *options])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert told in capfd.readouterr().err


def test_a_quick_audit_decides_and_says_what_it_left_out(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    options = ["--model", "loud.joblib", "--members", "m.csv", "--controls", "c.csv", "--quick", "--json", "--out", "q"]
    monkeypatch.setattr("sys.argv", ["testbed", "audit-model", *options])
    with pytest.raises(SystemExit):
        main()
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert "can run any code" in err
    assert result["run"]["params"]["shadows"] == 4
    assert any("--quick" in line for line in result["threat"]["not_tested"])
    assert [u["name"] for u in result["utility"]] == ["accuracy, members", "accuracy, controls"]
    assert {f["risk"] for f in result["findings"]} == {"membership"}


def test_a_named_attack_runs_in_a_quick_audit_also_if_it_may_not_decide(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    tables = ["--model", "loud.joblib", "--members", "m.csv", "--controls", "c.csv", "--quick", "--json", "--out", "q2"]
    for attack in ("prediction_loss", "class_inversion"):
        monkeypatch.setattr("sys.argv", ["testbed", "audit-model", *tables, "--attack", attack])
        with pytest.raises(SystemExit):
            main()
        result = json.loads(capfd.readouterr().out)
        assert {f["attack"]["name"] for f in result["findings"]} == {attack}
        assert not any("--quick" in line for line in result["threat"]["not_tested"])
