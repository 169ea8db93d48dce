"""How much each reconstruction attack reads, beside what theory or the trap itself allows in the same run.

python benchmarks/limits.py [imprint loki trap_weights fishing spear dager tabular_inversion class_generator ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from testbed import judge, models
from testbed.attacks.inversion.labels import label_counts
from testbed.attacks.inversion.loki import WINDOW
from testbed.attacks.inversion.updates import first_linear
from testbed.attacks.registry import find
from testbed.core import Act, Batch, Cohort, Exchange, ModelSpec, Protocol, Reconstruction, Split, Threat, Transcript
from testbed.core.randomness import keyed_rng
from testbed.data import load_images
from testbed.data.cohorts import sentences
from testbed.defences.consistent_unmasking import consistent_unmasking
from testbed.findings import statistics
from testbed.findings.assemble import environment
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate
from testbed.harness.federation.recorded import Recorded
from testbed.harness.federation.trial import Trial
from testbed.harness.run import run
from testbed.harness.scenario import find as by_name
from testbed.judge import image_quality
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.secure import SecureAggregation

KNOWS = frozenset({"architecture", "batch_size", "auxiliary", "hyper_parameters"})
EXACT_DB = 60.0
RUNS = 10
AUXILIARY = 1000


def people(name: str, n: int, seed: int) -> Cohort:
    images = load_images(name)
    rows = keyed_rng(seed, "people").permutation(len(images.x))[:n]
    return Cohort(images.x[rows], images.y[rows], images.person[rows].astype(str))


def recorded(
    name: str,
    data: str,
    spec: ModelSpec,
    protocol: Protocol,
    each: int,
    seed: int,
    params: dict[str, Any] | None = None,
) -> tuple[Recorded, Split, Threat]:
    """A federation of `clients` with `each` records a round, attacked by a server."""
    wanted = each * protocol.clients * (protocol.rounds if protocol.kind == "fedsgd" else 1)
    crowd = people(data, 2 * wanted + AUXILIARY + 100, seed)
    cut = np.split(np.arange(len(crowd)), [wanted, 2 * wanted, 2 * wanted + AUXILIARY])
    groups = [crowd.take(c) for c in cut]
    split = Split(groups[0], groups[1], groups[2], np.arange(wanted) % protocol.clients, groups[3])
    threat = Threat("server", find(name).malicious, KNOWS)
    plan = Plan(
        rule="TB-RECONSTRUCTION-001",
        risk="reconstruction",
        attack=name,
        metric="line_up_top1",
        unit="batch",
        primary=True,
    )
    trial = Trial(split, Federation(spec, protocol, seed), threat, (plan,), act_params=params or {})
    return trial.record("in-process"), split, threat


def claim_of(made: Recorded, split: Split, threat: Threat, name: str, **params: int) -> tuple[Reconstruction, float]:
    held = made.truth.batches["true"]
    shape = next(iter(held.values())).x.shape[1:]
    question = Batch(tuple(held), shape, 10, tuple(len(p) for p in held.values()))
    start = time.process_time()
    claim = find(name).run(made.views["true"], question, split.auxiliary, made.truth.seed, threat, params)
    return claim, (time.process_time() - start) / len(held)


def exact(rebuilt: np.ndarray, group: Cohort) -> float:
    return sum(image_quality.psnr(g, x) > EXACT_DB for x, g in judge.pairs(rebuilt, group)) / len(group)


def row(what: str, measured: np.ndarray, beside: str, seconds: float) -> None:
    found = statistics.t_interval(measured)
    print(
        f"{what:44} {found.value:6.3f} ({found.low:.3f} to {found.high:.3f})  {beside}  {seconds:8.3f} CPU s",
        flush=True,
    )


def planted(name: str, size: int, width: int) -> None:
    """Recovery of imprint or trap weights beside the share that was isolated in that run."""
    hidden = width if name == "trap_weights" else 32
    spec = ModelSpec("mlp", {"shape": [1, 28, 28], "classes": 10, "hidden": [hidden]})
    protocol = Protocol("fedsgd", size, learning_rate=0.1, rounds=1, clients=1)
    rates, alone, seconds = [], [], []
    for seed in range(RUNS):
        acting = {"bins": width} if name == "imprint" else {}
        made, split, threat = recorded(name, "mnist5k", spec, protocol, size, seed, acting)
        claim, took = claim_of(made, split, threat, name)
        (exchange,), (group,) = made.views["true"].exchanges, made.truth.batches["true"].values()
        weight, bias = first_linear({k: np.asarray(v, float) for k, v in (exchange.sent or {}).items()}, 784)
        fires = group.x.reshape(size, -1) @ weight.T + bias > 0
        if name == "imprint":
            counts = fires.sum(1)
            alone.append(np.mean([(counts == c).sum() == 1 and c > 0 for c in counts]))
        else:
            alone.append(float((fires[:, fires.sum(0) == 1].sum(1) >= 2).mean()))
        rates.append(exact(claim.batches[1, 0], group))
        seconds.append(took)
    beside = f"isolated {np.mean(alone):.3f}"
    beside += f", theory {(1 - 1 / width) ** (size - 1):.3f}" if name == "imprint" else ""
    row(f"{name}, B={size}, {width} neurons", np.array(rates), beside, float(np.mean(seconds)))


def fished(size: int, hidden: list[int]) -> None:
    """Records of one class that fishing reads off a large batch, of those left to make the gradient; none else."""
    spec = ModelSpec("mlp", {"shape": [1, 28, 28], "classes": 10, "hidden": hidden})
    protocol = Protocol("fedsgd", size, learning_rate=0.1, rounds=1, clients=1)
    read, left, wrong, seconds = [], [], 0, []
    for seed in range(RUNS):
        made, _, threat = recorded("fishing", "mnist5k", spec, protocol, size, seed, {"target": 3, "batch": size})
        claim, took = claim_of(made, _, threat, "fishing")
        (exchange,), (group,) = made.views["true"].exchanges, made.truth.batches["true"].values()
        network = models.build(spec)
        with torch.no_grad():
            at = models.to_tensors(exchange.sent or {}, network)
            chances = torch.softmax(torch.func.functional_call(network, at, (torch.tensor(group.x),)), 1)[:, 3].numpy()
        left.append(int((np.abs(chances - (group.y == 3)) > 1e-5).sum()))
        read.append(round(exact(claim.batches[1, 0], group) * size))
        wrong += len(claim.batches[1, 0]) - read[-1]
        seconds.append(took)
    beside = f"of {np.sum(left)} left in {RUNS} batches {np.sum(read)} read, {wrong} claimed wrongly"
    what = f"fishing, B={size}, 784-{'-'.join(map(str, hidden))}-10"
    row(what, np.array(read) / np.maximum(left, 1), beside, float(np.mean(seconds)))


def windowed(clients: int, size: int, epochs: int) -> None:
    """Records over 30 dB that loki reads off the mean of several clients' gradients, or off a client's weights."""
    spec = ModelSpec("mlp", {"shape": [1, 28, 28], "classes": 10, "hidden": [32]})
    kind, batch = ("fedavg", size // 4) if epochs else ("fedsgd", size)
    protocol = Protocol(kind, batch, max(1, epochs), learning_rate=0.1, rounds=1, clients=clients)
    local: dict[str, Any] = {"learning_rate": 0.1, "steps": 4 * epochs} if epochs else {}
    rates, alone, seconds = [], [], []
    for seed in range(RUNS):
        acting = {"bins": 256, "clients": clients, **local}
        made, split, threat = recorded("loki", "mnist5k", spec, protocol, size, seed, acting)
        groups, view = made.truth.batches["true"], made.views["true"]
        for exchange in view.exchanges:
            weight, bias = first_linear({k: np.asarray(v, float) for k, v in (exchange.sent or {}).items()}, 784)
            level = groups[exchange.key].x.reshape(size, -1) @ weight.T + bias
            fires = (level > 0) & (level < WINDOW)
            alone.append(float((fires[:, fires.sum(0) == 1]).any(1).mean()))
        if clients > 1:
            answers = [e.returned or {} for e in view.exchanges]
            mean = {k: np.mean([a[k] for a in answers], 0) for k in answers[0]}
            view = replace(view, exchanges=(replace(view.exchanges[0], returned=mean),))
        question = Batch(((1, 0),), (1, 28, 28), 10)
        start = time.process_time()
        claim = find("loki").run(view, question, split.auxiliary, seed, threat)
        seconds.append(time.process_time() - start)
        everybody = Cohort(*(np.concatenate([getattr(g, f) for g in groups.values()]) for f in ("x", "y", "persons")))
        found = quality(claim.batches[1, 0], everybody)
        rates.append(float((found > LEGIBLE_DB).mean()))
    what = f"loki, {clients} x {size}, " + (f"{epochs} epochs of 4 steps" if epochs else "mean gradient")
    row(what, np.array(rates), f"over 30 dB; alone at first {np.mean(alone):.3f}", float(np.mean(seconds)))


def spear(size: int) -> None:
    spec = ModelSpec("mlp", {"shape": [1, 28, 28], "classes": 10, "hidden": [200, 200]})
    protocol = Protocol("fedsgd", size, learning_rate=0.1, rounds=RUNS, clients=1)
    made, split, threat = recorded("spear", "mnist5k", spec, protocol, size, 0)
    claim, took = claim_of(made, split, threat, "spear")
    held = made.truth.batches["true"]
    rates = np.array([exact(claim.batches.get(k, np.empty((0, 1, 28, 28))), p) for k, p in held.items()])
    certified = [claim.certificate.get(k) == 1.0 for k in held]
    wrong = sum(c and r < 1 for c, r in zip(certified, rates, strict=True))
    row(f"spear, B={size}, 784-200-200-10", rates, f"certified {sum(certified)} of {RUNS}, wrongly {wrong}", took)


def gained(name: str, what: str, spec: ModelSpec, protocol: Protocol, iterations: int) -> None:
    """How many dB an attack gains over gradient matching by cosine and total variation, paired over batches."""
    made, split, threat = recorded(name, "digits", spec, protocol, protocol.batch_size, 0)
    found: dict[str, np.ndarray] = {}
    seconds = 0.0
    for attack in ("cosine_tv", name):
        claim, seconds = claim_of(made, split, threat, attack, iterations=iterations)
        found[attack] = np.array(
            [np.mean(quality(claim.batches.get(k), p)) for k, p in made.truth.batches["true"].items()]
        )
    gain = found[name] - found["cosine_tv"]
    beside = f"dB more than cosine_tv's median {np.median(found['cosine_tv']):.1f}, worst gain {gain.min():.1f}"
    row(what, gain, beside, seconds)


def unrolling(epochs: int, rate: float) -> None:
    """What following several local steps gains over treating the update as one gradient."""
    protocol = Protocol("fedavg", 4, local_epochs=epochs, learning_rate=rate, rounds=1, clients=20)
    gained("fedavg_unrolling", f"unrolling, {epochs} steps at {rate}, 4 records", digits_cnn("none"), protocol, 300)


def seen_through(norm: str) -> None:
    """What other people's statistics of normalising layers gain."""
    protocol = Protocol("fedsgd", 8, learning_rate=0.1, rounds=RUNS, clients=2)
    gained("see_through", f"see_through, {norm} normalisation, 8 records", digits_cnn(norm), protocol, 300)


