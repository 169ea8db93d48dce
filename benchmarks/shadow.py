"""Shadow models trained at once, beside one after the other: our own loop, ML Privacy Meter's and LeakPro's.

PEERS=DIR python benchmarks/shadow.py
DIR/ml_privacy_meter and DIR/LeakPro are checkouts; without one its column says `not run`.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import peers
import torch
from torch.utils.data import DataLoader, Subset

from testbed.core import Array, ModelSpec
from testbed.core.randomness import keyed_rng
from testbed.data import load_images
from testbed.findings import statistics
from testbed.findings.assemble import environment
from testbed.models import build, ensemble
from testbed.models.ensemble import Training, train
from testbed.models.stacked import losses

SINGLY = 4
"""Models that are trained one after the other; the rest would take as long each."""


def purchase() -> tuple[Array, Array]:
    """Purchases in the shape of Purchase-100: 8,000 people, 600 items bought or not, a hundred kinds of people."""
    rng = keyed_rng(0, "purchase")
    kinds = rng.random((100, 600)) < 0.3
    y = rng.integers(0, 100, 8000)
    x = np.where(rng.random((8000, 600)) < 0.35, rng.random((8000, 600)) < 0.3, kinds[y])
    return x.astype(np.float32), y


def digits() -> tuple[Array, Array]:
    images = load_images("digits")
    return images.x, images.y.astype(np.int64)


def support2() -> tuple[Array, Array]:
    from testbed.data.cohorts import source

    people = source("support2").people
    return people.x, people.y


def halves(n: int, models: int) -> Array:
    """Pairs of models trained on the two halves, (models, n)."""
    rng, made = keyed_rng(0, "halves"), np.zeros((models, n), bool)
    for i in range(models):
        made[i] = ~made[i - 1] if i % 2 else rng.permutation(n) < n // 2
    return made


def areas(answers: Array, y: Array, included: Array) -> Array:
    """The AUC of minus the loss, for each model."""
    labels = torch.tensor(y).expand(len(answers), -1)
    score = -losses(torch.tensor(answers), labels, "logits").numpy()
    return np.array([statistics.auc(s[i], s[~i]).value for s, i in zip(score, included, strict=True)])


def by_peer(spec: ModelSpec, x: Array, y: Array, included: Array, rules: Training, workers: int) -> Any:
    """ML Privacy Meter's `train` as its `prepare_models` calls it, tests after every epoch included.

    With its own loader's arguments; its schedule multiplies the rate by a tenth more.
    """
    peer = peers.module("ml_privacy_meter", "trainers/default_trainer.py")
    table = peers.module("ml_privacy_meter", "dataset/tabular.py")
    if peer is None or table is None:
        return None
    configs = {
        "epochs": rules.epochs,
        "learning_rate": 10 * rules.learning_rate,
        "optimizer": "SGD",
        "momentum": rules.momentum,
        "device": "cpu",
    }
    more = {"persistent_workers": True, "prefetch_factor": 16} if workers else {}
    answers: list[Array] = []
    for number, rows in enumerate(included):
        network = build(spec, number)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaders = [
                DataLoader(
                    Subset(table.TabularDataset(x, y), np.flatnonzero(part).tolist()),
                    rules.batch_size,
                    shuffle=True,
                    num_workers=workers,
                    **more,
                )
                for part in (rows, ~rows)
            ]
            trained = peer.train(network, loaders[0], configs, loaders[1])
            for loader in loaders:
                peer.inference(trained, loader, "cpu")
        del loaders
        trained.eval()
        with torch.no_grad():
            answers.append(trained(torch.tensor(x)).numpy())
    return np.stack(answers)


def by_leakpro(spec: ModelSpec, x: Array, y: Array, included: Array, rules: Training) -> Any:
    """LeakPro's handler as its `create_shadow_models` calls it, with its evaluation on the rest; a constant rate."""
    handler = peers.leakpro()
    if handler is None:
        return None
    answers: list[Array] = []
    for number, rows in enumerate(included):
        network = build(spec, number)
        optimizer = torch.optim.SGD(network.parameters(), lr=rules.learning_rate, momentum=rules.momentum)
        criterion, owner = torch.nn.CrossEntropyLoss(), handler.__new__(handler)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            mine, others = (
                DataLoader(handler.UserDataset(torch.tensor(x[part]), torch.tensor(y[part])), rules.batch_size, shuffle)
                for part, shuffle in ((rows, True), (~rows, False))
            )
            trained = owner.train(mine, network, criterion, optimizer, rules.epochs).model
            owner.eval(others, trained, criterion)
        with torch.no_grad():
            answers.append(trained(torch.tensor(x)).numpy())
    return np.stack(answers)


