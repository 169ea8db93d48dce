"""Class inversion: what does a typical record of each class look like, by the model's answers?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sklearn.decomposition import PCA

from testbed.attacks.model.predictions import SMALLEST
from testbed.attacks.registry import attack
from testbed.core import Array, Classes, Cohort, Predictor, Representatives, Unavailable


@attack(
    subject="model",
    rule="TB-CLASS_INVERSION-301",
    risk="class_inversion",
    claim=Representatives,
    needs={"queries"},
    position="recipient",
    access="score",
    reference="https://dl.acm.org/doi/10.1145/2810103.2813677",
)
def class_inversion(
    view: Predictor,
    question: Classes,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 60,
    population: int = 100,
    elite: float = 0.1,
) -> Representatives:
    """Search for each class the input with the largest probability of this class (Fredrikson et al. 2015, MI-Face).

    Threat model: anybody who may ask the model for probabilities, and knows the bounds of its inputs. The authors use
    gradients. Here the search uses probabilities alone (the cross-entropy method): in each generation, inputs are drawn
    from normal distributions, and the best share `elite` of them gives the next mean and spread. It takes `iterations`
    times `population` queries a class. The claim is the mean of the last generation's best inputs, not a single one.
    """
    shape = question.low.shape
    low, high = (np.asarray(b, dtype=np.float64).ravel() for b in (question.low, question.high))
    middle, width = (low + high) / 2, (high - low) / 4

    def score(drawn: Array, labels: Array) -> Array:
        return _certainty(view, np.clip(drawn, low, high).reshape(-1, *shape), labels)

    size = Size(question.count, iterations, population, elite)
    found = _best(score, (middle, width), high - low, (low, high), rng, size)
    return Representatives(found.reshape(-1, *shape))


MOST_DIRECTIONS = 30
FEWEST_OTHERS = 50
"""Principal components of the generator at most, and other people's records that it needs at least."""


