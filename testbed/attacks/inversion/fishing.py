"""Fishing: a malicious server changes the last layer so that a single record of a large batch makes the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from testbed import models
from testbed.attacks.inversion.gradient_matching import cosine_distance, descend, total_variation
from testbed.attacks.inversion.trap_weights import agreeing
from testbed.attacks.inversion.updates import first_linear, gradients
from testbed.attacks.own_gradient import gradient as own_gradient
from testbed.attacks.own_gradient import says_nothing
from testbed.attacks.registry import attack
from testbed.core import Act, Array, Batch, Cohort, ModelSpec, Parameters, Reconstruction, Transcript, Unavailable
from testbed.core.randomness import keyed_rng

SHARPNESS = 1e3
"""Logits for each standard deviation of a class along the direction: large enough that predictions are certain."""


def act(
    question: Batch,
    auxiliary: Cohort,
    rng: np.random.Generator,
    model: ModelSpec,
    *,
    target: int | None = None,
    batch: int = 64,
) -> Act:
    """Sends a last layer with a single direction, along which one class lies above a threshold and the others below.

    The direction is a linear discriminant of the features that the model gives one half of the `auxiliary` records.
    Records of the class above the threshold, and other records below it, are predicted with certainty, and have no
    gradient below the last layer. The threshold is the one at which, by the other half, exactly one record of `batch`
    most probably remains. `target` is the class; by default each round takes the next class.
    """
    remembered: dict[str, Array] = {}

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        network = models.build(model)
        layer, offset = last_linear_names(parameters)
        fished = (round_ - 1) % question.classes if target is None else target
        remembered[f"class.{round_}"] = np.array([fished])
        features = _features(network, models.to_tensors(parameters, network), layer, auxiliary.x)
        ours, half = auxiliary.y == fished, np.arange(len(auxiliary)) % 2 == 0
        if any(len(np.unique(ours[part])) < 2 for part in (half, ~half)):
            return parameters
        told = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features[half], ours[half])
        along = features[~half] @ told.coef_[0]
        sharp = SHARPNESS / max(float(along[ours[~half]].std()), 1e-12)
        threshold = _likeliest_alone(along, ours[~half], batch)
        weight, bias = (np.zeros_like(parameters[name]) for name in (layer, offset))
        weight[fished], bias[fished] = sharp * told.coef_[0], -sharp * threshold
        return {**parameters, layer: weight, offset: bias}

    return Act(None, craft, remembered)


def _likeliest_alone(along: Array, ours: Array, batch: int) -> float:
    """The threshold with the largest chance of one record of the class below and no other above (Poisson counts)."""
    levels = np.sort(along)
    levels = np.append((levels[1:] + levels[:-1]) / 2, 2 * levels[-1] - levels[0])
    below = batch * np.array([(ours & (along < level)).mean() for level in levels])
    above = batch * np.array([(~ours & (along >= level)).mean() for level in levels])
    return float(levels[np.argmax(below * np.exp(-below - above))])


def last_linear_names(parameters: Parameters) -> tuple[str, str]:
    """The names of the last fully connected layer's weight and bias. Raises `Unavailable` if there is none."""
    for name, weight in reversed(list(parameters.items())):
        bias = name.removesuffix("weight") + "bias"
        if name.endswith("weight") and weight.ndim == 2 and bias in parameters:
            return name, bias
    raise Unavailable("no_linear_last_layer", "a model that ends in a fully connected layer with a bias")


