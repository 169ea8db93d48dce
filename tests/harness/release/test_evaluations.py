"""Evaluations of the same people are counted, by digests that say nothing of them, and never in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.data import fingerprints
from testbed.harness.release import evaluations as counter
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.evaluations import DAMAGED, MANY, NO_FILE, NO_KEY, OTHER_KEY, Counted
from testbed.report import html
from tests.conftest import Thirds

CANARY = "Zanzibarwort"
count = partial(counter.evaluations, min_cell=10)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    monkeypatch.delenv(fingerprints.KEY_FILE, raising=False)
    return tmp_path


def table(seed: int, rows: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    numbers = {name: draw.normal(50, 10, rows).round(1) for name in ("x", "y", "z")}
    return pd.DataFrame(numbers | {"note": [CANARY] * rows})


def test_equal_pairs_count_once_and_others_each(cache: Path) -> None:
    releases = (table(11), table(11), table(12), table(11).sample(frac=1, random_state=1))
    assert [count(table(0), release, cache).times for release in releases] == [1, 1, 2, 2]
    assert count(table(9), table(11), cache) == Counted(1)
    kept = b"".join(p.read_bytes() for p in cache.rglob("*.json"))
    assert CANARY.encode() not in kept
    assert str(table(0)["x"][0]).encode() not in kept


def test_the_people_are_counted_and_not_the_tables(cache: Path) -> None:
    first = table(0)
    step_by_step = (first, first.iloc[1:], first.iloc[1:, :3], first.iloc[1:, :2], pd.concat([first, table(3, 200)]))
    counted = [count(original, table(11).iloc[:, : original.shape[1]], cache) for original in step_by_step]
    assert [c.times for c in counted] == [1, 2, 3, 4, 5]
    assert [c.closest for c in counted] == [None, "one person", "one person", None, None]
    assert count(first.iloc[6:], table(12), cache).closest == "a few people"


def test_what_cannot_be_counted_is_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert count(table(0), table(1), cache) == Counted(1)
    (kept,) = (cache / counter.FOLDER).glob("*.json")
    for damage in (b"", b"[]", b'{"schema": 1', kept.read_bytes().replace(b'"people": 60', b'"people": "many"')):
        kept.write_bytes(damage)
        assert count(table(0), table(2), cache) == Counted(1, DAMAGED)
        assert count(table(0), table(3), cache) == Counted(2, DAMAGED)  # it is said from then on
    (cache / "file").write_text("x")
    assert count(table(0), table(1), cache / "file") == Counted(None, NO_FILE)
    monkeypatch.setenv(fingerprints.KEY_FILE, str(cache / "other.key"))
    (cache / "other.key").write_bytes(b"o" * 32)
    assert count(table(0), table(1), cache) == Counted(1, OTHER_KEY)
    monkeypatch.delenv(fingerprints.KEY_FILE)
    (cache / "site.key").write_bytes(b"")
    assert count(table(0), table(1), cache) == Counted(None, NO_KEY)


WRITERS = """
import os, pathlib, sys
import pandas as pd
from testbed.harness.release.evaluations import evaluations

original = pd.DataFrame({"x": [n / 10 for n in range(60)]})
writers = []
for writer in range(4):
    if not (pid := os.fork()):
        for n in range(5):
            evaluations(original, original + 100 * writer + n + 1, pathlib.Path(sys.argv[1]), min_cell=10)
        os._exit(0)
    writers.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in writers)
print(evaluations(original, original, pathlib.Path(sys.argv[1]), min_cell=10).times)
"""


def test_no_evaluation_is_lost_where_several_processes_count(cache: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITERS, str(cache)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["21"]
    (kept,) = (cache / counter.FOLDER).iterdir()  # nothing unfinished is left
    assert json.loads(kept.read_bytes())["schema"] == counter.SCHEMA


def test_what_was_counted_is_said_in_the_report(hospital: Thirds, cache: Path) -> None:
    done = evaluate(hospital.original, hospital.fresh, hospital.control, attacks=50)
    for n in range(MANY - 1):
        count(done.people.tables[0].iloc[1:], table(n), cache)
    counted = done.counted(cache).result
    assert counted.disclosure.evaluations == MANY
    told = "".join(counter.warnings(counted.disclosure))
    for page in (html.render(counted), told.replace("these", "These")):
        assert "evaluated 5 times" in page
        assert "differs from this one by one person" in page
    assert not {"Evaluated often", "Nearly the same"} & set(html.render(done.result))
    lost = replace(done, result=done.result).counted(cache / "site.key").result
    assert lost.disclosure.not_counted == NO_FILE
    assert f"could not be counted: {NO_FILE}" in html.render(lost)
    public = evaluate(hospital.original, hospital.fresh, hospital.control, attacks=50, data_class="public")
    assert public.counted(cache).result == public.result
