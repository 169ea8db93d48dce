"""Diagnostics against hand-worked tables, and the bias of a peer's closeness score that ours does not share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.data.tables.encode import encode
from testbed.harness.release.closeness import closer_share, disclosive, replicated_uniques
from testbed.harness.release.evaluate import evaluate
from tests.conftest import Thirds


def with_an_outlier(n: int, seed: int, outlier: bool) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    if outlier:
        frame.iloc[0] = 100.0
    return frame


def test_one_outlier_in_the_original_does_not_make_a_release_seem_nearer_to_it() -> None:
    # SDMetrics scales the distances to either real table by that table's own range.
    original, control = with_an_outlier(400, 1, True), with_an_outlier(400, 2, False)
    release = with_an_outlier(400, 3, False)
    frames = encode(original, release, control)
    assert frames.control is not None
    ours = closer_share(frames.synthetic, frames.original, frames.control, 0)
    assert 0.42 < ours.value < 0.58
    sdmetrics = pytest.importorskip("sdmetrics.single_table")
    metadata = {"tables": {"t": {"columns": {c: {"sdtype": "numerical"} for c in "abcd"}}}}
    theirs = sdmetrics.DCROverfittingProtection.compute_breakdown(original, release, control, metadata, "t")
    assert theirs["synthetic_data_percentages"]["closer_to_training"] > 0.9


def test_copies_are_nearer_and_larger_tables_are_not(hospital: Thirds) -> None:
    for release, low, high in ((hospital.leaky(0.6), 0.6, 0.8), (hospital.fresh, 0.45, 0.55)):
        frames = encode(hospital.original, release, hospital.control.head(350))
        assert frames.control is not None
        assert low < closer_share(frames.synthetic, frames.original, frames.control, 0).value < high


KEYS = ("sex", "ward")


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    people = pd.DataFrame({"sex": list("fmfmf"), "ward": list("AABBC"), "ill": list("xyxyx")})
    release = pd.DataFrame({"sex": list("ffmfm"), "ward": list("AABBB"), "ill": list("xxyyx")})
    return people, release


def test_replicated_uniques_by_hand() -> None:
    people, release = tables()
    frames = encode(people, release)
    # All five are unique by sex and ward; of these the release holds (f, B) once, (m, B) twice, (f, A) twice.
    assert replicated_uniques(frames.synthetic, frames.original, KEYS).value == pytest.approx(1 / 5)
    # One more of (f, A): three are unique, and of all six people (f, B) alone is unique in both.
    more = encode(pd.concat([people, people.head(1)]), release)
    assert replicated_uniques(more.synthetic, more.original, KEYS).value == pytest.approx(1 / 6)


def test_disco_by_hand() -> None:
    frames = encode(*tables())
    # (f, A) -> x, rightly; (f, B) -> y, wrongly; (m, B) -> x and y, so nothing; the others are not in the release.
    assert disclosive(frames.synthetic, frames.original, KEYS, "ill").value == pytest.approx(1 / 5)


def test_they_inform_and_never_decide(hospital: Thirds) -> None:
    done = evaluate(hospital.original, hospital.fresh, hospital.control, attacks=100)
    names = {"distance_to_closest_record", "replicated_uniques", "disco"}
    shown = [f for f in done.result.findings if f.attack.name in names]
    assert {f.attack.name for f in shown} == names
    assert not any(f.primary for f in shown)