def digits_cnn(norm: str) -> ModelSpec:
    return ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [8, 16], "norm": norm})


def labels(size: int, trained: bool) -> None:
    """The share of a batch's classes that is counted right, untrained, or after training, with auxiliary records."""
    spec = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [64]})
    crowd = people("digits", 1700, 0)
    model = models.build(spec, 0)
    if trained:
        fit = torch.optim.Adam(model.parameters(), 1e-3)
        for _ in range(100):
            fit.zero_grad()
            torch.nn.functional.cross_entropy(
                model(torch.tensor(crowd.x[:500])), torch.tensor(crowd.y[:500])
            ).backward()
            fit.step()
    weights = models.to_tensors(models.get_parameters(model), model)
    auxiliary = torch.tensor(crowd.x[500:900])
    rates, seconds = [], 0.0
    for seed in range(RUNS):
        rng = keyed_rng(seed, "batch")
        skew = rng.dirichlet(np.full(10, 0.5))[crowd.y[900:]]
        rows = 900 + rng.choice(len(skew), size, p=skew / skew.sum())
        tensors = {k: v.clone().requires_grad_() for k, v in weights.items()}
        loss = models.loss_of(model, tensors, torch.tensor(crowd.x[rows]), torch.tensor(crowd.y[rows]))
        bias = torch.autograd.grad(loss, list(tensors.values()))[-1].numpy()
        start = time.process_time()
        counted = label_counts(model, weights, bias, size, auxiliary)
        seconds += time.process_time() - start
        rates.append(np.minimum(counted, np.bincount(crowd.y[rows], minlength=10)).sum() / size)
    row(
        f"label counts, B={size}, {'trained' if trained else 'untrained'}",
        np.array(rates),
        "1 is all right",
        seconds / RUNS,
    )


