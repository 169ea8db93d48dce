"""Reconstruction beside breaching, on the same updates: PSNR, recovery and CPU seconds of both.

python benchmarks/inversion.py [matching exact imprint restarts]
PEERS=DIR holds breaching/ (its checkout) with an environment of its own in breaching/.venv; without it, `not run`.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import one_thread

from testbed import judge, models
from testbed.attacks.inversion import cosine_tv
from testbed.attacks.inversion.imprint import BIAS, CONNECT, WEIGHT, act
from testbed.attacks.registry import find
from testbed.core import Batch, Cohort, Exchange, ModelSpec, Protocol, Threat, Transcript
from testbed.core.randomness import keyed_rng
from testbed.data import load_images
from testbed.findings import statistics
from testbed.findings.assemble import environment
from testbed.judge import image_quality

KNOWS = Threat("server", knows=frozenset({"architecture", "batch_size", "labels"}))
MALICIOUS = Threat("server", malicious=True, knows=frozenset({"architecture", "auxiliary"}))
EXACT_DB = 60.0
SHAPE = (3, 32, 32)
PRESET = 24_000
"""The iterations of breaching's preset invertinggradients."""


@dataclass(frozen=True, slots=True)
class Update:
    """One client's FedSGD answer, and the records behind it."""

    spec: ModelSpec
    people: Cohort
    sent: dict[str, np.ndarray]
    returned: dict[str, np.ndarray]

    def view(self) -> Transcript:
        exchange = Exchange(1, 0, self.sent, self.returned)
        return Transcript((exchange,), self.spec, Protocol("fedsgd", len(self.people), rounds=1, clients=1))

    def question(self, told: bool) -> Batch:
        """`told`: the batch size and the classes, as breaching is given them by default."""
        known = ((len(self.people),), (np.sort(self.people.y),)) if told else (None, None)
        return Batch(((1, 0),), SHAPE, models.input_of(self.spec)[1], *known)


def crops(n: int, seed: int) -> Cohort:
    images = load_images("crops")
    rows = keyed_rng(seed, "people").permutation(len(images.x))[:n]
    order = rows[np.argsort(images.y[rows], kind="stable")]
    return Cohort(images.x[order], images.y[order], order.astype(str))


def update(spec: ModelSpec, people: Cohort, seed: int, planted: dict[str, np.ndarray] | None = None) -> Update:
    model = models.build(spec, seed)
    sent = {**models.get_parameters(model), **(planted or {})}
    tensors = {k: v.requires_grad_() for k, v in models.to_tensors(sent, model).items()}
    loss = models.loss_of(model, tensors, torch.tensor(people.x), torch.tensor(people.y))
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    return Update(spec, people, sent, {k: g.numpy() for k, g in zip(tensors, gradients, strict=True)})


def ours(name: str, one: Update, threat: Threat, told: bool, **params: Any) -> tuple[np.ndarray, float]:
    start = time.process_time()
    claim = find(name).run(one.view(), one.question(told), None, 0, threat, params)
    return claim.batches[1, 0], time.process_time() - start


