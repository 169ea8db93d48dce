"""Tables as they come: whatever is in them, the answer is a result or an error in words, and nobody is quoted."""

from __future__ import annotations

import datetime
import decimal
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.core.errors import TestbedError
from testbed.data.tables import encode, files
from testbed.harness.release.evaluate import evaluate
from testbed.report import gate, html, store

Maker = Callable[[np.random.Generator, int], Any]
CANARY = "Zanzibarwort"


def text(rng: np.random.Generator, n: int) -> Any:
    words = [f"{CANARY}-{i:04d}" for i in range(max(2, n // 3))]
    return rng.choice([*words, "O'Brien", '"q"', "a,b", "=1+1", "Åsa", "", " ", "None", "1e5", "0x1f", "<b>"], n)


def mixed(rng: np.random.Generator, n: int) -> Any:
    pool: list[Any] = [1, 1.0, "1", True, None, f"{CANARY}-x", decimal.Decimal("2.50"), datetime.date(2020, 2, 29)]
    return pd.Series([pool[i] for i in rng.integers(0, len(pool), n)], dtype=object)


def dates(rng: np.random.Generator, n: int) -> Any:
    return pd.Timestamp("1900-01-01") + pd.to_timedelta(rng.integers(0, 60_000, n), "D")


MAKERS: dict[str, Maker] = {
    "continuous": lambda rng, n: rng.normal(size=n) * 10.0 ** rng.integers(-300, 300),
    "rounded": lambda rng, n: rng.gamma(2, 30, n).round(1),
    "counts": lambda rng, n: rng.poisson(3, n),
    "huge": lambda rng, n: rng.integers(-(2**62), 2**62, n),
    "nullable": lambda rng, n: pd.array(rng.integers(0, 5, n), dtype="Int64"),
    "constant": lambda rng, n: np.full(n, rng.integers(9)),
    "flag": lambda rng, n: rng.random(n) < 0.2,
    "nullable flag": lambda rng, n: pd.array(rng.random(n) < 0.2, dtype="boolean"),
    "code": lambda rng, n: rng.choice(["A", "B", "C"], n),
    "category": lambda rng, n: pd.Categorical(rng.choice(["x", "y", "z"], n), categories=["z", "y", "x", "never"]),
    "text": text,
    "mixed": mixed,
    "date": dates,
    "iso date": lambda rng, n: dates(rng, n).strftime("%Y-%m-%d"),
    "zoned": lambda rng, n: dates(rng, n).tz_localize("Europe/Stockholm", ambiguous=True, nonexistent="NaT"),
    "span": lambda rng, n: pd.to_timedelta(rng.integers(0, 1000, n), "h"),
    "decimal": lambda rng, n: pd.Series([decimal.Decimal(int(i)) / 10 for i in rng.integers(0, 99, n)], dtype=object),
    "number as text": lambda rng, n: rng.integers(0, 50, n).astype(str),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.1, np.inf, rng.normal(size=n)),
    "lists": lambda rng, n: pd.Series([[int(i)] for i in rng.integers(0, 3, n)], dtype=object),
    "complex": lambda rng, n: rng.normal(size=n) + 1j,
    "bytes": lambda rng, n: pd.Series([bytes([i]) for i in rng.integers(0, 9, n)], dtype=object),
}
NAMES = ["age", "Å", "a b", "", "1", "select", "'; drop", "{x}", "<b>", "\u200b", "control", "x" * 300]


def holes(frame: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    return frame.mask(rng.random(frame.shape) < share) if share else frame


@st.composite
def triples(draw: st.DrawFn) -> dict[str, Any]:
    """Three tables, mostly alike, sometimes not; and what the user says of them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def pick(*options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    kinds = draw(st.lists(st.sampled_from(sorted(MAKERS)), min_size=1, max_size=6))
    names = draw(st.permutations(NAMES))[: len(kinds)]
    frames: dict[str, pd.DataFrame] = {}
    for role in ("original", "synthetic", "control"):
        n = pick(*[40] * 12, 120, 20, 5, 3, 2, 1, 0)
        made = pd.DataFrame({name: MAKERS[kind](rng, n) for name, kind in zip(names, kinds, strict=True)})
        frames[role] = holes(made, pick(*[0.0] * 14, 0.1, 0.5, 0.9, 1.0), rng)
    match pick(*["alike"] * 8, "copy", "copy", "subset", "renamed", "other", "doubled", "index"):
        case "copy":
            frames["synthetic"] = frames["original"].copy()
        case "subset":
            frames["synthetic"] = frames["synthetic"].iloc[:, 1:]
        case "renamed":
            frames["control"] = frames["control"].rename(columns={names[0]: "other"})
        case "other":
            frames["synthetic"] = frames["synthetic"].assign(**{names[0]: text(rng, len(frames["synthetic"]))})
        case "doubled":
            frames["original"] = pd.concat([frames["original"], frames["original"].iloc[:, :1]], axis=1)
        case "index":
            frames["original"].index = pd.Index(np.zeros(len(frames["original"])))
        case _:
            pass
    options: dict[str, Any] = {
        "secrets": pick([], [], [], [names[0]], [names[-1], "absent"]),
        "links": pick([], [], [], [((names[0],), (names[-1],))]),
        "person": pick(*[None] * 8, *names),
        "kinds": pick(*[{}] * 8, *({names[0]: k} for k in encode.KINDS)),
        "attacks": pick(1, 5, 40),
        "data_class": pick("real", "real", "public"),
    }
    return {"tables": (frames["original"], frames["synthetic"], pick(None, frames["control"])), "options": options}


def answer(case: dict[str, Any]) -> str:
    """The report, or the error in words."""
    try:
        done = evaluate(*case["tables"], **case["options"])
        page = html.render(done.result)
        said = page + store.to_json(done.result)
        gate.check({"report.html": page.encode()}, done.result, done.people)
    except TestbedError as error:
        return f"{error.what} {error.why} {error.fix}"
    return said


def try_one(case: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CANARY not in answer(case)


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
@given(triples())
def test_any_tables_get_an_answer_that_quotes_nobody(case: dict[str, Any]) -> None:
    try_one(case)


def test_numbers_beyond_single_precision_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    tables_ = [pd.DataFrame({"a": rng.choice([1e97, -1e283, 2.0], 40), "b": rng.normal(size=40)}) for _ in range(3)]
    try_one({"tables": tables_, "options": {"attacks": 20}})


@pytest.mark.parametrize("scale", [1e39, 1e232, 1e303, 1e-300])
def test_numbers_beyond_single_precision_beside_short_ones_stay_apart(scale: float) -> None:
    rng = np.random.default_rng(0)
    people = [pd.DataFrame({"a": rng.normal(size=400) * scale, "b": rng.integers(0, 5, 400)}) for _ in range(2)]
    short = pd.DataFrame({"a": rng.choice([0.0, 1.0, 2.5], 400), "b": rng.integers(0, 5, 400)})
    for tables_ in ((people[0], short, people[1]), (short, people[0], None)):
        try_one({"tables": tables_, "options": {"attacks": 20}})


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
@given(triples())
def test_ten_thousand_tables_get_an_answer_that_quotes_nobody(case: dict[str, Any]) -> None:
    try_one(case)


@settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
@given(st.binary(max_size=200), st.sampled_from([".csv", ".tsv", ".parquet"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"table{suffix}"
    path.write_bytes(content)
    try:
        frame = files.read_file(path, "original")
    except TestbedError:
        return
    assert len(frame) > 1
    buffer = io.StringIO()
    frame.to_csv(buffer)