def dager(size: int, length: int, width: int, causal: bool) -> None:
    """Whole sentences of news that come back; the limit is the layer's width."""
    known, words = sentences("lee-background", length)
    arguments = {"shape": [length], "classes": 2, "vocabulary": len(words), "width": width, "causal": causal}
    spec = ModelSpec("transformer", arguments)
    rates, seconds, certified = [], [], 0
    for seed in range(RUNS):
        rows = keyed_rng(seed, "sentences").permutation(len(known.people))[:size]
        group = known.people.take(rows)
        model = models.build(spec, seed)
        x, y = torch.tensor(group.x), torch.tensor(group.y)
        sent = models.get_parameters(model)
        models.record_losses(model, model(x), x, y).mean().backward()
        returned = {k: p.grad.numpy() for k, p in model.named_parameters() if p.grad is not None}
        view = Transcript((Exchange(1, 0, sent, returned),), spec, Protocol("fedsgd", size, rounds=1, clients=1))
        start = time.process_time()
        threat = Threat("server", knows=frozenset({"architecture"}))
        claim = find("dager").run(view, Batch(((1, 0),), (length,), 2), None, seed, threat)
        seconds.append(time.process_time() - start)
        there = {tuple(r) for r in group.x.astype(int).tolist()}
        found = {tuple(r) for r in claim.batches[1, 0].astype(int).tolist()}
        rates.append(len(there & found) / len(there))
        certified += claim.certificate[1, 0] == 1.0
    kind = "decoder" if causal else "encoder"
    what = f"dager, {kind}, {size} x {length} of {len(words)} words, d={width}"
    row(what, np.array(rates), f"certified {certified} of {RUNS}; limit {width - 1} states", float(np.mean(seconds)))