def peers(updates: list[Update], attack: str, iterations: int = 0, tv: float = 0.0) -> list[tuple[np.ndarray, float]]:
    """What breaching makes of the same updates; nothing where it is not there."""
    home = Path(os.environ.get("PEERS", "")) / "breaching"
    python = home / ".venv" / "bin" / "python"
    if not os.environ.get("PEERS") or not python.is_file():
        return []
    model = models.build(updates[0].spec, 0)
    job = {
        "attack": attack,
        # Of an imprinted model the peer asks nothing but its parameters.
        "model": model if attack != "imprint" else torch.nn.ParameterList([p.detach() for p in model.parameters()]),
        "classes": models.input_of(updates[0].spec)[1],
        "shape": SHAPE,
        "iterations": iterations,
        "tv": tv,
        "updates": [
            {
                "sent": [torch.tensor(v) for v in u.sent.values()],
                "returned": [torch.tensor(v) for v in u.returned.values()],
                "y": torch.tensor(u.people.y),
            }
            for u in updates
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        torch.save(job, Path(folder) / "job.pt")
        script = Path(__file__).with_name("breaching_side.py")
        paths = os.pathsep.join([str(home), str(Path(__file__).parent.parent)])
        done = subprocess.run(
            [str(python), str(script), folder],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(f"breaching stopped: {done.stderr.strip().splitlines()[-1]}")
            return []
        return [(d["records"].numpy(), d["seconds"]) for d in torch.load(Path(folder) / "done.pt", weights_only=False)]


def quality(records: np.ndarray, people: Cohort) -> tuple[float, float]:
    """Mean PSNR in dB of matched records, and the share that is exact; a record that nothing matches has 0 dB."""
    values = [image_quality.psnr(g, x) for x, g in judge.pairs(np.clip(records, 0, 1), people)]
    return sum(values) / len(people), sum(v > EXACT_DB for v in values) / len(people)


def interval(values: list[float]) -> str:
    found = statistics.t_interval(np.array(values))
    return f"{found.value:6.2f} ({found.low:.2f} to {found.high:.2f})"


def matching() -> None:
    """Mean PSNR at equal iterations and equal total variation, paired over batches."""
    iterations, tv = 300, 0.02
    classes = int(load_images("crops").y.max()) + 1
    spec = ModelSpec("cnn", {"shape": list(SHAPE), "classes": classes, "channels": [16, 32, 32]})
    for size, runs in ((1, 20), (8, 20)):
        updates = [update(spec, crops(size, s), s) for s in range(runs)]
        mine = [ours("cosine_tv", u, KNOWS, True, iterations=iterations, tv=tv) for u in updates]
        theirs = peers(updates, "optimisation", iterations, tv)
        got = [quality(r, u.people)[0] for (r, _), u in zip(mine, updates, strict=True)]
        print(f"cosine + TV, B={size}, {iterations} iterations, {runs} batches: {interval(got)} dB", end="")
        print(f", median {np.median(got):.1f}, worst {min(got):.1f}, {np.mean([s for _, s in mine]):.2f} CPU s")
        if theirs:
            other = [quality(r, u.people)[0] for (r, _), u in zip(theirs, updates, strict=True)]
            gain = [a - b for a, b in zip(got, other, strict=True)]
            print(f"  breaching: {interval(other)} dB, {np.mean([s for _, s in theirs]):.2f} CPU s; ", end="")
            print(f"ours more, paired: {interval(gain)} dB", flush=True)
        else:
            print("  breaching: not run", flush=True)


def exact() -> None:
    """Exact unmixing, and breaching's optimiser for as long as its preset says, on an update of a ReLU network.

    Time to the same recovery would be longer: the optimiser does not reach an exact record.
    """
    classes = int(load_images("crops").y.max()) + 1
    spec = ModelSpec("mlp", {"shape": list(SHAPE), "classes": classes, "hidden": [200, 200]})
    for size in (1, 2, 4, 8):
        updates = [update(spec, crops(size, s), s) for s in range(3)]
        mine = [ours("spear", u, KNOWS, True) for u in updates]
        seconds = float(np.mean([s for _, s in mine]))
        share = np.mean([quality(r, u.people)[1] for (r, _), u in zip(mine, updates, strict=True)])
        print(f"spear, B={size}, 3072-200-200, 3 updates: {share:.2f} exact in {seconds:.2f} CPU s", end="")
        if theirs := peers(updates[:1], "optimisation", PRESET, 0.02):
            (records, spent) = theirs[0]
            decibels, share = quality(records, updates[0].people)
            print(f"; breaching, the first, {PRESET} iterations: {decibels:.1f} dB, {share:.2f} exact, ", end="")
            print(f"{spent:.1f} CPU s ({spent / mine[0][1]:.0f}x of ours on it)", flush=True)
        else:
            print("; breaching: not run", flush=True)


def imprint() -> None:
    """The same imprinted updates, read by both: ours is told no batch size."""
    classes = int(load_images("crops").y.max()) + 1
    inner = {"factory": "mlp", "arguments": {"shape": list(SHAPE), "classes": classes, "hidden": [32]}}
    for size, bins in ((8, 256), (64, 256), (64, 1024), (256, 1024)):
        updates: list[Update] = []
        for seed in range(10):
            everybody = crops(size + 600, seed)
            order = keyed_rng(seed, "groups").permutation(len(everybody))
            people, auxiliary = everybody.take(order[:size]), everybody.take(order[size:])
            base = ModelSpec("mlp", inner["arguments"])
            made = act(Batch((), SHAPE, classes), auxiliary, keyed_rng(seed, "act"), base, bins=bins)
            assert made.craft is not None
            crafted = made.craft(1, 0, {})
            planted = {k: np.asarray(crafted[k]) for k in (WEIGHT, BIAS, CONNECT)}
            updates.append(update(ModelSpec("imprinted", {"bins": bins, "inner": inner}), people, seed, planted))
        mine = [read(u) for u in updates]
        theirs = peers(updates, "imprint")
        got = [quality(r, u.people)[1] for (r, _), u in zip(mine, updates, strict=True)]
        seconds = float(np.mean([s for _, s in mine]))
        print(f"imprint, B={size}, {bins} bins, 10 runs: {interval(got)} exact in {1e3 * seconds:.1f} CPU ms", end="")
        if theirs:
            other = [quality(r, u.people)[1] for (r, _), u in zip(theirs, updates, strict=True)]
            worse = sum(a < b for a, b in zip(got, other, strict=True))
            spent = float(np.mean([s for _, s in theirs]))
            print(f"; breaching {interval(other)} in {1e3 * spent:.1f} ms ({spent / seconds:.1f}x); ", end="")
            print(f"ours fewer in {worse} runs", flush=True)
        else:
            print("; breaching: not run", flush=True)


def read(one: Update) -> tuple[np.ndarray, float]:
    from dataclasses import replace

    view = replace(one.view(), act="imprint")
    start = time.process_time()
    claim = find("imprint").run(view, one.question(False), None, 0, MALICIOUS)
    return claim.batches[1, 0], time.process_time() - start


def restarts() -> None:
    """CPU ms an iteration and restart: eight restarts in turn, side by side, and breaching's one."""
    classes = int(load_images("crops").y.max()) + 1
    nets = {
        "lenet": ModelSpec("lenet", {"shape": list(SHAPE), "classes": classes}),
        "cnn": ModelSpec("cnn", {"shape": list(SHAPE), "classes": classes, "channels": [16, 32, 32]}),
        "resnet20": ModelSpec("resnet20", {"shape": list(SHAPE), "classes": classes, "norm": "group"}),
    }
    for name, spec in nets.items():
        for size in (1, 4, 8):
            one = update(spec, crops(size, 0), 0)
            steps = 10 if name == "resnet20" else 60
            spent: list[float] = []
            for most in (0, math.inf):
                chosen, cosine_tv.SIDE_BY_SIDE = cosine_tv.SIDE_BY_SIDE, most
                for count in (2, steps):
                    _, seconds = ours("cosine_tv", one, KNOWS, True, iterations=count, restarts=8)
                cosine_tv.SIDE_BY_SIDE = chosen
                spent.append(1e3 * seconds / steps / 8)
            print(f"restarts, {name}, B={size}: in turn {spent[0]:.2f}, side by side {spent[1]:.2f} ms", end="")
            used = spent[1] if size <= cosine_tv.SIDE_BY_SIDE else spent[0]
            theirs = peers([one], "optimisation", steps * 4, 0.02) if name != "resnet20" else []
            if theirs:
                each = 1e3 * theirs[0][1] / steps / 4
                print(f"; breaching {each:.2f} ms: {each / used:.1f}x of the one used", flush=True)
            else:
                print("; breaching: not run", flush=True)


JOBS = {"matching": matching, "exact": exact, "imprint": imprint, "restarts": restarts}


def main() -> None:
    one_thread()
    find("imprint")  # loads every attack
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, one thread, Python {machine.python}, {machine.packages}")
    for name in sys.argv[1:] or JOBS:
        JOBS[name]()


if __name__ == "__main__":
    main()