@attack(
    subject="model",
    rule="TB-CLASS_INVERSION-302",
    risk="class_inversion",
    claim=Representatives,
    needs={"auxiliary", "queries"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1911.07135",
)
def generative_inversion(
    view: Predictor,
    question: Classes,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 60,
    population: int = 100,
    elite: float = 0.1,
    plausible: float = 0.1,
) -> Representatives:
    """As `class_inversion`, among records that a generative model of other people can produce (Zhang et al. 2020).

    Threat model: as `class_inversion`, with records of other people, whose classes are not used. The authors train a
    GAN and use gradients. Here the generator is probabilistic PCA (Tipping and Bishop 1999) with up to 30 components,
    for which a few hundred people are enough, and the search uses probabilities alone. `plausible` is the weight of
    the record's likelihood under the generator. Raises `Unavailable` with fewer than 50 other people.
    """
    if auxiliary is None or len(auxiliary) < FEWEST_OTHERS:
        raise Unavailable("no_reference", f"{FEWEST_OTHERS} records of other people or more (--reference)")
    shape = question.low.shape
    low, high = (np.asarray(b, dtype=np.float64).ravel() for b in (question.low, question.high))
    others = auxiliary.x.reshape(len(auxiliary), -1).astype(np.float64)
    spread = np.where(others.std(0) > 0, others.std(0), 1)
    directions = min(MOST_DIRECTIONS, others.shape[1], len(others) // 5)
    generator = PCA(directions, whiten=True, svd_solver="full").fit(others / spread)

    def records(codes: Array) -> Array:
        return np.clip(generator.inverse_transform(codes) * spread, low, high)

    def score(codes: Array, labels: Array) -> Array:
        return _certainty(view, records(codes).reshape(-1, *shape), labels) - plausible * (codes**2).mean(1)

    start, scale, wide = np.zeros(directions), np.ones(directions), np.full(directions, 4.0)
    size = Size(question.count, iterations, population, elite)
    found = _best(score, (start, scale), wide, (-wide, wide), rng, size)
    return Representatives(records(found).reshape(-1, *shape))


def _certainty(view: Predictor, x: Array, labels: Array) -> Array:
    """The log-probability (n,) of each input's own class, for inputs (n, ...) and classes (n,)."""
    people = Cohort(x.astype(np.float32), labels, np.arange(len(x)).astype(str))
    answers = np.asarray(view.ask(people), dtype=np.float64)
    return np.log(np.clip(answers[np.arange(len(x)), labels], SMALLEST, 1.0))


AT_ONCE = 16
"""Classes that are searched at once. A forest answers about a thousand records as fast as about a hundred."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a search: the classes, the generations, the inputs drawn for each, and the share that is kept."""

    classes: int
    iterations: int
    population: int
    elite: float


def _best(
    score: Callable[[Array, Array], Array],
    start: tuple[Array, Array],
    width: Array,
    bounds: tuple[Array, Array],
    rng: np.random.Generator,
    size: Size,
) -> Array:
    """The points (classes, d) with about the highest score of each class within bounds, by the cross-entropy method.

    `score` maps points (n, d) and classes (n,) to scores (n,). `start` is the mean and the spread of a normal start.
    """
    groups = [range(i, min(i + AT_ONCE, size.classes)) for i in range(0, size.classes, AT_ONCE)]
    return np.concatenate([_best_of(score, start, width, bounds, rng, size, group) for group in groups])


def _best_of(
    score: Callable[[Array, Array], Array],
    start: tuple[Array, Array],
    width: Array,
    bounds: tuple[Array, Array],
    rng: np.random.Generator,
    size: Size,
    classes: range,
) -> Array:
    count, population, d = len(classes), size.population, len(start[0])
    mean, spread = (np.tile(values, (count, 1)) for values in start)
    labels = np.repeat(np.array(classes), population)
    drawing = [_one_by_one(rng, (size.iterations, population, d)) for _ in classes]
    kept = max(2, round(size.elite * population))
    for _ in range(size.iterations):
        normal = np.stack([one.standard_normal((population, d)) for one in drawing])
        drawn = np.clip(mean[:, None] + (spread[:, None] + 1e-9) * normal, *bounds)
        # Equal scores, of which forests have many, are ordered by the distance to the current mean.
        near = -1e-9 * (((drawn - mean[:, None]) / (width + 1e-9)) ** 2).sum(2)
        scores = score(drawn.reshape(-1, d), labels).reshape(count, population) + near
        best = np.take_along_axis(drawn, np.argsort(-scores, axis=1, kind="stable")[:, :kept, None], axis=1)
        mean, spread = best.mean(1), 0.7 * best.std(1) + 0.3 * spread
    return mean


State = tuple[int, int]
"""The state of a PCG64 generator that draws 64 bits at a time, and its increment."""


def _one_by_one(rng: np.random.Generator, draws: tuple[int, int, int]) -> np.random.Generator:
    """A generator of a class's draws, as if classes were searched one after the other; `rng` is put behind them."""
    mine = copy.deepcopy(rng)
    now = mine.bit_generator.state
    state, increment = _state_after((now["state"]["state"], now["state"]["inc"]), draws)
    rng.bit_generator.state = {**now, "state": {"state": state, "inc": increment}}
    return mine


@lru_cache(maxsize=1024)
def _state_after(state: State, draws: tuple[int, int, int]) -> State:
    """The state of a generator after these draws. All cells of one attack draw the same."""
    rng = np.random.default_rng()
    kept = {"state": state[0], "inc": state[1]}
    rng.bit_generator.state = {"bit_generator": "PCG64", "state": kept, "has_uint32": 0, "uinteger": 0}
    passed_over = np.empty(draws[1:])
    for _ in range(draws[0]):
        rng.standard_normal(out=passed_over)
    after = rng.bit_generator.state["state"]
    return after["state"], after["inc"]