def unmixing(size: int, hidden: int) -> None:
    """PSNR of independent component analysis, by batch size; beside it, other pictures matched."""
    spec = ModelSpec("mlp", {"shape": [1, 28, 28], "classes": 10, "hidden": [hidden]})
    protocol = Protocol("fedsgd", size, learning_rate=0.1, rounds=RUNS, clients=1)
    made, split, threat = recorded("cocktail_party", "mnist5k", spec, protocol, size, 0)
    claim, took = claim_of(made, split, threat, "cocktail_party")
    held, others = made.truth.batches["true"], made.truth.batches["control"]
    found, chance = (
        np.array(
            [
                np.median([image_quality.psnr(g, x) for x, g in judge.pairs(claim.batches[k], p)])
                for k, p in people.items()
            ]
        )
        for people in (held, others)
    )
    row(f"cocktail_party, B={size}, 784-{hidden}", found, f"dB, median; other people's {chance.mean():.1f}", took)


def unmasking(batch: int) -> None:
    """The error of a client's update that secure aggregation gave up, and what is read of it; and of the check."""
    spec = ModelSpec("mlp", {"shape": [1, 28, 28], "classes": 10, "hidden": [200]})
    protocol = Protocol("fedsgd", batch, learning_rate=0.1, rounds=1, clients=4)
    rates, errors = [], []
    start = time.process_time()
    for seed in range(RUNS):
        crowd = people("mnist5k", 4 * batch, seed)
        parts = [crowd.take(np.arange(i, 4 * batch, 4)) for i in range(4)]
        federation = Federation(spec, protocol, seed)
        secure = replace(federation, secure=SecureAggregation())
        bare = secure.run(parts, act=Act(unmask=True), actor="secagg_unmasking")
        for one, other in zip(bare.exchanges, federation.run(parts).exchanges, strict=True):
            assert one.returned is not None
            assert other.returned is not None
            pairs = [(one.returned[k], v) for k, v in other.returned.items()]
            norm = sum(float((v**2).sum()) for _, v in pairs)
            errors.append(np.sqrt(sum(float(((a - v) ** 2).sum()) for a, v in pairs) / norm))
        question = Batch(tuple(e.key for e in bare.exchanges), (1, 28, 28), 10, (batch,) * 4)
        threat = Threat("server", malicious=True, knows=frozenset({"architecture", "batch_size"}))
        claim = find("secagg_unmasking").run(bare, question, None, seed, threat)
        rates.append(
            np.mean([np.mean(quality(claim.batches.get((1, c)), p) > LEGIBLE_DB) for c, p in enumerate(parts)])
        )
        checked = replace(secure, defences=(consistent_unmasking(),)).run(
            parts, act=Act(unmask=True), actor="secagg_unmasking"
        )
        assert {e.status for e in checked.exchanges} == {"refused"}
    took = (time.process_time() - start) / RUNS
    beside = f"over 30 dB; updates wrong by {max(errors):.1e} at most; with the check, nothing in {RUNS} runs"
    row(f"secagg_unmasking, 4 clients of {batch}", np.array(rates), beside, took)


