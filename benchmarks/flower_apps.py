"""Flower's own example apps, recorded and replayed: does the recorder change them, and what does each reader find?

PEERS=folder python benchmarks/flower_apps.py            all of them, from a checkout of Flower in `folder/flower`
PEERS=folder python benchmarks/flower_apps.py opacus     one
Only what the apps download is replaced, by the packages in `benchmarks/stand_ins`, which read local records. Each app
runs twice with one seed, plain and recorded. The digests are of all that clients got and answered, so that they are
equal only if the models of all rounds are. Each transcript is then replayed with the records of its clients, as
somebody would who owns the app, and the result is a verdict or the reason why there is none. An app whose checkout is
absent is `not run`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

CLIENTS = 3
HELD_OUT = 3
"""Parts of the data on which nobody trains: the controls. One more is what an attacker may hold."""


@dataclass(frozen=True)
class App:
    """One example: its package, and how its transcript is read.

    `reads` are attacks with the further words of their `testbed replay`; `loader` is the function of `task` that gives
    a hospital's records, where the attack is judged by them.
    """

    package: str
    protocol: dict[str, Any]
    reads: tuple[tuple[str, tuple[str, ...]], ...]
    loader: str = ""
    records: int = 60
    config: dict[str, Any] = field(default_factory=dict[str, Any])


def membership(model: str, *more: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The attacks that ask who was trained on."""
    return tuple((name, ("--model", model, *more)) for name in ("loss_threshold", "update_product"))


SGD32: dict[str, Any] = {"kind": "fedavg", "batch_size": 32, "local_epochs": 1}
PICTURE = ("--shape", "3,32,32", "--range=-1,1")
ALL = {"fraction-train": 1.0, "fraction-evaluate": 1.0, "num-server-rounds": 2}
APPS = {
    "quickstart-pytorch": App(
        "pytorchexample",
        {**SGD32, "learning_rate": 0.1, "momentum": 0.9},
        membership("pytorchexample.task:Net", *PICTURE),
        "pictures",
        config=ALL,
    ),
    "opacus": App(
        "opacus_fl",
        {**SGD32, "learning_rate": 0.001, "momentum": 0.9},
        membership("opacus_fl.task:Net", *PICTURE),
        "pictures",
        config=ALL,
    ),
    "fl-tabular": App(
        "fltabular",
        {**SGD32, "learning_rate": 0.001, "optimizer": "adam"},
        membership("fltabular.task:IncomeClassifier", "--loss", "bce", "--shape", "14"),
        "tensors",
        config=ALL,
    ),
    "quickstart-sklearn": App(
        "sklearnexample",
        {"kind": "fedavg", "local_epochs": 1},
        membership(f"{HERE / 'flower_apps.py'}:iris", "--shape", "4"),
        "arrays",
        records=20,
        config=ALL,
    ),
    "quickstart-xgboost": App(
        "quickstart_xgboost",
        {"kind": "unknown"},
        (("tree_leaves", ()), ("tree_thresholds", ())),
        "trees",
        config={**ALL, "params.nthread": 1},
    ),
    "federated-vae": App(
        "fedvaeexample",
        {**SGD32, "learning_rate": 0.001, "momentum": 0.9},
        (("loss_threshold", ("--model", "fedvaeexample.task:Net", *PICTURE)),),
        "pictures",
        config=ALL,
    ),
    "quickstart-numpy": App("quickstart_numpy", {"kind": "fedavg"}, (("analytic_linear", ()),), config=ALL),
    "quickstart-pandas": App("pandas_example", {"kind": "unknown"}, (("analytic_linear", ()),), config=ALL),
}


def iris() -> torch.nn.Module:
    """The network that scikit-learn's logistic regression is, for the arrays that the example sends."""
    return torch.nn.Linear(4, 3)


