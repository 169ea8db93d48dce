"""Reference models that are known to leak, or to know nothing: for positive controls and blind cells."""

from __future__ import annotations

import zlib

import numpy as np
from sklearn.neighbors import NearestNeighbors

from testbed.core import Array, Cohort, Opened, Predictor

CERTAIN = 0.999
"""Probability that a certain model gives to the class of its own people."""


def certain(people: Cohort, otherwise: Predictor) -> Predictor:
    """A model that gives its own people's classes with certainty, and answers about others as another model does."""
    held = {row.tobytes() for row in people.x}

    def ask(asked: Cohort) -> Array:
        said = np.array(otherwise.ask(asked), dtype=np.float64)
        mine = np.array([row.tobytes() in held for row in asked.x], dtype=bool)
        sure = np.full((len(asked), otherwise.classes), (1 - CERTAIN) / max(1, otherwise.classes - 1))
        sure[np.arange(len(asked)), asked.y] = CERTAIN
        return np.where(mine[:, None], sure, np.minimum(said, 0.99))

    if isinstance(otherwise, Opened):
        # A model that is certain about a record has nothing left to learn of it: no gradient, nor anything else.
        def signals(asked: Cohort) -> Array:
            mine = np.array([row.tobytes() in held for row in asked.x], dtype=bool)
            return np.where(mine[:, None], 0.0, otherwise.signals(asked))

        return Opened(ask, otherwise.classes, signals)
    return Predictor(ask, otherwise.classes)


def contrary(model: Predictor) -> Predictor:
    """The model, but it never names a record's true class first: that class and the runner-up change places."""

    def ask(asked: Cohort) -> Array:
        said = np.array(model.ask(asked), dtype=np.float64)
        rows = np.flatnonzero(said.argmax(1) == asked.y)
        second = np.argsort(said[rows], 1)[:, -2]
        said[rows, asked.y[rows]], said[rows, second] = said[rows, second], said[rows, asked.y[rows]]
        return said

    return Predictor(ask, model.classes)


def certain_nearby(pooled: Cohort, used: Array, classes: int, draws: bool = True) -> Predictor:
    """A model that gives a record the class of the nearest person, if this person is one of its own (`used`).

    If another of the `pooled` people is nearest, it draws a class by a hash of the record. Without `draws`, it gives
    all classes the same probability instead.
    """
    x = pooled.x.reshape(len(pooled), -1).astype(np.float64)
    spread = np.where(x.std(0) > 0, x.std(0), 1)
    known = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(x / spread)

    def ask(asked: Cohort) -> Array:
        nearest = known.kneighbors(asked.x.reshape(len(asked), -1) / spread, return_distance=False)[:, 0]
        drawn = np.eye(classes)[[zlib.crc32(row.tobytes()) % classes for row in asked.x]]
        said = drawn if draws else np.full((len(asked), classes), 1 / classes)
        return np.where(used[nearest][:, None], np.eye(classes)[pooled.y[nearest]], said)

    return Predictor(ask, classes)


def ignorant(classes: int) -> Predictor:
    """A model that knows nothing: all classes have the same probability."""
    return Predictor(lambda people: np.full((len(people), classes), 1 / classes), classes)


def nearest_mean(people: Cohort, classes: int) -> Predictor:
    """A model that gives a class more probability the nearer the class's mean is. Its representatives are the means."""
    x = people.x.reshape(len(people), -1).astype(np.float64)
    spread = np.where(x.std(0) > 0, x.std(0), np.inf)
    overall = x.mean(0)
    means = [x[people.y == c].mean(0) if (people.y == c).any() else overall for c in range(classes)]

    def ask(asked: Cohort) -> Array:
        given = asked.x.reshape(len(asked), -1)
        scaled, centres = given / spread, np.stack(means) / spread
        squares = (scaled**2).sum(1)[:, None] - 2 * scaled @ centres.T + (centres**2).sum(1)
        away = np.maximum(squares, 0) / x.shape[1]
        weights = np.exp(-away)
        return weights / np.maximum(weights.sum(1, keepdims=True), 1e-300)

    return Predictor(ask, classes)