def floor(spec: ModelSpec, n: int, rules: Training) -> float:
    """Seconds that the matrix products of one model's training take by themselves, at the best rate of this processor.

    Forward, to the weights, and but for the first layer to the inputs: no training in float32 takes less.
    """
    widths = [layer.weight.shape for layer in build(spec).modules() if isinstance(layer, torch.nn.Linear)]
    products = sum(2 * a * b * (3 if i else 2) for i, (a, b) in enumerate(widths))
    rates = []
    for size in (256, 512, 2048):
        one = torch.randn(size, size)
        repeats = max(4, 2**31 // (2 * size**3))
        torch.mm(one, one)
        _, cpu, _ = peers.timed(lambda one=one, repeats=repeats: [torch.mm(one, one) for _ in range(repeats)])
        rates.append(2 * size**3 * repeats / cpu)
    return products * n * rules.epochs / max(rates)


def compare(name: str, spec: ModelSpec, x: Array, y: Array, models: int, rules: Training) -> None:
    included = halves(len(x), models)

    def ours(path: Any, count: int) -> Any:
        return train(lambda: build(spec), x, y, included[:count], rules, 0, path=path).outputs(x)

    rows: list[tuple[str, Any, int]] = [
        (f"all at once ({ensemble.path_for(build(spec))})", lambda: ours("auto", models), models),
        ("our own loop", lambda: ours("loop", SINGLY), SINGLY),
        *(
            (f"ML Privacy Meter, {w} workers", lambda w=w: by_peer(spec, x, y, included[:SINGLY], rules, w), SINGLY)
            for w in (4, 0)
        ),
        ("LeakPro", lambda: by_leakpro(spec, x, y, included[:SINGLY], rules), SINGLY),
    ]
    print(f"{name}: {models} models on {len(x) // 2} of {len(x)} records, {rules}")
    first = None
    for label, work, count in rows:
        answers, cpu, wall = peers.timed(work)
        if answers is None:
            print(f"  {label:28} not run")
            continue
        each = cpu / count
        first = first or each
        found = statistics.t_interval(areas(answers, y, included[:count]))
        print(
            f"  {label:28} {each:8.3f} CPU s a model, {wall / count:8.3f} s wall, ratio {each / first:6.1f}; "
            f"AUC {found.value:.3f} ({found.low:.3f} to {found.high:.3f}), {count} models",
            flush=True,
        )
    if spec.factory == "mlp":
        least = floor(spec, len(x) // 2, rules)
        print(f"  {'its matrix products alone':28} {least:8.3f} CPU s a model, ratio {least / (first or least):12.2f}")


def main() -> None:
    peers.one_thread()
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed 0, one thread")
    wide = ModelSpec("mlp", {"shape": [600], "classes": 100, "hidden": [128], "activation": "tanh"})
    compare("purchase-shaped, MLP", wide, *purchase(), 32, Training(10, 256, 0.1, schedule="cosine"))
    compare("the same, batches of 32", wide, *purchase(), 32, Training(5, 32, 0.05, schedule="cosine"))
    x, y = support2()
    spec = ModelSpec("mlp", {"shape": [x.shape[1]], "classes": 2, "hidden": [64, 32]})
    compare("support2, 600 people, MLP", spec, x[:600], y[:600], 32, Training(10, 32, 0.05, schedule="cosine"))
    picture = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [8, 16]})
    compare("digits, CNN", picture, *digits(), 32, Training(5, 32, 0.05, schedule="cosine"))
    included = halves(len(x), 256)
    _, cpu, wall = peers.timed(lambda: train(lambda: build(spec), x, y, included, Training(20, 32, 0.1), 0).outputs(x))
    print(
        f"support2 ({len(x)} x {x.shape[1]}): 256 models, 20 epochs, in {wall:.0f} s wall, {cpu:.0f} CPU s; "
        f"peak memory of the whole benchmark {peers.peak_gib():.2f} GiB"
    )


if __name__ == "__main__":
    main()
