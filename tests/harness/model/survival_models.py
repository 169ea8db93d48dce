"""Survival models with the methods of scikit-survival's: one that learns by heart, and a Cox model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from testbed.core import Array
from testbed.core.randomness import keyed_rng
from testbed.subjects.predictors.survival import baseline

INPUTS = list("abcde")


class KernelCurves(BaseEstimator):
    """The survival curve of each person is the Kaplan-Meier curve of people weighted by how near they are (Beran 1981).

    It has the methods of scikit-survival's models: `predict` is a risk, and times are told with whether they ended.
    """

    def __init__(self, width: float = 0.1) -> None:
        self.width = width

    def fit(self, x: Any, y: Array) -> KernelCurves:
        order = np.argsort(y["time"])
        self.x_, self.ended_, self.time_ = np.asarray(x)[order], y["event"][order], y["time"][order]
        return self

    def predict_survival_function(self, x: Any, times: Array) -> Array:
        squares = ((np.asarray(x)[:, None] - self.x_[None]) ** 2).sum(2)
        weight = np.exp(-squares / (2 * self.width**2)) + 1e-6
        at_risk = weight[:, ::-1].cumsum(1)[:, ::-1]
        curve = np.cumprod(1 - self.ended_ * weight / at_risk, axis=1)
        before = np.searchsorted(self.time_, times, side="right")
        return np.concatenate([np.ones((len(curve), 1)), curve], 1)[:, before]

    def predict(self, x: Any) -> Array:
        return 1 - self.predict_survival_function(x, np.array([np.median(self.time_)]))[:, 0]


class Cox(BaseEstimator):
    """A Cox model with Breslow's baseline, by Newton's method. `predict` is the linear predictor."""

    def __init__(self, steps: int = 8) -> None:
        self.steps = steps

    def fit(self, x: Any, y: Array) -> Cox:
        order = np.argsort(-y["time"])
        z, ended = np.asarray(x, np.float64)[order], y["event"][order]
        self.coef_ = np.zeros(z.shape[1])
        for _ in range(self.steps):
            weight = np.exp(z @ self.coef_)
            total = weight.cumsum()[:, None]
            mean = (weight[:, None] * z).cumsum(0) / total
            square = (weight[:, None, None] * z[:, :, None] * z[:, None]).cumsum(0) / total[:, :, None]
            gradient = (z - mean)[ended].sum(0)
            curvature = (square - mean[:, :, None] * mean[:, None])[ended].sum(0)
            self.coef_ = self.coef_ + np.linalg.solve(curvature, gradient)
        self.known_ = np.column_stack([y["time"], y["event"]])
        self.weight_ = np.exp(np.asarray(x) @ self.coef_)
        return self

    def predict(self, x: Any) -> Array:
        return np.asarray(x, np.float64) @ self.coef_

    def predict_survival_function(self, x: Any, times: Array) -> Array:
        return np.exp(-np.exp(self.predict(x))[:, None] * baseline(self.weight_, self.known_, times))


class CoxRisk(BaseEstimator):
    """The same model, which answers with a risk alone."""

    def __init__(self) -> None:
        self.inner = Cox()

    def fit(self, x: Any, y: Array) -> CoxRisk:
        self.fitted_ = Cox().fit(x, y)
        return self

    def predict(self, x: Any) -> Array:
        return self.fitted_.predict(x)

    def predict_survival_function(self, x: Any) -> Array:
        raise ValueError("fitted for risks alone")


def patients(people: int, *key: object) -> pd.DataFrame:
    """People with five inputs, of which two matter, and about six in ten of whom have the event."""
    rng = keyed_rng(0, "patients", *key)
    x = rng.normal(size=(people, len(INPUTS)))
    time, censored = rng.exponential(np.exp(-x[:, 0] + 0.5 * x[:, 1])), rng.exponential(2, people)
    return pd.DataFrame(x, columns=pd.Index(INPUTS)).assign(
        time=np.minimum(time, censored), died=(time <= censored).astype(int)
    )


def fitted(model: Any, frame: pd.DataFrame) -> Any:
    """The model, trained on these people."""
    y = np.array(list(zip(frame["died"] == 1, frame["time"], strict=True)), dtype=[("event", bool), ("time", float)])
    return model.fit(frame[INPUTS], y)
