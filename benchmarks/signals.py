"""The inner product of every record's gradient with an update: one forward-mode derivative, beside backward passes.

python benchmarks/signals.py
"""

from __future__ import annotations

import numpy as np
import peers
import torch

from testbed import models
from testbed.attacks.membership.signals import Signals, gradient_norms
from testbed.core import Cohort, Exchange, ModelSpec, Protocol, Transcript
from testbed.core.randomness import keyed_rng
from testbed.findings.assemble import environment

RECORDS = 600
SPECS = (
    ("MLP 30-64-32-2", ModelSpec("mlp", {"shape": [30], "classes": 2, "hidden": [64, 32]})),
    ("MLP 600-128-100", ModelSpec("mlp", {"shape": [600], "classes": 100, "hidden": [128]})),
    ("CNN 8 x 8", ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [8, 16]})),
)


def main() -> None:
    peers.one_thread()
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, one thread")
    print(f"{RECORDS} records, one exchange; CPU seconds, and how many times longer the loop takes")
    for name, spec in SPECS:
        shape, classes = models.input_of(spec)
        rng = keyed_rng(0, name)
        x = rng.random((RECORDS, *shape)).astype(np.float32)
        people = Cohort(x, rng.integers(0, classes, RECORDS), np.arange(RECORDS).astype(str))
        sent, returned = (models.get_parameters(models.build(spec, seed)) for seed in (0, 1))
        view = Transcript((Exchange(1, 0, sent, returned),), spec, Protocol("fedavg"))
        network = models.build(spec)
        labels = torch.tensor(people.y)

        def loop(spec=spec, sent=sent, returned=returned, x=x, labels=labels, network=network) -> np.ndarray:  # type: ignore[no-untyped-def]
            """Both signals of each record by a backward pass of its own."""
            made: list[tuple[float, float]] = []
            towards = {k: torch.tensor(returned[k] - sent[k]) for k in sent}
            at = {k: v.requires_grad_() for k, v in models.to_tensors(sent, network).items()}
            for i in range(len(x)):
                loss = models.losses_of(network, at, torch.tensor(x[i : i + 1]), labels[i : i + 1])[0]
                own = dict(zip(at, torch.autograd.grad(loss, list(at.values())), strict=True))
                product = -sum(float((own[k] * towards[k]).sum()) for k in own)
                made.append((product, float(torch.stack([g.pow(2).sum() for g in own.values()]).sum().sqrt())))
            return np.array(made)

        Signals(view, people).product.sum() + Signals(view, people).norm.sum()  # the first call of each compiles
        slow, slow_s, _ = peers.timed(loop)
        product, product_s, _ = peers.timed(lambda view=view, people=people: Signals(view, people).product[0, 0])
        at = models.to_tensors(sent, network)
        norm, norm_s, _ = peers.timed(lambda at=at, n=network, x=x, y=labels: gradient_norms(n, at, torch.tensor(x), y))
        apart = max(np.abs(slow[:, 0] - product).max(), np.abs(slow[:, 1] - norm.numpy()).max())
        print(
            f"{name:16} loop {slow_s:.3f}; product {product_s:.4f} ({slow_s / product_s:.0f}x); "
            f"gradient lengths {norm_s:.4f} ({slow_s / norm_s:.0f}x); largest difference {apart:.1g}"
        )


if __name__ == "__main__":
    main()