def _features(network: nn.Module, at: dict[str, Tensor], layer: str, x: Array) -> Array:
    """The inputs (n, width) of the last layer, for each record."""
    held: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
        held.append(given[0])

    hook = network.get_submodule(layer.removesuffix(".weight")).register_forward_pre_hook(keep)
    with torch.no_grad():
        torch.func.functional_call(network, at, (torch.tensor(x),))
    hook.remove()
    return held[0].double().numpy()


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-103",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "auxiliary", "batch_size"},
    position="server",
    reference="https://arxiv.org/abs/2202.00580",
    act=act,
    metric="rate",
)
def fishing(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 300,
    learning_rate: float = 0.1,
    tv: float = 0.02,
    tolerance: float = 1e-3,
) -> Reconstruction:
    """Reconstruct the few records of a class that alone make a large batch's gradient (Wen et al. 2022).

    Threat model: a malicious server that chooses the last layer's parameters, but not the architecture, and holds
    auxiliary records of all classes. If the first layer is fully connected, the record is exact, and claimed if two
    neurons agree on it (relative difference below `tolerance`). Otherwise it is found by gradient matching, as if it
    were the whole batch, and is not exact. Limit: one record a batch, and only if exactly one record of the class lies
    below the threshold and no record of another class above it.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    network = models.build(view.model)
    seed, rebuilt, labels = int(rng.integers(2**31)), dict[tuple[int, int], Array](), dict[tuple[int, int], Array]()
    for key, exchange, gradient in gradients(view, question):
        assert exchange.sent is not None
        fished = np.asarray(view.memory.get(f"class.{key[0]}", np.zeros(1)), np.int64)
        try:
            weight, bias = first_linear(gradient, math.prod(question.shape), network)
            found = agreeing(weight, bias, tolerance)
            slack = tolerance * (question.high - question.low)
            inside = (found >= question.low - slack).all(1) & (found <= question.high + slack).all(1)
            made = apart(found[inside], tolerance).reshape(-1, *question.shape)
        except Unavailable:
            at = models.to_tensors(exchange.sent, network)
            search = Search(iterations, learning_rate, tv)
            made = _matched(network, at, gradient, fished, question, keyed_rng(seed, *key), search)
        rebuilt[key], labels[key] = made, np.repeat(fished, len(made))
    return Reconstruction(rebuilt, labels)


MIXTURES = 40


def apart(found: Array, tolerance: float) -> Array:
    """The points (n, width), strongest first, that do not lie between two others, so that none is a mixture."""
    points = found[:MIXTURES]
    kept: list[Array] = []
    for i, point in enumerate(points):
        others = np.delete(points, i, 0) - point
        lengths = np.linalg.norm(others, axis=1)
        cosines = (others @ others.T) / np.maximum(np.outer(lengths, lengths), 1e-30)
        if not (cosines < -1 + tolerance).any():
            kept.append(point)
    return np.array(kept).reshape(-1, found.shape[1])


@dataclass(frozen=True, slots=True)
class Search:
    """How a record is searched for by its gradient: steps, their size, and how much smooth pictures are preferred."""

    iterations: int
    learning_rate: float
    tv: float


def _matched(
    network: nn.Module,
    at: dict[str, Tensor],
    gradient: dict[str, Array],
    fished: Array,
    question: Batch,
    rng: np.random.Generator,
    search: Search,
) -> Array:
    """The record (1, ...) whose gradient below the last layer has the same direction as this one.

    The last layer is left out, because all records of the batch contribute to its gradient.
    """
    below = {k: v.requires_grad_() for k, v in at.items() if k not in last_linear_names(gradient)}
    target = [torch.from_numpy(gradient[k].astype(np.float32)) for k in below]
    if not any(bool(t.any()) for t in target):
        return np.empty((0, *question.shape))
    y = torch.from_numpy(fished)

    def objective(x: Tensor) -> Tensor:
        loss = models.loss_of(network, {**at, **below}, x, y)
        value = cosine_distance(own_gradient(loss, list(below.values()), create_graph=True), target)
        return value + search.tv * total_variation(x) if len(question.shape) == 3 else value

    drawn = rng.uniform(question.low, question.high, (1, *question.shape))
    start = torch.tensor(drawn, dtype=torch.float32)
    # If the model is certain about every record, there is no gradient to follow, so nothing is claimed.
    if says_nothing([own_gradient(models.loss_of(network, {**at, **below}, start, y), list(below.values()))]):
        return np.empty((0, *question.shape))
    return descend(objective, start, question, search.iterations, search.learning_rate)[0].numpy()
