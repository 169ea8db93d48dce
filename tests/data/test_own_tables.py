"""A user's table with its small YAML file serves wherever a registered data set does, and real people stay private."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed import data
from testbed.core.errors import UsageError
from testbed.core.user_code import without_folders
from testbed.data import own_tables
from testbed.data.cohorts import source
from testbed.harness import scenario
from testbed.harness.run import run
from testbed.report import store

CANARY = "Zanzibarwort"
META = """
name: Ward 7
target: outcome
person: patient
site: clinic
licence: our own
columns: {code: categorical, note: drop, seen: date}
"""


def table(rows: int = 800) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    score = rng.normal(size=rows).round(3)
    return pd.DataFrame(
        {
            "patient": np.arange(rows) // 2,
            "clinic": rng.choice(["north", "south"], rows),
            "score": score,
            "code": rng.integers(1, 4, rows),
            "seen": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
            "note": CANARY,
            "outcome": np.where(score + rng.normal(size=rows) > 0, "ill", "well"),
        }
    )


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table().to_csv("mine.csv", index=False)
    Path("mine.meta.yaml").write_text(META)
    return tmp_path


def test_the_meta_file_says_what_the_registry_says_of_a_registered_set(mine: Path) -> None:
    known = data.dataset("mine.csv")
    assert (known.title, known.target, known.person, known.site) == ("Ward 7", "outcome", "patient", "clinic")
    assert (known.data_class, known.licence) == ("real", "our own")  # real unless it says otherwise
    people = source("mine.csv")
    assert people.classes == 2
    # score and seen are numbers, code three categories; the note is dropped
    assert people.columns == (("score", 1), ("code", 3), ("seen", 1))
    assert people.shape == (5,)
    assert people.sites is not None
    assert set(people.sites) == {"north", "south"}
    assert len(set(people.people.persons)) == 400


def test_parquet_and_the_shorter_name_of_the_meta_file_do_as_well(mine: Path) -> None:
    table().to_parquet("other.parquet", index=False)
    Path("other.yaml").write_text(META + "data_class: synthetic\n")
    assert source("other.parquet").data_class == "synthetic"
    assert np.array_equal(source("other.parquet").people.x, source("mine.csv").people.x)


@pytest.mark.parametrize(
    ("meta", "id"),
    [
        ("target: outcome\ntaget: x", "unknown name 'taget'. Perhaps: target"),
        ("target: outcome\ndata_class: secret", "TB-DATA-080"),
        ("columns: {code: number}", "kind of the column 'code' is none of: numeric, categorical"),
        ("target: [outcome]", "The value of target is no text"),
        ("target: nothing", "TB-DATA-082"),
        ("person: nobody", "TB-DATA-082"),
        ("person: patient", "TB-DATA-071"),
        ("target: score", "TB-DATA-081"),
    ],
)
def test_a_meta_file_that_fits_no_table_is_told_without_a_value(meta: str, id: str, mine: Path) -> None:
    Path("mine.meta.yaml").write_text(meta)
    with pytest.raises(UsageError, match=id) as told:
        source("mine.csv")
    assert CANARY not in str(told.value)


def test_a_scenario_on_a_table_of_real_people_shows_none_of_them(mine: Path, tmp_path: Path) -> None:
    folder = mine / "deep" / "inside"
    folder.mkdir(parents=True)
    for name in ("mine.csv", "mine.meta.yaml"):
        Path(name).rename(folder / name)
    path = str(folder / "mine.csv")
    done = run(scenario.find("curious_server"), {"data": path, "clients": 2, "rounds": 3})
    assert done.result.subject.data_class == "real"
    assert done.result.subject.name.startswith("Ward 7")
    assert done.result.run.params["data"] == "mine.csv"
    assert done.result.disclosure.pictures == []
    assert done.outcome.people is not None
    assert done.outcome.people.person == "patient"
    out = store.write(tmp_path / "out", done.result, done.outcome.evidence, done.outcome.people, done.outcome.files)
    shared = "".join(p.read_text() for p in (out / "share").iterdir())
    assert CANARY not in shared
    assert str(folder) not in shared
    assert json.loads((out / "share" / "result.json").read_text())["findings"][0]["measure"]["value"] == 1.0


def test_the_gate_stops_a_report_that_quotes_a_person_of_an_own_table(mine: Path, tmp_path: Path) -> None:
    frame = table().assign(name=[f"Person{i:03d}" for i in range(800)])
    frame.to_csv("mine.csv", index=False)
    Path("mine.meta.yaml").write_text(META.replace("Ward 7", "Ward of Person007"))
    done = run(scenario.find("curious_server"), {"data": "mine.csv", "clients": 2, "rounds": 2})
    with pytest.raises(Exception, match="TB-GATE-001"):
        store.write(tmp_path / "out", done.result, done.outcome.evidence, done.outcome.people, done.outcome.files)


def test_a_release_scenario_takes_an_own_table_too(mine: Path) -> None:
    made = scenario.find("hospital_release")(data="mine.csv", generator="none")
    assert made.subject.data_class == "real"
    assert made.subject.name == "Ward 7, none"


def test_public_tables_and_registered_sets_are_protected_from_nobody(mine: Path) -> None:
    assert own_tables.protected("heart,digits") is None
    Path("mine.meta.yaml").write_text(META + "data_class: public\n")
    assert own_tables.protected("heart,mine.csv") is None
    assert without_folders("heart,/a/b/mine.csv") == "heart,mine.csv"


@pytest.mark.usefixtures("few_answers")
def test_the_noise_on_real_peoples_updates_does_not_follow_from_the_seed_in_the_report(mine: Path) -> None:
    given = {"rounds": 1, "clients": 2, "noise": 0.1}

    def first_update(name: str) -> bytes:
        done = run(scenario.find("curious_server"), given | {"data": name}, seed=3)
        return done.outcome.files["true.transcript"]

    assert first_update("mine.csv") != first_update("mine.csv")
    assert first_update("heart") == first_update("heart")
