"""The commands whose findings are kept, and how a result is reduced to what must stay the same.

    python -m tests.golden.runs FOLDER [NAME ...]    run them and write FOLDER/NAME.json

Words, series and rule ids may change; numbers, flags and who decides may not. A rule's risk, attack and target name it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MEASURES = ("measure", "control", "baseline", "excess", "residual", "positive_control")
KEPT = ("value", "low", "high", "n", "metric", "unit", "fpr", "unmeasured")

SCENARIOS: dict[str, str] = {
    "curious_client": "rounds=3",
    "curious_server": "rounds=2 clients=2",
    "curious_server_membership": "members=200 controls=200 rounds=2 epochs=1 clients=2 hidden=16",
    "federated_audit": "clients=4 canaries=40 guesses=10 rounds=2",
    "federated_membership": "members=100 controls=100 rounds=2 epochs=1 clients=2 runs=2 hidden=16",
    "federated_synthesizer": "people=300 rounds=2 epochs=1 clients=2 hidden=16",
    "hospital_release": "generator=independent_marginals attacks=200",
    "hospital_tables": "clients=2 rounds=2 iterations=30 restarts=1 hidden=16",
    "known_generator": "generator=independent_marginals people=200 targets=60 shadows=4",
    "language_model": "clients=2 rounds=1 batch=1 width=64 length=8",
    "malicious_client": "clients=3 each=30 rounds=2 runs=2 steps=4 fakes=8",
    "malicious_server": "rounds=3 bins=64",
    "property_inference": "worlds=10 shadows=20 each=40 rounds=1 epochs=1",
    "realism_sweep": "batches=2 iterations=5 training_epochs=2",
    "secure_aggregation": "rounds=2 hidden=32",
    "side_by_side": "data=breast-cancer people=200 shadows=4",
    "synthesizer_audit": "runs=100 people=50 rows=100",
    "synthesizer_bakeoff": "generators=independent_marginals,planted people=600 attacks=200",
    "training_audit": "people=200 canaries=100 guesses=20 epochs=1",
}
"""Every scenario at its smallest."""
OTHERS: dict[str, tuple[str, str]] = {
    "curious_server-simulation": ("curious_server --engine simulation", "rounds=2 clients=2"),
    "curious_client-simulation": ("curious_client --engine simulation", "rounds=3"),
    "curious_server-pixels": ("curious_server", "attack=cosine_tv iterations=20 rounds=2 clients=2 batch=2"),
    "curious_server-noise": ("curious_server", "rounds=4 clients=2 defence=gaussian noise=0.05"),
    "malicious_server-fishing": ("malicious_server", "data=digits attack=trap_weights rounds=2"),
    "secure_aggregation-loki": ("secure_aggregation", "attack=loki rounds=1"),
}
TABLES = ("support2", "framingham", "planted")
MODELS = ("forest", "network", "answers", "number")
REPLAYS = ("analytic_linear", "deep_leakage")
NAMES = [
    *SCENARIOS,
    *OTHERS,
    *(f"evaluate-{t}" for t in TABLES),
    *(f"audit-{m}" for m in MODELS),
    *(f"replay-{r}" for r in REPLAYS),
]
NETWORK = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(30, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
"""


def testbed(*arguments: str, cwd: Path) -> Path:
    """Run one command in `cwd`; its folder. A verdict is no failure."""
    out = cwd / "out"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(cwd), str(HERE.parent.parent)])}
    command = [sys.executable, "-m", "testbed", *arguments, "--out", str(out)]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        raise RuntimeError(f"{' '.join(arguments)}: {done.returncode}\n{done.stderr[-2000:]}")
    return out


def findings(out: Path) -> list[dict[str, Any]]:
    """What must stay the same of each finding, sorted."""
    result = json.loads((out / "share" / "result.json").read_text())
    rows = [
        {
            "rule": f["rule"],
            "risk": f["risk"],
            "attack": f["attack"]["name"],
            "target": f.get("target"),
            "primary": f["primary"],
            "verdict": f["verdict"],
            "flags": f["validity"]["flags"],
            "requested": f["attack"]["requested"],
            "performed": f["attack"]["performed"],
            **{m: {k: f[m][k] for k in KEPT if f[m].get(k) is not None} for m in MEASURES if f.get(m)},
        }
        for f in result["findings"]
    ]
    return sorted(rows, key=lambda r: json.dumps([r["risk"], r["attack"], r["target"], r["rule"]]))


