"""Stands in for Hugging Face's `datasets`: local records under the interface that Flower's example apps use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets as bundled

Columns = dict[str, Any]


class Dataset:
    """Columns of equal length. A transform gets a batch and returns a batch, also for a single record."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._transform: Callable[[Columns], Columns] | None = None
        self._format = ""

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def _rows(self, wanted: Any) -> Columns:
        batch = {name: values[wanted] for name, values in self._columns.items()}
        return self._transform(batch) if self._transform else batch

    def __getitem__(self, wanted: Any) -> Any:
        if isinstance(wanted, int):
            return {name: values[0] for name, values in self._rows(slice(wanted, wanted + 1)).items()}
        rows = self._rows(wanted)
        return pd.DataFrame(rows) if self._format == "pandas" else rows

    def __getitems__(self, wanted: Sequence[int]) -> list[Any]:
        rows = self._rows(np.asarray(wanted))
        return [{name: values[i] for name, values in rows.items()} for i in range(len(wanted))]

    def select(self, wanted: Any) -> Dataset:
        """The records at these places."""
        return Dataset({name: values[wanted] for name, values in self._columns.items()})

    def train_test_split(self, test_size: float, seed: int | None = None) -> DatasetDict:
        """A share of the records, drawn by the seed, apart from the others."""
        order = np.random.default_rng(seed).permutation(len(self))
        cut = round(len(self) * test_size)
        return DatasetDict(train=self.select(order[cut:]), test=self.select(order[:cut]))

    def with_transform(self, transform: Callable[[Columns], Columns]) -> Dataset:
        """The same records, transformed when they are asked for."""
        made = copy(self)
        made._transform = transform
        return made

    def with_format(self, kind: str) -> Dataset:
        """The same records; as `pandas`, a slice is a data frame."""
        made = copy(self)
        made._format = kind
        return made

    def set_format(self, kind: str) -> None:
        """Changes the format of this one."""
        self._format = kind


class DatasetDict(dict[str, Dataset]):
    """Parts of a data set by name."""

    def with_transform(self, transform: Callable[[Columns], Columns]) -> DatasetDict:
        """Each part with the transform."""
        return DatasetDict({name: part.with_transform(transform) for name, part in self.items()})


def _photographs(side: int = 32) -> Columns:
    """Squares of scikit-learn's two photographs; the class is the brightness in tenths."""
    squares: list[Any] = []
    for image in bundled.load_sample_images().images:
        rows, columns = (length // side for length in image.shape[:2])
        cut = image[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
        squares.extend(cut.swapaxes(1, 2).reshape(-1, side, side, 3))
    pictures = np.stack(squares)[np.random.default_rng(0).permutation(len(squares))]
    light = pictures.mean((1, 2, 3))
    return {"img": pictures, "label": np.searchsorted(np.quantile(light, np.arange(1, 10) / 10), light)}


def _flowers(names: Sequence[str]) -> Columns:
    iris: Any = bundled.load_iris()
    order = np.random.default_rng(0).permutation(len(iris.target))
    columns = dict(zip(names, iris.data[order].T, strict=True))
    return {**columns, "species": iris.target[order]}


def _patients() -> Columns:
    """Fourteen columns of patients, five of them words, in place of census records; `income` is whether they died."""
    from testbed.data.datasets.load import load_table

    words = ["sex", "dzgroup", "dzclass", "race", "ca"]
    numbers = ["age", "num.co", "scoma", "hday", "meanbp", "hrt", "resp", "temp", "sod"]
    table = load_table("support2")[[*words, *numbers, "death"]].dropna()
    table = table.iloc[np.random.default_rng(0).permutation(len(table))]
    columns: Columns = {name: table[name].to_numpy(object) for name in words}
    columns |= {name: table[name].to_numpy(float) for name in numbers}
    return {**columns, "income": np.where(table["death"] == 1, ">50K", "<=50K").astype(object)}


def _tumours() -> Columns:
    """28 measurements of breast tumours in place of collisions of particles."""
    tumours: Any = bundled.load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(tumours.target))
    return {"inputs": tumours.data[order, :28], "label": tumours.target[order]}


LOCAL: dict[str, Callable[[], Columns]] = {
    "uoft-cs/cifar10": _photographs,
    "hitorilabs/iris": lambda: _flowers(["sepal_length", "sepal_width", "petal_length", "petal_width"]),
    "scikit-learn/iris": lambda: _flowers(["SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm"]),
    "scikit-learn/adult-census-income": _patients,
    "jxie/higgs": _tumours,
}
"""The local records that stand in for each data set."""
TEST = 100
"""Records kept apart as the test set, at most a fifth."""


def records(name: str, test: bool) -> Dataset:
    """The records for training, or those of the test set."""
    whole = Dataset(LOCAL[name]())
    cut = min(TEST, len(whole) // 5)
    return whole.select(slice(0, cut) if test else slice(cut, None))


def load_dataset(name: str, split: str | None = None) -> Any:
    """One part of a data set, or both by name."""
    parts = {part: records(name, part == "test") for part in ("train", "test")}
    return DatasetDict(parts) if split is None else parts[split]
