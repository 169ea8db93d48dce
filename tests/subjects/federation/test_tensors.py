"""Tensors in a file: the library's form byte for byte, and arrays that are read when they are used."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from testbed.core.errors import InputError
from testbed.subjects.federation import tensors
from testbed.subjects.federation.tensors import Place

KINDS = sorted(tensors.NAMES, key=str)


def some() -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """An array of each type and of several shapes, by its digest."""
    rng = np.random.default_rng(0)
    shapes = ((2, 3), (0,), (5,), (1, 0, 2), (1,), ())
    made = [np.asarray(rng.integers(0, 2, shape)).astype(kind) for kind in KINDS for shape in shapes]
    return {tensors.digest(a): a for a in made}


def test_a_file_is_what_the_library_writes() -> None:
    texts = {"testbed": '{"a": "\\u00e9 \\"quoted\\" / \\n"}'}
    written = b"".join(tensors.file_with(texts, some()))
    assert written == save(some(), texts)


def test_tensors_of_another_file_are_copied_to_the_same_bytes(tmp_path: Path) -> None:
    arrays, path = some(), tmp_path / "source"
    places: dict[str, Place] = {}
    with path.open("wb") as file:
        for name, array in arrays.items():
            file.write(b"between")
            places[name] = Place(array.dtype, array.shape, file.tell())
            file.write(tensors.content(array))
    with path.open("rb") as source:
        assert b"".join(tensors.file_of({"testbed": "{}"}, places, source)) == save(arrays, {"testbed": "{}"})


def test_arrays_are_read_when_they_are_used_and_cannot_be_changed(tmp_path: Path) -> None:
    array = np.arange(2_000_000, dtype=np.float64)
    path = tmp_path / "t"
    tensors.put(path, tensors.file_with({}, {tensors.digest(array): array}))
    tracemalloc.start()
    try:
        _, places = tensors.opened(path)
        with path.open("rb") as file:
            tensors.checked(file, places)
            (read,) = tensors.mapped(file, places).values()
        path.unlink()
        assert tracemalloc.get_traced_memory()[1] < array.nbytes / 4
    finally:
        tracemalloc.stop()
    assert read[-1] == 1_999_999
    with pytest.raises(ValueError, match="read-only"):
        read[0] = 1


def test_a_changed_tensor_is_noticed_wherever_it_lies(tmp_path: Path) -> None:
    array, path = np.zeros(3_000_000, np.uint8), tmp_path / "t"
    tensors.put(path, tensors.file_with({}, {tensors.digest(array): array}))
    whole = bytearray(path.read_bytes())
    whole[-1] = 1
    path.write_bytes(whole)
    _, places = tensors.opened(path)
    with path.open("rb") as file, pytest.raises(InputError, match="TB-TRANSCRIPT-003"):
        tensors.checked(file, places)


def test_a_single_number_keeps_its_shape(tmp_path: Path) -> None:
    """Batch normalisation counts its batches in one, and a model refuses an array of one instead."""
    counted = tensors.plain(np.array(7))
    assert counted.shape == ()
    tensors.put(tmp_path / "t", tensors.file_with({}, {tensors.digest(counted): counted}))
    _, places = tensors.opened(tmp_path / "t")
    with (tmp_path / "t").open("rb") as file:
        (read,) = tensors.mapped(file, places).values()
    assert (read.shape, int(read)) == ((), 7)
