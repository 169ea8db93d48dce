"""Counts of classes in a batch, computed from the last layer's bias gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from testbed.core import Array


def label_counts(
    model: nn.Module,
    parameters: dict[str, torch.Tensor],
    bias_gradient: Array,
    size: int,
    inputs: torch.Tensor,
    *,
    shrunken: bool = False,
) -> Array:
    """Counts of the classes (classes,) that sum to `size`, rounded by the largest remainder.

    For cross-entropy, dL/db = mean(p) - counts / B. The batch's mean prediction is unknown; the mean prediction for
    `inputs` (auxiliary records, or noise) replaces it, which is nearly exact for an untrained network.

    If a defence may have `shrunken` the gradient, it is first enlarged. For a class that no record has, dL/db is its
    mean prediction, so the factor is the median of their ratio over the classes with a positive gradient.
    """
    with torch.no_grad():
        predicted = torch.func.functional_call(model, parameters, (inputs,)).softmax(1).mean(0).cpu().numpy()
    absent = bias_gradient > 0
    if shrunken and absent.any():
        bias_gradient = bias_gradient * max(1.0, float(np.median(predicted[absent] / bias_gradient[absent])))
    expected = np.clip(size * (predicted.astype(np.float64) - bias_gradient), 0, None)
    # If noise makes all counts zero or less, only the mean prediction is left.
    expected = expected * size / expected.sum() if expected.sum() > 1e-12 * size else predicted * size
    counts = np.floor(expected).astype(int)
    order = np.argsort(-(expected - counts), kind="stable")
    counts[order[: size - counts.sum()]] += 1
    return counts
