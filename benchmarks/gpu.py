"""Large networks and many networks, on a graphics card: PSNR, seconds, ratios and memory. Without one it says so.

python benchmarks/gpu.py [inversion restarts shadows]      TESTBED_CACHE names a folder with the pictures

Printed in November 2026 by one H200, torch 2.11.0+cu130, Python 3.12.3:
256 CNNs of mnist5k in 7.9 s and 2.55 GiB, 28x one after the other; sixteen restarts side by side 9.2x (LeNet, B=1),
9.7x (B=8), 10.1x (ResNet-20, B=1), 10.6x (B=8); ResNet-20 of 32 x 32 crops, B=8, four restarts of 800 iterations:
17.2 dB without normalisation, 8.6 dB with batch statistics, 33 to 49 s and at most 0.31 GiB; at 224 x 224, B=1,
10.5 dB in 66 s and 0.43 GiB. The last two are no better than other people's pictures: so few iterations do not do it.
"""

from __future__ import annotations

import os
import platform
import sys
import time

os.environ.setdefault("TESTBED_DEVICE", "cuda")

import numpy as np
import torch

from testbed import judge, models
from testbed.attacks.inversion.cosine_tv import cosine_tv
from testbed.core import Batch, Cohort, Exchange, ModelSpec, Protocol, Threat, Transcript
from testbed.core.randomness import keyed_rng
from testbed.data import load_images
from testbed.findings import statistics
from testbed.judge import image_quality
from testbed.models import ensemble
from testbed.models.ensemble import Training, losses, train

LARGEST = 224
"""Pictures are cut to so many pixels, about their middle."""
KNOWS = Threat("server", knows=frozenset({"architecture", "batch_size", "labels"}))


def pictures(name: str, n: int, seed: int) -> Cohort:
    images = load_images(name)
    rows = keyed_rng(seed, "people").permutation(len(images.x))[:n]
    order = rows[np.argsort(images.y[rows], kind="stable")]
    edge = max(0, (images.x.shape[-1] - LARGEST) // 2)
    cut = slice(edge, edge + LARGEST)
    return Cohort(images.x[order][:, :, cut, cut], images.y[order], order.astype(str))


def inverted(spec: ModelSpec, people: Cohort, seed: int, **params: float) -> tuple[float, float, float]:
    """Mean PSNR in dB, seconds, and GiB at most on the card."""
    model = models.build(spec, seed).to(models.DEVICE)
    sent = models.get_parameters(model)
    x, y = torch.tensor(people.x, device=models.DEVICE), torch.tensor(people.y, device=models.DEVICE)
    models.record_losses(model, model(x), x, y).mean().backward()
    returned = {k: p.grad.cpu().numpy() for k, p in model.named_parameters() if p.grad is not None}
    view = Transcript((Exchange(1, 0, sent, returned),), spec, Protocol("fedsgd", len(y), rounds=1, clients=1))
    shape, classes = models.input_of(spec)
    question = Batch(((1, 0),), shape, classes, (len(y),), (people.y,))
    torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    claim = cosine_tv.run(view, question, None, seed, KNOWS, params)
    torch.cuda.synchronize()
    spent = time.monotonic() - start
    found = [image_quality.psnr(g, t) for t, g in judge.pairs(claim.batches[1, 0], people)]
    return float(np.mean(found)), spent, torch.cuda.max_memory_allocated() / 2**30


def inversion() -> None:
    for name, size, norm, iterations, runs in (
        ("crops", 8, "none", 800, 1),
        ("crops", 8, "batch", 800, 1),
        ("imagenet-samples", 1, "none", 800, 1),
    ):
        images = load_images(name)
        shape = list(pictures(name, 1, 0).x.shape[1:])
        spec = ModelSpec("resnet20", {"shape": shape, "classes": int(images.y.max()) + 1, "norm": norm})
        made = [
            inverted(spec, pictures(name, size, s), s, iterations=iterations, tv=0.02, learning_rate=0.05, restarts=4)
            for s in range(runs)
        ]
        quality = [m[0] for m in made]
        print(
            f"resnet20, norm {norm}, {name} {shape}, B={size}, 4 restarts of {iterations}: "
            f"PSNR {', '.join(f'{q:.1f}' for q in quality)} dB, {np.mean([m[1] for m in made]):.1f} s, "
            f"{max(m[2] for m in made):.2f} GiB",
            flush=True,
        )


def restarts() -> None:
    from testbed.attacks.inversion import cosine_tv as module

    classes = int(load_images("crops").y.max()) + 1
    for name in ("lenet", "resnet20"):
        extra = {"norm": "group"} if name == "resnet20" else {}
        spec = ModelSpec(name, {"shape": [3, 32, 32], "classes": classes, **extra})
        for size in (1, 8):
            spent: list[float] = []
            for most in (0, 99):
                chosen, module.SIDE_BY_SIDE = module.SIDE_BY_SIDE, most
                inverted(spec, pictures("crops", size, 0), 0, iterations=3, restarts=16)
                spent.append(inverted(spec, pictures("crops", size, 0), 0, iterations=50, restarts=16)[1])
                module.SIDE_BY_SIDE = chosen
            each = [1e3 * s / 50 / 16 for s in spent]
            print(
                f"restarts, {name}, B={size}: in turn {each[0]:.2f} ms, side by side {each[1]:.2f} ms, "
                f"{each[0] / each[1]:.1f}x",
                flush=True,
            )


def shadows() -> None:
    """256 small convolutional networks at once, beside one after the other on the same card."""
    images = load_images("mnist5k")
    count, singly = 256, 4
    rng = keyed_rng(0, "halves")
    included = np.array([rng.permutation(len(images.x)) < len(images.x) // 2 for _ in range(count)])
    spec = ModelSpec("cnn", {"shape": [1, 28, 28], "classes": 10, "channels": [8, 16]})
    rules = Training(epochs=10, batch_size=64, learning_rate=0.05, momentum=0.9)
    y = images.y.astype(np.int64)

    def trained(some: np.ndarray, path: str) -> tuple[ensemble.Ensemble, float]:
        torch.cuda.synchronize()
        start = time.monotonic()
        made = train(lambda: models.build(spec, None), images.x, y, some, rules, 0, path=path, device="cuda")
        torch.cuda.synchronize()
        return made, time.monotonic() - start

    trained(included[:2], "vmap")
    trained(included[:1], "loop")
    torch.cuda.reset_peak_memory_stats()
    made, together = trained(included, "vmap")
    memory = torch.cuda.max_memory_allocated() / 2**30
    _, alone = trained(included[:singly], "loop")
    score = -losses(torch.tensor(made.outputs(images.x)), torch.tensor(y).expand(count, -1), "logits").numpy()
    area = np.mean([statistics.auc(s[i], s[~i]).value for s, i in zip(score, included, strict=True)])
    print(
        f"256 CNNs of mnist5k, 10 epochs of 2,500: {together:.1f} s at once, {memory:.2f} GiB; "
        f"one after the other {alone / singly:.2f} s each, {alone / singly * count / together:.1f}x; "
        f"AUC of the loss {area:.3f}",
        flush=True,
    )


JOBS = {"inversion": inversion, "restarts": restarts, "shadows": shadows}


def main() -> None:
    if not torch.cuda.is_available():
        print("not run: there is no graphics card")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, Python {platform.python_version()}")
    for name in sys.argv[1:] or JOBS:
        JOBS[name]()


if __name__ == "__main__":
    main()
