"""A scan finds planted rows in every kind of file, none of other people, and runs nothing of what it reads."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from testbed.harness.artefact import nearby, originals, rows
from testbed.harness.artefact.originals import Original
from testbed.harness.artefact.scan import Scanned, scan
from testbed.subjects.artefacts.pieces import Limits
from tests.cli.test_cli import invoke

MEASURED = ["age", "crp", "weight", "sodium", "albumin", "glucose", "urea", "calcium"]


def people(seed: int = 0, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "name": [f"Canary{seed}x{i} Woodberg" for i in range(n)],
            "born": [f"{1930 + i % 60}-{1 + i % 12:02}-{1 + i % 28:02}" for i in rng.permutation(n)],
            "sex": rng.choice(["F", "M"], n),
            "age": rng.integers(20, 95, n),
            "crp": rng.lognormal(2, 1, n).round(2),
            "weight": rng.normal(75, 14, n).round(1),
            "sodium": rng.normal(139, 4, n).round(2),
            "albumin": rng.normal(38, 5, n).round(2),
            "glucose": rng.normal(6, 1, n).round(2),
            "urea": rng.normal(5, 2, n).round(2),
            "calcium": rng.normal(2.3, 0.2, n).round(3),
        }
    )


FRAME, OTHERS = people(), people(1)
X, Y = FRAME[MEASURED].to_numpy(float), np.arange(200) % 2


@pytest.fixture(scope="module")
def original() -> Original:
    return originals.prepared(FRAME, "o.csv")


def found(scanned: Scanned, kind: str = "rows of the original") -> int:
    """The most rows of this kind that were seen in one place."""
    return max((s.rows for s in scanned.seen if s.kind == kind), default=0)


def packed(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def in_zip(**files: bytes) -> bytes:
    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)

    return packed(write)


def in_tar(content: bytes) -> bytes:
    def write(file: io.BytesIO) -> None:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            about = tarfile.TarInfo("a")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))

    return packed(write)


def in_sqlite(frame: pd.DataFrame) -> bytes:
    with sqlite3.connect(":memory:") as database:
        frame.to_sql("t", database, index=False)
        return database.serialize()


def notebook(frame: pd.DataFrame) -> bytes:
    shown = {"text/html": [frame.to_html()], "text/plain": [repr(frame)]}
    cell = {
        "cell_type": "code",
        "source": ["df"],
        "metadata": {},
        "outputs": [{"output_type": "display", "data": shown}],
    }
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell]}).encode()


def page(frame: pd.DataFrame) -> bytes:
    hidden = base64.b64encode(gzip.compress(frame.to_csv(index=False).encode())).decode()
    return (
        f"<!doctype html><html><body><p>fine</p><a href='data:application/gzip;base64,{hidden}'>x</a></html>".encode()
    )


def drawing(frame: pd.DataFrame) -> bytes:
    """A page as plotly writes it: columns as base64 of their numbers, in a script."""
    columns = {
        c: {"dtype": "f8", "bdata": base64.b64encode(frame[c].to_numpy(float).tobytes()).decode()} for c in MEASURED
    }
    return f"<html><script>Plotly.newPlot('a', [{json.dumps(columns)}], {{}})</script></html>".encode()


def png(frame: pd.DataFrame) -> bytes:
    from PIL import Image, PngImagePlugin

    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", frame.to_csv(index=False), zip=True)
    return packed(lambda f: Image.new("L", (4, 4)).save(f, "png", pnginfo=about))


def workbook(frame: pd.DataFrame) -> bytes:
    pytest.importorskip("openpyxl")

    def write(file: io.BytesIO) -> None:
        with pd.ExcelWriter(file) as book:
            pd.DataFrame({"group": ["a", "b"], "mean": [1.0, 2.0]}).to_excel(book, sheet_name="report")
            frame.to_excel(book, sheet_name="raw")
            book.book["raw"].sheet_state = "veryHidden"

    return packed(write)


def neighbours(frame: pd.DataFrame) -> Any:
    return KNeighborsClassifier().fit(frame[MEASURED].to_numpy(float), Y)


HOLDERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "csv": lambda f: f.to_csv(index=False).encode(),
    "csv in other spelling": lambda f: f.to_csv(index=False, sep=";", decimal=",").encode("utf-16"),
    "json": lambda f: f.to_json(orient="records").encode(),
    "json by column": lambda f: f.to_json().encode(),
    "lines of json": lambda f: f.to_json(orient="records", lines=True).encode(),
    "log": lambda f: "\n".join(f"INFO patient {dict(r)}" for r in f.to_dict("records")).encode(),
    "html": lambda f: f.to_html().encode(),
    "packed in a page": page,
    "drawing": drawing,
    "png": png,
    "notebook": notebook,
    "parquet": lambda f: packed(f.to_parquet),
    "feather": lambda f: packed(f.to_feather),
    "sqlite": in_sqlite,
    "workbook": workbook,
    "zip in tar": lambda f: in_tar(in_zip(a=f.to_csv(index=False).encode())),
    "data frame, protocol 5": lambda f: pickle.dumps(f, 5),
    "data frame, protocol 2": lambda f: pickle.dumps(f, 2),
    "data frame, protocol 0": lambda f: pickle.dumps(f, 0),
    "data frame by joblib": lambda f: packed(lambda b: joblib.dump(f, b, compress=3)),
    "dictionaries": lambda f: pickle.dumps(f.to_dict("records")),
    "pickle in base64": lambda f: b"model: " + base64.b64encode(pickle.dumps(f)),
    "array of 32 bits": lambda f: packed(lambda b: np.save(b, f[MEASURED].to_numpy(np.float32))),
    "neighbours": lambda f: packed(lambda b: joblib.dump(neighbours(f), b)),
    "neighbours in a pipeline": lambda f: pickle.dumps(
        make_pipeline(StandardScaler(), KNeighborsClassifier()).fit(f[MEASURED].to_numpy(float), Y)
    ),
    "machine in a pipeline": lambda f: pickle.dumps(
        make_pipeline(MinMaxScaler(), SVC()).fit(f[MEASURED].to_numpy(float), Y)
    ),
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_rows_are_found_in_each_kind_of_file_and_none_of_other_people(
    kind: str, tmp_path: Path, original: Original
) -> None:
    (tmp_path / "a").write_bytes(HOLDERS[kind](FRAME))
    (tmp_path / "b").write_bytes(HOLDERS[kind](OTHERS))
    most = found(scan(tmp_path / "a", [original]))
    assert most >= (150 if "machine" in kind else 180)
    told = scan(tmp_path / "b", [original])
    assert found(told) == 0
    assert found(told, "identifiers of the original") == 0


def test_ten_of_many_rows_are_found(tmp_path: Path, original: Original) -> None:
    pd.concat([people(2, 1000), FRAME[50:60]]).to_csv(tmp_path / "a", index=False)
    told = scan(tmp_path / "a", [original])
    assert found(told) == 10
    assert found(told, "identifiers of the original") == 10


def test_a_model_without_records_shows_nothing(tmp_path: Path, original: Original) -> None:
    for number, made in enumerate((RandomForestClassifier(5, max_depth=3), make_pipeline(StandardScaler()))):
        (tmp_path / f"{number}").write_bytes(pickle.dumps(made.fit(X, Y)))
        told = scan(tmp_path / f"{number}", [original])
        assert told.seen == []
        assert told.unseen == []


def test_lists_of_plain_numbers_are_no_telephone_numbers_and_telephone_numbers_still_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [" ".join(map(str, rng.integers(40, 300, 12))) for _ in range(300)]
    lines += ["leaf_value=" + " ".join(f"{v:.17g}" for v in rng.normal(size=9)) for _ in range(300)]
    lines += [", ".join(map(str, rng.integers(10, 99, 20))) for _ in range(100)]
    model = tmp_path / "model.txt"
    model.write_text("\n".join([*lines, "maker@yandex-team.com"]))
    assert not [s for s in scan(model).seen if s.kind == "identifiers"]
    called = ["070-123 45 67", "+46 70 123 45 68", "tel 08-123 456 78", "+49 30 901820", "0701 23 45 69"]
    model.write_text("\n".join([*lines, *called, "anna.berg@region.example.se"]))
    assert sum(s.rows for s in scan(model).seen if s.kind == "identifiers") >= 5


def test_what_tells_without_an_original(tmp_path: Path) -> None:
    wanted = {
        "neighbours": ("training records", "certain"),
        "data frame, protocol 5": ("table", "likely"),
        "notebook": ("table", "likely"),
        "workbook": ("table", "likely"),
        "array of 32 bits": ("table-shaped array", "perhaps"),
    }
    for kind, (what, sure) in wanted.items():
        (tmp_path / "a").write_bytes(HOLDERS[kind](FRAME))
        assert (what, sure) in {(s.kind, s.sure) for s in scan(tmp_path / "a").seen}, kind
    weights = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    np.save(tmp_path / "w.npy", weights)
    assert scan(tmp_path / "w.npy").seen == []
    (tmp_path / "d").write_bytes(notebook(FRAME.describe()))
    assert scan(tmp_path / "d").seen == []
    (tmp_path / "i").write_text("\n".join(f"mail p{i}.canary@example.org today" for i in range(5)))
    assert [(s.kind, s.rows) for s in scan(tmp_path / "i").seen] == [("identifiers", 5)]


def test_people_of_several_rows_raise_no_bar_for_others() -> None:
    visits = pd.concat([FRAME, FRAME.assign(crp=FRAME.crp + 0.01, sodium=FRAME.sodium + 0.01)], ignore_index=True)
    some = rows.of_columns([visits[c][:50].tolist() for c in visits][1:])
    assert len(rows.among(originals.prepared(visits, "o", "name"), some)) >= 45


class Harm:
    """Leaves a file where it is unpickled."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.where,))