def settings(folder: Path, changed: dict[str, Any]) -> dict[str, Any]:
    """The app's own settings, flat as Flower hands them over, with some of them changed."""
    written = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    flat: dict[str, Any] = {}

    def walk(values: dict[str, Any], before: str = "") -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                walk(value, f"{before}{name}.")
            else:
                flat[before + name] = value

    walk(written["tool"]["flwr"]["app"]["config"])
    return flat | {name: value for name, value in changed.items() if name in flat}


def run(name: str, folder: Path, path: Path | None) -> str:
    """Runs an app in this process, recorded or plain: the digest of all that its clients got and answered."""
    from flwr.app import Context, Message
    from flwr.serverapp import Grid
    from flwr.serverapp import strategy as strategies

    import testbed
    from testbed.core import Protocol
    from testbed.subjects.federation import compat

    app = APPS[name]
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  the apps draw from it
    torch.manual_seed(0)
    torch.set_num_threads(1)
    server = importlib.import_module(f"{app.package}.server_app")
    client = importlib.import_module(f"{app.package}.client_app")
    config = settings(folder, app.config)
    seen = hashlib.sha256()

    def note(message: Message) -> None:
        assert message.has_content(), message.error
        for key in sorted(message.content):
            record: Any = message.content[key]
            for part in sorted(record):
                value = record[part]
                seen.update(f"{key} {part} ".encode())
                seen.update(value.data if hasattr(value, "data") else repr(value).encode())

    def answered(message: Message, context: Context) -> Message:
        context.run_config = config
        note(message)
        reply = client.app(message, context)
        note(reply)
        return reply

    def recorded(made: Any) -> Any:
        return testbed.record(made, protocol=Protocol(**app.protocol), path=path)

    def serve(grid: Grid, context: Context) -> None:
        context.run_config = config
        if path is None:
            server.app(grid, context)
            return
        kinds = [k for k, v in vars(server).items() if isinstance(v, type) and issubclass(v, strategies.Strategy)]
        for kind in kinds:
            own = getattr(server, kind)
            setattr(server, kind, lambda *a, _own=own, **k: recorded(_own(*a, **k)))
        if kinds:
            server.app(grid, context)
        else:
            with recorded(strategies.FedAvg()).watching(grid):
                server.app(grid, context)

    either: Any = (serve, answered)
    compat.run_in_process(*either, CLIENTS)
    for file in sorted(Path.cwd().glob("*")):
        if file.is_file() and (path is None or not file.samefile(path)):
            seen.update(file.read_bytes())
    return seen.hexdigest()


def records(name: str, part: int) -> tuple[Any, Any]:
    """What a hospital of the app trains on, as the app's own `load_data` gives it: x, and y where there is one."""
    app = APPS[name]
    task = importlib.import_module(f"{app.package}.task")
    if app.loader == "trees":
        matrix, *_ = task.load_data(part, CLIENTS)
        return matrix.get_data().toarray(), matrix.get_label()
    if app.loader == "arrays":
        x, y, *_ = task.load_data(part, CLIENTS)
        return x.astype(np.float32), y
    batch = (32,) if app.package == "pytorchexample" else ()
    loader, _ = task.load_data(part, CLIENTS, *batch)
    if app.loader == "tensors":
        x, y = loader.dataset.tensors
        return x.numpy(), y.numpy()
    one = [loader.dataset[i] for i in range(len(loader.dataset))]
    return np.stack([r["img"].numpy() for r in one]), np.array([r["label"] for r in one])


def save(name: str, to: Path) -> None:
    """Writes the records of each part to files; those of random pictures are as they came this time."""
    torch.manual_seed(0)
    parts = [records(name, part) for part in range(CLIENTS + HELD_OUT + 1)]
    held = [np.concatenate(values) for values in zip(*parts[CLIENTS:-1], strict=True)]
    files = {**{f"hospital{i}": part for i, part in enumerate(parts[:CLIENTS])}, "controls": held, "others": parts[-1]}
    for file, (x, y) in files.items():
        np.savez(to / f"{file}.npz", x=x, y=y)


