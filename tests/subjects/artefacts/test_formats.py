"""Formats whose own libraries are not needed: ONNX and R, written here by hand from their descriptions."""

from __future__ import annotations

import struct

import numpy as np

from testbed.subjects.artefacts import formats, onnx_file, r_objects
from testbed.subjects.artefacts.pieces import Cells, Grid, Text

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def message(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return bytes([number << 3]) + bytes([content])
    size = len(content)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7]) + content


def test_tensors_support_vectors_and_metadata_of_onnx_are_read() -> None:
    tensor = message(1, 4) + message(1, 3) + message(2, 1) + message(9, X.tobytes())
    floats = b"".join(bytes([7 << 3 | 5]) + struct.pack("<f", v) for v in X.ravel())
    vectors = message(1, b"support_vectors") + floats
    counts = message(1, b"vectors_per_class") + message(8, 2) + message(8, 2)
    node = message(4, b"SVMClassifier") + message(5, vectors) + message(5, counts)
    told = message(14, message(1, b"author") + message(2, b"somebody"))
    data = message(1, 8) + told + message(7, message(1, node) + message(5, tensor))
    assert formats.of(message(1, 8) + message(2, b"maker") + data[2:]) == "ONNX"
    pieces = list(onnx_file.pieces(data, ()))
    grids = {p.name: p.values for p in pieces if isinstance(p, Grid)}
    np.testing.assert_array_equal(grids[""], X)
    np.testing.assert_array_equal(grids["support_vectors"], X)
    assert any("somebody" in p.text for p in pieces if isinstance(p, Text))


def whole(*values: int) -> bytes:
    return struct.pack(f">{len(values)}i", *values)


def letters(text: str) -> bytes:
    return whole(0x00040009, len(text)) + text.encode()


def words(*texts: str) -> bytes:
    return whole(16, len(texts)) + b"".join(map(letters, texts))


def tagged(name: str, value: bytes) -> bytes:
    return whole(0x402, 1) + letters(name) + value


def test_a_data_frame_of_r_is_read_with_its_factors_and_gaps() -> None:
    age = whole(13, 3, 41, 52, -(2**31))
    crp = whole(14, 3) + struct.pack(">3d", 1.5, 2.5, 3.5)
    sex = whole(0x30D, 3, 1, 2, 1) + tagged("levels", words("F", "M")) + whole(254)
    frame = whole(0x313, 3) + age + crp + sex + tagged("names", words("age", "crp", "sex")) + whole(254)
    data = b"X\n" + whole(2, 0x30500, 0x20300) + frame
    assert formats.of(data) == "R"
    tables = [p.columns for p in r_objects.pieces(data, ()) if isinstance(p, Cells) and len(p.columns) == 3]
    assert tables == [[[41, 52, None], [1.5, 2.5, 3.5], ["F", "M", "F"]]]