LEGIBLE_DB = 30.0


def quality(rebuilt: np.ndarray | None, group: Cohort) -> np.ndarray:
    """PSNR in dB of each record (n,), 0 where nothing matches it."""
    found = [] if rebuilt is None else [image_quality.psnr(g, x) for x, g in judge.pairs(rebuilt, group)]
    return np.array(found + [0.0] * (len(group) - len(found)))


def scene(name: str, params: dict[str, object]) -> None:
    """The primary finding of a scenario as it is run by anybody, with its control and its blind guess."""
    start = time.process_time()
    finding = run(by_name(name), params, seed=0).result.findings[0]
    found, control, blind = finding.measure, finding.control, finding.baseline
    assert isinstance(found, Estimate)
    assert isinstance(control, Estimate)
    assert isinstance(blind, Estimate)
    what = " ".join([finding.attack.name, *(f"{k}={v}" for k, v in params.items())])
    seconds = time.process_time() - start
    print(
        f"{what:44} {found.value:6.3f} ({found.low:.3f} to {found.high:.3f})  of others {control.value:.3f}, "
        f"blind {blind.value:.3f}  {seconds:8.3f} CPU s",
        flush=True,
    )


JOBS: dict[str, list[Callable[[], None]]] = {
    "imprint": [lambda b=b, k=k: planted("imprint", b, k) for b, k in ((8, 256), (64, 256), (64, 1024), (256, 1024))],
    "loki": [lambda a=a: windowed(*a) for a in ((4, 16, 0), (16, 16, 0), (1, 32, 1), (1, 32, 4))],
    "trap_weights": [lambda b=b: planted("trap_weights", b, 1000) for b in (8, 20, 100)],
    "fishing": [lambda h=h: fished(64, h) for h in ([200], [200, 200])],
    "spear": [lambda b=b: spear(b) for b in (1, 2, 4, 8)],
    "dager": [
        lambda a=a: dager(*a)
        for a in ((1, 16, 64, True), (4, 15, 128, True), (16, 15, 256, True), (1, 16, 64, False), (4, 16, 128, False))
    ],
    "tabular_inversion": [
        lambda p=p: scene("hospital_tables", dict(p))
        for p in (
            {"data": "support2"},
            {"data": "thyroid"},
            {"data": "heart"},
            {"data": "heart", "epochs": 1, "rounds": 10},
        )
    ],
    "class_generator": [lambda: scene("malicious_client", {})],
    "cocktail_party": [lambda b=b: unmixing(b, 512) for b in (4, 16, 64)],
    "unmasking": [lambda b=b: unmasking(b) for b in (1, 4)],
    "unrolling": [lambda e=e, r=r: unrolling(e, r) for e, r in ((2, 0.1), (4, 0.5), (8, 0.1))],
    "see_through": [lambda n=n: seen_through(n) for n in ("batch", "group", "none")],
    "labels": [lambda b=b, t=t: labels(b, t) for t in (False, True) for b in (8, 32, 128)],
}


def main() -> None:
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, {RUNS} seeds")
    for name in sys.argv[1:] or JOBS:
        for job in JOBS[name]:
            job()


if __name__ == "__main__":
    main()