def test_nothing_of_a_pickle_is_run(tmp_path: Path) -> None:
    harmful = pickle.dumps([Harm(str(tmp_path / "made")), FRAME])
    for content in (harmful, gzip.compress(harmful), in_zip(**{"t/data.pkl": harmful})):
        (tmp_path / "a").write_bytes(content)
        assert found(scan(tmp_path / "a"), "table") == 200
        assert not (tmp_path / "made").exists()


def bomb(levels: int = 3) -> bytes:
    content = bytes(10**7)
    for _ in range(levels):
        content = in_zip(**{f"{i}": content for i in range(10)})
    return content


HUGE = {"descr": "<f8", "fortran_order": False, "shape": (10**15, 3)}
HOSTILE = {
    "bomb": bomb(),
    "gzip bomb": gzip.compress(bytes(2 * 10**7)),
    "deep": b"[" * 100_000,
    "deep pickle": b"\x80\x04" + b"]" * 10 + b"(" * 100_000 + b".",
    "laughs": b"\x80\x04" + b"]\x94" + b"".join(b"(" + b"h\x00" * 10 + b"e" for _ in range(9)) + b".",
    "entities": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    "cut": pickle.dumps(FRAME)[:900],
    "cut zip": in_zip(a=b"x" * 1000)[:80],
    "huge array": b"\x93NUMPY\x01\x00v\x00" + f"{HUGE}".ljust(117).encode() + b"\n",
    "false Parquet": b"PAR1" + bytes(100) + b"PAR1",
    "false R": b"X\n\x00\x00\x00\x03" + b"\x00" * 40,
    "false database": b"SQLite format 3\x00" + os.urandom(500),
    "false picture": b"\x89PNG\r\n\x1a\n" + b"\xff" * 60,
    "false tensors": (50).to_bytes(8, "little") + b'{"a":{"dtype":"F64","shape":[9],"data_offsets":[0,9]}}',
    "noise": os.urandom(3000),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_survived_within_limits(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(HOSTILE[kind])
    told = scan(tmp_path / "a", limits=Limits(largest=10**7, unpacked=3 * 10**7, parts=50))
    assert [s for s in told.seen if s.sure == "certain"] == []
    if kind not in ("noise", "nothing", "laughs", "deep pickle", "false R"):
        assert told.unseen


def test_the_command_names_places_and_never_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FRAME.to_csv(tmp_path / "o.csv", index=False)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "k.pkl").write_bytes(pickle.dumps({FRAME["name"][3]: neighbours(FRAME)}))
    (tmp_path / "m" / "z.zip").write_bytes(in_zip(**{f"{FRAME['name'][4]}.csv": FRAME[:20].to_csv().encode()}))
    given = ["scan", str(tmp_path / "m"), "--original", str(tmp_path / "o.csv")]
    assert invoke(monkeypatch, *given) == 1
    plain = capsys.readouterr()
    assert "KNeighborsClassifier._fit_X" in plain.out
    assert "200 of its 200 rows" in plain.out
    assert invoke(monkeypatch, *given, "--json") == 1
    told = capsys.readouterr()
    parsed = json.loads(told.out)
    assert [f["file"] for f in parsed["files"]] == ["k.pkl", "z.zip"]
    assert parsed["files"][1]["seen"][0]["original"] == "o.csv"
    for text in (plain.out, plain.err, told.out, told.err):
        assert "Canary" not in text
        assert not [v for v in FRAME["crp"].astype(str) if len(v) > 4 and v in text]


def test_numbers_close_together_in_bytes_of_no_form_are_found() -> None:
    def table(seed: int) -> pd.DataFrame:
        return pd.DataFrame(np.random.default_rng(seed).normal(50, 9, (60, 16)).round(3)).rename(columns=str)

    index = nearby.indexed(originals.prepared(table(0), "o"))
    assert len(nearby.in_bytes(index, b"form\x00" + table(0).to_numpy().tobytes())) == 60
    assert nearby.in_bytes(index, b"form\x00" + table(1).to_numpy().tobytes()) == set()


def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clean.txt").write_text("The model was trained in March.")
    (tmp_path / "closed.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\x01" * 50)
    assert invoke(monkeypatch, "scan", str(tmp_path / "clean.txt")) == 0
    assert invoke(monkeypatch, "scan", str(tmp_path / "closed.7z")) == 3
    assert invoke(monkeypatch, "scan", str(tmp_path / "none")) == 2