def golden(name: str, cwd: Path) -> list[dict[str, Any]]:
    """The findings of one run, made in the empty folder `cwd`."""
    if name in SCENARIOS or name in OTHERS:
        command, params = OTHERS.get(name, (name, SCENARIOS.get(name, "")))
        pairs = [part for pair in params.split() for part in ("-s", pair)]
        return findings(testbed("run", *command.split(), *pairs, "--seed", "1", cwd=cwd))
    kind, _, which = name.partition("-")
    return findings({"evaluate": _evaluated, "audit": _audited, "replay": _replayed}[kind](which, cwd))


def _evaluated(which: str, cwd: Path) -> Path:
    import numpy as np
    import pandas as pd

    from testbed.data import load_table

    frame = load_table("support2" if which == "planted" else which)
    order = np.random.default_rng(7).permutation(len(frame))[: 3 * (len(frame) // 3)]
    original, control, fresh = (frame.iloc[part].reset_index(drop=True) for part in np.split(order, 3))
    if which == "planted":
        fresh = pd.concat([fresh.iloc[:-100], original.iloc[:100]], ignore_index=True)
    for role, table in {"original": original, "control": control, "synthetic": fresh}.items():
        table.to_csv(cwd / f"{role}.csv", index=False)
    paths = [part for role in ("original", "synthetic", "control") for part in (f"--{role}", f"{role}.csv")]
    return testbed("evaluate", *paths, "--data-class", "public", "--attacks", "400", "--seed", "1", cwd=cwd)


def _audited(which: str, cwd: Path) -> Path:
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.datasets import load_breast_cancer, load_diabetes
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    bunch = load_diabetes(as_frame=True) if which == "number" else load_breast_cancer(as_frame=True)
    frame = bunch.frame.rename(columns={"target": "label"}).sample(frac=1, random_state=0)
    half = len(frame) // 2
    members, controls = frame.iloc[:half], frame.iloc[half : 2 * half]
    members.to_csv(cwd / "members.csv", index=False)
    controls.to_csv(cwd / "controls.csv", index=False)
    options = ["--members", "members.csv", "--controls", "controls.csv", "--shadows", "4"]
    inputs = members.drop(columns="label")
    if which == "network":
        import torch

        (cwd / "network_of_golden.py").write_text(NETWORK)
        made: dict[str, Any] = {}
        exec(NETWORK, made)
        torch.save(made["make"]().state_dict(), cwd / "weights.pt")
        options += ["--factory", "network_of_golden:make", "--weights", "weights.pt", "--epochs", "2"]
    else:
        kind = RandomForestRegressor if which == "number" else RandomForestClassifier
        model = kind(n_estimators=20, random_state=0).fit(inputs, members["label"])
        if which == "answers":
            told = model.predict_proba(frame.iloc[: 2 * half].drop(columns="label"))
            table = pd.DataFrame(told, columns=[f"p_{i}" for i in range(told.shape[1])])
            table.insert(0, "id", np.arange(len(table)))
            table.insert(1, "arm", np.repeat(["member", "control"], half))
            table.insert(2, "label", frame["label"].to_numpy()[: 2 * half])
            table.to_csv(cwd / "p.csv", index=False)
            options = ["--predictions", "p.csv"]
        else:
            joblib.dump(model, cwd / "model.joblib")
            options += ["--model", "model.joblib"]
    return testbed("audit-model", *options, "--data-class", "public", "--seed", "1", cwd=cwd)


def _replayed(which: str, cwd: Path) -> Path:
    told = testbed("run", "curious_server", "-s", "rounds=2", "-s", "clients=2", "--seed", "1", cwd=cwd)
    kept = told.rename(cwd / "recorded") / "evidence"
    pairs = ["-s", "iterations=20"] if which == "deep_leakage" else []
    transcript = next(kept.glob("*true.transcript"))
    truth = ["--truth", str(next(kept.glob("*truth.npz")))]
    return testbed("replay", str(transcript), "--attack", which, *truth, *pairs, "--seed", "1", cwd=cwd)


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        with tempfile.TemporaryDirectory() as cwd:
            try:
                rows = golden(name, Path(cwd))
            except RuntimeError as error:
                print(name, error, file=sys.stderr)
                continue
        (folder / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
        print(name, len(rows), "findings")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