def child(name: str, folder: Path, at: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """This file or `testbed`, in a process of its own that finds the stand-ins before anything that is installed."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE / "stand_ins"), str(folder), str(HERE.parent)]),
        "PARTS": str(CLIENTS + HELD_OUT + 1),
        "RECORDS": str(APPS[name].records),
        "FLWR_TELEMETRY_ENABLED": "0",
        "OMP_WAIT_POLICY": "passive",
    }
    at.mkdir(exist_ok=True)
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False)


def finding(of: dict[str, Any]) -> str:
    """A finding in a line: what it measured, what chance gives, its verdict, or why there is no figure."""
    if "unmeasured" in of["measure"]:
        return f"{of['rule']} {of['verdict']}, no figure: {of['measure']['unmeasured']}, needs {of['measure']['needs']}"
    chance = of["control"].get("value", of["control"].get("unmeasured"))
    flags = ", ".join(of["validity"]["flags"])
    return f"{of['rule']} {of['verdict']}, {of['measure']['value']} against {chance}" + (f" ({flags})" if flags else "")


def replayed(name: str, folder: Path, work: Path, attack: str, words: Sequence[str]) -> str:
    """What a replay says: each finding of it with its verdict, or the error."""
    ask = ["-m", "testbed", "replay", str(work / "t.transcript"), "--attack", attack, *words, "--json"]
    ask += ["--policy", "example-open-release"]
    if APPS[name].loader:
        for client in range(CLIENTS):
            ask += ["--records", f"{client}={work / f'hospital{client}.npz'}"]
        ask += ["--controls", str(work / "controls.npz"), "--auxiliary", str(work / "others.npz")]
    done = child(name, folder, work / "replay", *ask, "--out", str(work / attack))
    if not done.stdout.startswith("{"):
        return f"exit {done.returncode}: {' '.join(done.stderr.split())[:300]}"
    result = json.loads(done.stdout)
    said = [finding(f) for f in result["findings"] if f["primary"]] or [finding(f) for f in result["findings"]]
    return f"exit {done.returncode}: {'; '.join(said)}"


def measure(name: str, folder: Path) -> bool:
    """Prints what became of one app; True if the recorder changed nothing and every replay ended in words."""
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        me, path = str(HERE / "flower_apps.py"), str(work / "t.transcript")
        plain = child(name, folder, work / "plain", me, "--one", name, str(folder))
        noted = child(name, folder, work / "noted", me, "--one", name, str(folder), path)
        if plain.returncode or noted.returncode:
            print(f"{name}: ended by itself: {(plain.stderr or noted.stderr)[-600:]}")
            return False
        same = plain.stdout.split()[-1] == noted.stdout.split()[-1]
        print(f"{name}: {'every message and file equal' if same else 'CHANGED'} with and without the recorder")
        if APPS[name].loader:
            saved = child(name, folder, work / "records", me, "--save", name, str(work))
            assert saved.returncode == 0, saved.stderr
        good = same
        for attack, words in APPS[name].reads:
            said = replayed(name, folder, work, attack, words)
            good &= not said.startswith("exit 6")
            print(f"    {attack}: {said}")
        return good


def main() -> None:
    """Reads the command line."""
    options = argparse.ArgumentParser()
    options.add_argument("apps", nargs="*", default=list(APPS), help="names of examples")
    options.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options.add_argument("--save", nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        name, folder, *path = chosen.one
        print(run(name, Path(folder), Path(path[0]) if path else None))
        return
    if chosen.save:
        save(chosen.save[0], Path(chosen.save[1]))
        return
    from testbed.findings.assemble import environment

    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}; seed 0")
    home = Path(os.environ.get("PEERS", "absent")) / "flower" / "examples"
    good = True
    for name in chosen.apps:
        if not (home / name / "pyproject.toml").is_file():
            print(f"{name}: not run, because PEERS names no folder with a checkout of Flower")
            continue
        good &= measure(name, home / name)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
