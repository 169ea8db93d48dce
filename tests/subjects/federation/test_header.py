"""The form of a transcript's header, its versions, and files that are damaged in every way."""

from __future__ import annotations

import json
import resource
from collections import Counter
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from testbed.core import Exchange, Protocol, Transcript
from testbed.core.errors import InputError, TestbedError, UsageError
from testbed.harness.federation.replay import replay
from testbed.subjects.federation import header, transcript
from testbed.subjects.federation.federation import Federation
from tests.conftest import ROOT
from tests.subjects.federation.damages import (
    KINDS,
    closed,
    cut,
    damaged,
    missing,
    nested,
    of_another_type,
    opened,
    overwritten,
    renamed,
)
from tests.subjects.federation.test_engine import SPEC, parts, protocol


@pytest.fixture(scope="module")
def whole() -> bytes:
    return transcript.to_bytes(recorded())


def recorded() -> Transcript:
    return Federation(SPEC, protocol(), 3).run(parts())


def test_a_header_follows_its_schema(whole: bytes) -> None:
    described, _ = opened(whole)
    jsonschema.Draft202012Validator(header.schema()).validate(described)
    described["protocol"]["learning-rate"] = 1.0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(header.schema()).validate(described)


def test_the_documented_schema_is_the_one_that_is_checked() -> None:
    written = json.loads((ROOT / "docs" / "transcript.schema.json").read_text(encoding="utf-8"))
    assert written == header.schema()


def test_a_newer_version_is_refused_by_its_number(whole: bytes, tmp_path: Path) -> None:
    described, tensors = opened(whole)
    newer = described | {"format": "testbed.transcript/7", "exchanges": "stored elsewhere"}
    (tmp_path / "t").write_bytes(closed(json.dumps(newer), tensors))
    with pytest.raises(InputError, match=r"TB-TRANSCRIPT-002.* version 7"):
        transcript.read(tmp_path / "t")


def test_a_header_without_later_fields_and_digests_is_read(whole: bytes, tmp_path: Path) -> None:
    """Files of the first days, and of other programs, may lack what has a default, and name tensors freely."""
    described, tensors = opened(whole)
    for name in ("act", "memory", "final", "position"):
        del described[name]
    names = {old: f"tensor {i}" for i, old in enumerate(tensors)}
    text = json.dumps(described)
    for old, new in names.items():
        text = text.replace(old, new)
    (tmp_path / "t").write_bytes(closed(text, {names[k]: v for k, v in tensors.items()}))
    read, before = transcript.read(tmp_path / "t"), recorded()
    assert [e.key for e in read.exchanges] == [e.key for e in before.exchanges]
    for name, values in (before.exchanges[0].sent or {}).items():
        np.testing.assert_array_equal((read.exchanges[0].sent or {})[name], values)


def test_a_tensor_that_was_changed_is_noticed(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="TB-TRANSCRIPT-003"):
        transcript.read(tmp_path / "t")


def test_an_error_names_the_field_and_no_value(whole: bytes, tmp_path: Path) -> None:
    described, tensors = opened(whole)
    described["exchanges"][1]["metrics"]["Zanzibarwort"] = "Zanzibarwort"
    (tmp_path / "t").write_bytes(closed(json.dumps(described), tensors))
    with pytest.raises(InputError, match=r"wrong at exchanges\.1\.metrics\.") as refused:
        transcript.read(tmp_path / "t")
    assert "Zanzibarwort" not in str(refused.value)


def test_a_damaged_file_is_read_or_refused_in_words(whole: bytes, tmp_path: Path) -> None:
    assert sum(refused(whole, number, tmp_path) for number in range(300)) > 200


@pytest.mark.slow
def test_a_thousand_damaged_files_are_read_or_refused_in_words(whole: bytes, tmp_path: Path) -> None:
    """Some kinds of damage leave a file that can be read; those that destroy it are always refused."""
    outcomes = [refused(whole, number, tmp_path) for number in range(1_000)]
    destroying = {cut, overwritten, nested, renamed, missing, of_another_type}
    assert all(was for number, was in enumerate(outcomes) if KINDS[number % len(KINDS)] in destroying)
    assert sum(outcomes) > 600


@pytest.mark.parametrize("files", [30, pytest.param(1_000, marks=pytest.mark.slow)])
def test_replays_of_damaged_files_end_in_words_too(whole: bytes, tmp_path: Path, files: int) -> None:
    """Damage that leaves a file readable may still be a model or a protocol that no attack can use."""
    ended: Counter[str] = Counter()
    for number in range(files):
        (tmp_path / "t").write_bytes(damaged(whole, number))
        for attack, params in (("analytic_linear", []), ("cosine_tv", ["iterations=1"])):
            try:
                replay(tmp_path / "t", attack, pairs=params)
                ended["replayed"] += 1
            except TestbedError as error:  # anything else is a defect of the testbed
                ended[error.id] += 1
    assert ended["replayed"] > files / 5
    assert ended["TB-TRANSCRIPT-001"] > files / 2


def refused(whole: bytes, number: int, folder: Path) -> bool:
    (folder / "t").write_bytes(damaged(whole, number))
    try:
        transcript.read(folder / "t")
    except InputError:
        return True
    return False


def test_a_file_that_cannot_be_written_whole_leaves_the_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    """The system ends the write midway, as a full disk does."""
    path = tmp_path / "t"
    transcript.write(path, recorded())
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(UsageError, match="TB-TRANSCRIPT-004"):
            transcript.write(path, recorded())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="TB-TRANSCRIPT-004"):
        transcript.write(tmp_path / "file" / "t", recorded())


@pytest.mark.parametrize("kind", ["O", "U3", "c8", "g", "M8[s]"])
def test_arrays_of_other_things_than_plain_numbers_are_not_written(kind: str, tmp_path: Path) -> None:
    odd = Exchange(1, 0, {"w": np.zeros(2, kind)}, None)
    with pytest.raises(UsageError, match="TB-TRANSCRIPT-005"):
        transcript.write(tmp_path / "t", Transcript((odd,), None, Protocol()))
    assert list(tmp_path.iterdir()) == []


def test_arrays_in_another_order_of_bytes_keep_their_values(tmp_path: Path) -> None:
    seen = Exchange(1, 0, {"w": np.arange(6, dtype=">f4").reshape(2, 3).T}, None)
    transcript.write(tmp_path / "t", Transcript((seen,), None, Protocol()))
    read = transcript.read(tmp_path / "t").exchanges[0].sent or {}
    np.testing.assert_array_equal(read["w"], np.arange(6).reshape(2, 3).T)
