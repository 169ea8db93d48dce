"""One odd cell in a column, or a code for missing in some per cent of cells, moves no deciding figure of a release."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release
from testbed.data.tables.encode import encode
from testbed.findings.schema import Estimate, Finding
from testbed.harness.release import attribute_inference, membership
from testbed.harness.release.linkability import linkability
from testbed.harness.release.setting import Setting

LABS = {"hb": (132, 15, 0), "plt": (250, 60, 0), "wbc": (7.5, 2, 1), "alb": (40, 4, 0)}
MOVED = 0.03
"""Of a standard deviation: the noise on each released person's labs."""


def people(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.normal(mean, sd, n).round(d + 1) for name, (mean, sd, d) in LABS.items()})


def moved(frame: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(9)
    return frame + pd.DataFrame({n: rng.normal(0, MOVED * sd, len(frame)).round(2) for n, (_, sd, _) in LABS.items()})


def deciding(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> dict[str, Finding]:
    frames = encode(original, release, control)
    setting = Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)
    found = [
        linkability(setting, ())[0].finding,
        attribute_inference.attribute_inference(setting, ["hb", "plt"]).judged[0].finding,
    ]
    return {f.risk: f for f in [*found, membership.membership(setting)[0].finding]}


@pytest.fixture(scope="module")
def clean() -> dict[str, Finding]:
    original, control = people(500, 1), people(2000, 2)
    return deciding(original, moved(original), control)


def odd_cells(frame: pd.DataFrame, value: float) -> pd.DataFrame:
    frame = frame.copy()
    for i, name in enumerate(LABS):
        frame.loc[i, name] = value
    return frame


def coded(frame: pd.DataFrame, share: float, value: float) -> pd.DataFrame:
    holes = np.random.default_rng(5).random((len(frame), len(LABS))) < share
    return frame.mask(holes, value)


CHANGES = {
    "one 999999 in each column of each table": (lambda o, s, c: tuple(odd_cells(t, 999999) for t in (o, s, c)), 0.0),
    "one -1e9 in each column of the release alone": (lambda o, s, c: (o, odd_cells(s, -1e9), c), 0.0),
    "one 5000 in each column of the original alone": (lambda o, s, c: (odd_cells(o, 5000), s, c), 0.0),
    "99999 in 1 %": (lambda o, s, c: tuple(coded(t, 0.01, 99999) for t in (o, s, c)), 0.01),
    "-9 in 4 %": (lambda o, s, c: tuple(coded(t, 0.04, -9) for t in (o, s, c)), 0.04),
}
"""What is done to original, release and control, and the share of cells that say nothing afterwards."""


@pytest.mark.parametrize("name", CHANGES)
def test_no_deciding_figure_moves_by_more_than_its_sampling(name: str, clean: dict[str, Finding]) -> None:
    change, empty = CHANGES[name]
    original, control = people(500, 1), people(2000, 2)
    lost = 1 - (1 - empty) ** len(LABS)  # people with an empty cell, who may be lost to an attack
    for risk, finding in deciding(*change(original, moved(original), control)).items():
        before, now = clean[risk].excess, finding.excess
        assert isinstance(before, Estimate)
        assert isinstance(now, Estimate)
        assert before.low - lost <= now.value <= before.high, risk


@pytest.mark.parametrize("share", [0.07, 0.15])
def test_a_code_reads_as_the_empty_cells_that_it_stands_for(share: float) -> None:
    original, control = people(500, 1), people(2000, 2)
    tables = (original, moved(original), control)
    codes, empty = (deciding(*(coded(t, share, v) for t in tables)) for v in (99999.0, np.nan))
    for risk in codes:
        assert codes[risk].excess == empty[risk].excess
