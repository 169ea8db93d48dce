"""Unmixing a batch: a linear layer's gradient mixes its records, and mixtures are more Gaussian than records."""

from __future__ import annotations

import math
import warnings

import numpy as np
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from testbed import models
from testbed.attacks.inversion.updates import first_linear, gradients
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript

ROUNDING = 16 * float(np.finfo(np.float32).eps)
"""Singular values below this share of the largest one are rounding errors."""


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-003",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture"},
    position="server",
    reference="https://arxiv.org/abs/2209.05578",
    suits="linear",
    width=256,
)
def cocktail_party(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 500,
) -> Reconstruction:
    """Unmix the first linear layer's gradient by independent component analysis (Kariyappa et al. 2023).

    Threat model: a curious server that knows the architecture. The activation may be any, and a batch may hold as many
    records as the layer has neurons. Without a batch size, the gradient's rank is used. Pictures are unmixed by
    differences of neighbouring pixels, which are closer to independent than pixels. The bias is an input that is 1 for
    every record; it gives each record's scale and sign. The result is not exact: errors grow with the similarity of the
    records. Limits are the layer's width and the number of inputs.
    """
    width, network = math.prod(question.shape), models.known(view.model)
    sizes = dict(zip(question.keys, question.sizes, strict=True)) if question.sizes is not None else {}
    rebuilt: dict[tuple[int, int], Array] = {}
    seed = int(rng.integers(2**31))
    for key, _, gradient in gradients(view, question):
        weight, bias = first_linear(gradient, width, network)
        found = unmixed(weight, bias, question.shape, sizes.get(key), seed, iterations)
        rebuilt[key] = np.clip(found, question.low, question.high).reshape(-1, *question.shape)
    return Reconstruction(rebuilt)


def unmixed(weight: Array, bias: Array, shape: tuple[int, ...], size: int | None, seed: int, iterations: int) -> Array:
    """Records (k, width) unmixed from a layer's gradient: `weight` (neurons, width) and `bias` (neurons,)."""
    left, values, mixtures = np.linalg.svd(np.asarray(weight, dtype=np.float64), full_matrices=False)
    rank = int((values > values[0] * ROUNDING).sum()) if len(values) and values[0] > 0 else 0
    kept = rank if size is None else min(size, rank)
    if kept == 0:
        return np.empty((0, weight.shape[1]))
    mixtures = mixtures[:kept]
    ones = (left[:, :kept].T @ bias) / values[:kept]
    components = np.eye(1)
    if kept > 1:
        with warnings.catch_warnings():
            # Without convergence, the last step is still the best available result.
            warnings.simplefilter("ignore", ConvergenceWarning)
            analysis = FastICA(kept, whiten="unit-variance", max_iter=iterations, random_state=seed)
            components = analysis.fit(_independent(mixtures, shape).T).components_
    scales = components @ ones
    heard = np.abs(scales) > 1e-9 * max(float(np.abs(scales).max()), 1e-30)
    return (components @ mixtures)[heard] / scales[heard, None]


def _independent(mixtures: Array, shape: tuple[int, ...]) -> Array:
    """The values (k, m) of mixtures (k, n) that are nearly independent: for pictures, differences of neighbours."""
    if len(shape) != 3:
        return mixtures
    pictures = mixtures.reshape(len(mixtures), *shape)
    across, down = np.diff(pictures, axis=-1), np.diff(pictures, axis=-2)
    return np.concatenate([across.reshape(len(mixtures), -1), down.reshape(len(mixtures), -1)], 1)
