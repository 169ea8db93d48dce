"""The perceptual distance: its network knows things in photographs, and the distance grows as pictures differ."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from scenarios.curious_server import curious_server
from testbed.core import Array
from testbed.core.errors import InputError
from testbed.data import load_images
from testbed.data.datasets import weights, wheels
from testbed.data.datasets.load import picture
from testbed.data.datasets.registry import dataset
from testbed.judge.perceptual import class_scores, perceptual_distances

RNG = np.random.default_rng(0)
EGYPTIAN_CAT, ESPRESSO, MOPED = 285, 967, 665


@pytest.fixture(scope="module")
def photographs() -> dict[str, Array]:
    crops = dataset("crops")
    assert crops.wheel is not None
    made: dict[str, Array] = {}
    for name, content in wheels.files(crops.wheel, crops.path + "*").items():
        if Path(name).stem in ("chelsea", "coffee", "motorcycle_left"):
            full = picture(content)
            side = min(full.size)
            left, top = ((s - side) // 2 for s in full.size)
            small = full.crop((left, top, left + side, top + side)).resize((224, 224))
            made[Path(name).stem] = np.asarray(small, np.float32).transpose(2, 0, 1) / 255
    return made


def test_the_network_knows_what_is_in_a_photograph(photographs: dict[str, Array]) -> None:
    """Weights read into the wrong place, a wrong padding or scale would not name a cat, a cup and a moped."""
    names = ("chelsea", "coffee", "motorcycle_left")
    scores = class_scores(np.stack([photographs[n] for n in names]))
    assert scores.argmax(1).tolist() == [EGYPTIAN_CAT, ESPRESSO, MOPED]


def test_it_grows_with_what_is_added_and_is_nought_for_itself(photographs: dict[str, Array]) -> None:
    pictures = np.stack(list(photographs.values()))
    noise = RNG.normal(size=pictures.shape)
    found = [perceptual_distances(pictures, np.clip(pictures + s * noise, 0, 1)) for s in (0.0, 0.02, 0.1, 0.4)]
    assert found[0].max() == 0
    for less, more in pairwise(found):
        assert (less < more).all()
    others = perceptual_distances(pictures, np.roll(pictures, 1, 0))
    assert (others > found[1]).all()
    assert (others <= 4).all()


def test_of_handwriting_it_says_little() -> None:
    """What docs/statistics.md warns of: noise looks farther than somebody else's digit, PSNR and SSIM disagree."""
    digits = load_images("mnist5k").x[:8]
    noisy = np.clip(digits + RNG.normal(0, 0.15, digits.shape), 0, 1)
    other = np.roll(digits, 1, 0)
    assert np.median(perceptual_distances(digits, noisy)) > np.median(perceptual_distances(digits, other))
    assert np.mean((digits - noisy) ** 2) < np.mean((digits - other) ** 2)


def test_a_report_holds_it_where_it_was_asked_for() -> None:
    for asked in (False, True):
        made = curious_server(data="digits", clients=2, rounds=2, perceptual=asked).conduct("in-process", print, None)
        names = [s.name for s in made.findings[0].series]
        assert ("Perceptual distance of reconstructions" in names) is asked
        assert "SSIM of reconstructions" in names


def test_one_channel_stands_for_three() -> None:
    grey = load_images("digits").x[:3]
    coloured = np.repeat(grey, 3, 1)
    one, three = (perceptual_distances(x, np.roll(x, 1, 0)) for x in (grey, coloured))
    assert one == pytest.approx(three, rel=1e-6)


def test_shapes_must_be_those_of_pictures() -> None:
    pictures = RNG.random((2, 3, 8, 8))
    for one, other in ((pictures, pictures[:1]), (pictures[0], pictures[0]), (pictures[:, :2], pictures[:, :2])):
        with pytest.raises(ValueError, match="must be"):
            perceptual_distances(one, other)


def test_a_damaged_copy_of_the_weights_is_fetched_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    kept = weights.fetch()
    assert kept is not None
    good = kept.read_bytes()
    kept.write_bytes(good[:-1])
    assert weights.fetch() == kept
    assert kept.read_bytes() == good

    def offline(*_: object) -> dict[str, bytes]:
        raise InputError("TB-DATA-010", "w", "w", "f")

    monkeypatch.setattr(wheels, "files", offline)
    assert weights.fetch() == kept
    kept.write_bytes(b"")
    with pytest.raises(InputError):
        weights.load()
