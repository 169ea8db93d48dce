"""Real data sets, from the very wheels that were registered."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from testbed import data
from testbed.core.errors import InputError, UsageError
from testbed.data import cohorts
from testbed.data.datasets import load, wheels
from testbed.data.datasets.registry import Wheel
from testbed.data.splits import split_people


def test_unknown_names_are_refused_with_close_ones() -> None:
    with pytest.raises(UsageError, match="support2"):
        data.dataset("suport2")
    with pytest.raises(UsageError, match="TB-DATA-002"):
        data.load_images("support2")


def test_every_entry_says_whose_it_is() -> None:
    for entry in data.datasets():
        assert entry.licence
        assert entry.provenance
        assert entry.data_class == "public"
        assert entry.wheel is None or len(entry.wheel.sha256) == 64


def made_wheel(folder: Path) -> tuple[Path, Wheel]:
    import hashlib

    path = folder / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/data.csv", "a,b\n1,2\n")
    return path, Wheel("thing", "1", hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_wheel_is_read_without_installing_it(tmp_path: Path) -> None:
    path, wheel = made_wheel(tmp_path)
    wheels.verify(path, wheel)
    assert wheels.read(path, "thing/*.csv", wheel) == {"thing/data.csv": b"a,b\n1,2\n"}
    with pytest.raises(InputError, match="TB-DATA-013"):
        wheels.read(path, "thing/other.csv", wheel)


def test_a_truncated_wheel_is_refused(tmp_path: Path) -> None:
    path, wheel = made_wheel(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="TB-DATA-011"):
        wheels.verify(path, wheel)
    with pytest.raises(InputError, match="TB-DATA-012"):
        wheels.read(path, "*", wheel)


def test_a_damaged_cache_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    entry = data.dataset("heart")
    load._path(entry).write_bytes(b"damaged")
    monkeypatch.setattr(wheels, "files", lambda *_: {"x.csv": b"id,dataset,num\n1,A,0\n2,B,1\n"})
    assert data.load_table("heart")["num"].tolist() == [0, 1]
    assert load._path(entry).read_bytes() != b"damaged"


def test_the_hospitals_of_heart_are_real_and_four() -> None:
    table = data.load_table("heart")
    assert len(table) == 920
    assert table["dataset"].nunique() == 4
    known = cohorts.source("heart")
    assert known.sites is not None
    assert known.people.x.min() >= 0
    assert known.people.x.max() <= 1


def test_support2_is_whole() -> None:
    table = data.load_table("support2")
    assert table.shape == (9105, 48)
    assert table["sno"].is_unique


def test_people_with_several_visits_stay_together() -> None:
    for name, people in (("framingham", 4434), ("pbc2", 312)):
        table, person = data.load_table(name), data.dataset(name).person
        assert person is not None
        assert table[person].nunique() == people < len(table)
        parts = split_people(table, {"a": 0.5, "b": 0.5}, person, seed=1)
        assert not set(parts["a"][person]) & set(parts["b"][person])
        assert len(parts["a"]) + len(parts["b"]) == len(table)


def test_equal_rows_of_thyroid_are_one_person() -> None:
    table = data.load_table("thyroid")
    assert len(table) == 9172
    assert table["patient_id"].nunique() == 9162
    assert table["age"].max() > 65000  # kept as it is; see the notes


def test_digits_and_breast_cancer_need_no_fetch() -> None:
    assert data.fetch("digits") is None
    assert data.load_images("digits").x.shape == (1797, 1, 8, 8)
    assert data.load_table("breast-cancer").shape == (569, 31)


def test_groups_are_filled_by_whole_persons() -> None:
    from testbed.core import Cohort

    people = Cohort(np.zeros((90, 2), np.float32), np.zeros(90, np.int64), np.repeat(np.arange(30), 3).astype(str))
    groups = cohorts.divide(people, {"a": 20, "b": 31}, np.random.default_rng(0))
    persons = {k: set(people.persons[v].tolist()) for k, v in groups.items()}
    assert not persons["a"] & persons["b"]
    assert len(groups["a"]) == 21
    with pytest.raises(UsageError, match="TB-SPLIT-010"):
        cohorts.divide(people, {"a": 80, "b": 31}, np.random.default_rng(0))


@pytest.mark.parametrize("kwargs", [{"a": 0.7, "b": 0.7}, {"a": 0.0, "b": 0.5}])
def test_fractions_that_overlap_or_are_empty_are_refused(kwargs: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="TB-SPLIT-003"):
        split_people(data.load_table("breast-cancer"), kwargs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("crops", (3308, 3, 32, 32)),
        ("cifar-samples", (20, 3, 32, 32)),
        ("imagenet-samples", (20, 3, 512, 512)),
        ("mnist5k", (5000, 1, 28, 28)),
    ],
)
def test_pictures(name: str, shape: tuple[int, ...]) -> None:
    images = data.load_images(name)
    assert images.x.shape == shape
    assert images.x.min() >= 0
    assert images.x.max() <= 1


@pytest.mark.slow
def test_texts() -> None:
    assert len(data.load_texts("lee-background").texts) == 300
