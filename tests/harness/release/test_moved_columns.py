"""A release in other units, with constants added or categories renamed never passes: nobody could be found in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.harness.release.evaluate import evaluate
from tests.conftest import Thirds

FLAG = "columns_moved"


def flags(original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame) -> tuple[str, set[str]]:
    result = evaluate(original, synthetic, control, data_class="synthetic", attacks=200).result
    return result.decision.verdict, {flag for f in result.findings for flag in f.validity.flags}


def moved(frame: pd.DataFrame, **change: Callable[[pd.Series], pd.Series]) -> pd.DataFrame:
    return frame.assign(**{name: f(frame[name]) for name, f in change.items()})


@pytest.mark.parametrize(
    "change",
    [
        {"pressure": lambda v: v + 60},
        {"pressure": lambda v: v * 0.133},
        {"age": lambda v: (v - v.mean()) / v.std()},
        {"diagnosis": lambda v: v.map(dict(zip("ABCDE", "VWXYA", strict=True)))},
    ],
    ids=["a constant added", "other units", "standardised", "renamed but for one"],
)
def test_members_in_other_units_or_words_do_not_pass(
    change: dict[str, Callable[[pd.Series], pd.Series]], hospital: Thirds
) -> None:
    verdict, told = flags(hospital.original, moved(hospital.original, **change), hospital.control)
    assert verdict != "pass"
    assert FLAG in told


@pytest.mark.parametrize("seed", range(3))
def test_fresh_people_and_noise_within_the_scale_raise_no_flag(seed: int, hospital: Thirds) -> None:
    rng = np.random.default_rng(seed)
    noisy = moved(hospital.fresh, pressure=lambda v: (v + rng.normal(0, 5, len(v))).round(1))
    for release in (hospital.fresh, noisy, hospital.fresh.sample(80, random_state=seed)):
        assert FLAG not in flags(hospital.original, release, hospital.control)[1]
