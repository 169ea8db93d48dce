"""Structural similarity: against its definition window by window, and with the range that was said."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.data import load_images
from testbed.judge.image_quality import ssim

RNG = np.random.default_rng(0)


def by_definition(one: np.ndarray, other: np.ndarray, data_range: float) -> float:
    """Wang et al. 2004, equation 13, one 11 x 11 window after the other."""
    at = np.arange(-5, 6)
    weight = np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    padded = [np.pad(p, 5, mode="symmetric") for p in (one, other)]
    values = []
    for i in range(one.shape[0]):
        for j in range(one.shape[1]):
            a, b = (p[i : i + 11, j : j + 11] for p in padded)
            ma, mb = (weight * a).sum(), (weight * b).sum()
            va, vb = (weight * (a - ma) ** 2).sum(), (weight * (b - mb) ** 2).sum()
            both = (weight * (a - ma) * (b - mb)).sum()
            c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
            values.append((2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_it_is_what_its_definition_says(data_range: float) -> None:
    one = RNG.random((14, 12))
    other = one + RNG.normal(0, 0.2, one.shape)
    assert ssim(one[None], other[None], data_range) == pytest.approx(by_definition(one, other, data_range), abs=1e-12)


def test_equal_pictures_are_one_and_noise_is_nearly_nought() -> None:
    pictures = load_images("mnist5k").x[:20]
    assert ssim(pictures[0], pictures[0], 1.0) == pytest.approx(1.0)
    noise = [ssim(p, RNG.random(p.shape), 1.0) for p in pictures]
    assert np.mean(noise) < 0.05
    # A range of 255 for pictures in [0, 1] makes noise look like anything: the defect that this argument keeps out.
    assert np.mean([ssim(p, RNG.random(p.shape), 255.0) for p in pictures]) > 0.9


def test_shapes_and_ranges_must_be_right() -> None:
    one = RNG.random((1, 12, 12))
    for other, data_range in ((one[:, :-1], 1.0), (one, 0.0), (one, float("nan"))):
        with pytest.raises(ValueError, match="must be"):
            ssim(one, other, data_range)
