"""Quality of a reconstruction: PSNR of any record, SSIM of two pictures."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from scipy import ndimage as _ndimage

from testbed.core import Array

ndimage = cast(Any, _ndimage)  # SciPy ships no types

SIGMA, REACH = 1.5, 5
"""Standard deviation and half-width of the window of Wang et al. 2004: a Gaussian of 11 x 11 pixels."""

PSNR_CAP_DB = 160.0
"""The largest PSNR returned, beyond the precision of float32: an exact record must not make a mean infinite."""


def psnr(reconstructed: Array, record: Array, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB of a reconstruction, at most 160; it is clipped to [0, peak] first."""
    error = float(np.mean((np.clip(reconstructed, 0, peak) - record) ** 2, dtype=np.float64))
    return PSNR_CAP_DB if error <= 0 else min(PSNR_CAP_DB, float(10 * np.log10(peak**2 / error)))


def ssim(one: Array, other: Array, data_range: float) -> float:
    """Structural similarity of two pictures (channels, height, width), in [-1, 1], 1 if equal (Wang et al. 2004).

    The mean over all pixels and channels, with K1 = 0.01 and K2 = 0.03; at the border the picture is mirrored.
    `data_range` is the largest possible difference of two values. It is never guessed from the pictures, because a
    range that is too large makes noise look similar to a picture. Raises `ValueError` if the shapes differ, are not
    those of pictures, or the range is not above 0.
    """
    if np.shape(one) != np.shape(other) or np.ndim(one) != 3 or not data_range > 0:
        raise ValueError("both pictures must be (channels, height, width), and the data range above 0")
    parts: list[float] = []
    for a, b in zip(np.asarray(one, np.float64), np.asarray(other, np.float64), strict=True):
        mean_a, mean_b = _smooth(a), _smooth(b)
        variances = _smooth(a * a) - mean_a**2 + _smooth(b * b) - mean_b**2
        covariance = _smooth(a * b) - mean_a * mean_b
        light, contrast = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        top = (2 * mean_a * mean_b + light) * (2 * covariance + contrast)
        parts.append(float((top / ((mean_a**2 + mean_b**2 + light) * (variances + contrast))).mean()))
    return float(np.mean(parts))


def _smooth(x: Array) -> Array:
    return ndimage.gaussian_filter(x, SIGMA, radius=REACH)
