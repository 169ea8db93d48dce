"""Generated patients: the label can be read from an exact picture, and from nothing else."""

from __future__ import annotations

import numpy as np

from testbed.range.patients import FLAGGED, LENGTH, LETTERS, SHAPE, glyph, labels, patients, read_label


def test_a_label_is_read_from_its_picture_and_from_a_noisy_one() -> None:
    rng = np.random.default_rng(0)
    shown = labels(50, rng)
    people = patients([str(i) for i in range(50)], shown, rng)
    assert people.x.shape == (50, *SHAPE)
    assert people.x.min() >= 0
    assert people.x.max() <= 1
    assert [read_label(x) for x in people.x] == shown
    assert [read_label(x + rng.normal(0, 0.2, SHAPE)) for x in people.x] == shown


def test_the_average_picture_shows_nobodys_label() -> None:
    rng = np.random.default_rng(1)
    shown = labels(200, rng)
    people = patients([str(i) for i in range(200)], shown, rng)
    assert read_label(people.x.mean(0)) not in shown


def test_signs_differ_by_enough_to_be_read() -> None:
    apart = [float(((glyph(a) - glyph(b)) ** 2).sum()) for a in LETTERS for b in LETTERS if a < b]
    assert min(apart) >= 3


def test_labels_are_different_and_no_label_is_taken_for_a_flag() -> None:
    shown = labels(500, np.random.default_rng(2))
    assert len(set(shown)) == 500
    assert {len(label) for label in shown} == {LENGTH}
    assert not [label for label in shown if label.startswith(FLAGGED)]
    assert all(label.startswith(FLAGGED) for label in labels(50, np.random.default_rng(2), FLAGGED))
