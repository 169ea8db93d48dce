"""NumPy's own files: one array (.npy), as NumPy's format description (NEP 1) writes it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy

from testbed.subjects.artefacts import pickled
from testbed.subjects.artefacts.pickles import Reader, count_of, shaped
from testbed.subjects.artefacts.pieces import Limits, Piece, Where

LARGEST_HEADER = 100_000


def of_npy(data: bytes, around: pickled.Around, limits: Limits, holder: str = "", name: str = "") -> Iterator[Piece]:
    """The array of a .npy file; one of objects is a pickle, whose opcodes are read. Raises `ValueError`."""
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = cast(Any, npy).read_array_header_1_0(file, LARGEST_HEADER)
    elif version == (2, 0):
        shape, fortran, dtype = cast(Any, npy).read_array_header_2_0(file, LARGEST_HEADER)
    else:
        raise ValueError("a version of the format that is not read")
    where: Where = around.where
    if dtype.hasobject:
        yield from pickled.pieces(Reader(data[file.tell() :], limits).read(), around)
        return
    if dtype.itemsize * count_of(shape) > len(data):
        raise ValueError("an array longer than the file")
    piece = pickled.placed(shaped(data[file.tell() :], np.dtype(dtype), shape, fortran), where, holder, name)
    if piece is not None:
        yield piece
