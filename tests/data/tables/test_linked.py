"""Linked tables: persons are the unit, and a person planted across two of them is found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import InputError
from testbed.data.tables.linked import joined, numbers_rows
from tests.cli.test_cli import invoke


def hospital(people: int, seed: int, prefix: str) -> dict[str, pd.DataFrame]:
    """Patients, and one to four visits each."""
    rng = np.random.default_rng(seed)
    names = np.array([f"{prefix}{i}" for i in range(people)])
    age = rng.normal(60, 12, people).round(2)
    visits = np.repeat(np.arange(people), rng.integers(1, 5, people))
    patients = pd.DataFrame({"id": names, "age": age, "sex": rng.choice(["f", "m"], people)})
    pressure = (age[visits] + rng.normal(60, 15, len(visits))).round(2)
    ward = rng.choice(list("abcd"), len(visits))
    return {"patients": patients, "visits": pd.DataFrame({"id": names[visits], "pressure": pressure, "ward": ward})}


def planted(own: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame], share: float) -> dict[str, pd.DataFrame]:
    """The other people with a share of our own in among them, in both tables."""
    count = round(share * len(own["patients"]))
    mine, theirs = own["patients"]["id"][:count], other["patients"]["id"][count:]
    return {n: pd.concat([own[n][own[n]["id"].isin(mine)], other[n][other[n]["id"].isin(theirs)]]) for n in own}


def written(folder: Path, tables: dict[str, pd.DataFrame]) -> str:
    folder.mkdir()
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return str(folder)


def judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, share: float, seed: int = 0, data_class: str = "public"
) -> tuple[int, dict[str, object]]:
    original, control, fresh = (hospital(400, seed + i, prefix) for i, prefix in enumerate("oct"))
    paths = {"original": original, "synthetic": planted(original, fresh, share), "control": control}
    arguments = [text for role, tables in paths.items() for text in (f"--{role}", written(tmp_path / role, tables))]
    code = invoke(
        monkeypatch,
        "evaluate",
        *arguments,
        "--person",
        "id",
        "--data-class",
        data_class,
        "--out",
        str(tmp_path / "out"),
    )
    return code, json.loads((tmp_path / "out/share/result.json").read_text())


def test_one_row_a_person_by_hand() -> None:
    tables = {
        "a": pd.DataFrame({"id": ["x", "y"], "age": [1, 2]}),
        "b": pd.DataFrame({"id": ["x", "x", "x"], "v": [1.0, 2.0, 6.0], "w": ["q", "p", "q"]}),
    }
    made, link, _ = joined({"original": tables, "synthetic": tables}, "id")
    assert link[0] == ("a.age",)
    rows = made["original"].set_index("id")
    assert rows.loc["x"].tolist() == [1, 3, 3.0, 1.0, 6.0, "q", 2]
    assert rows.loc["y", "b.rows"] == 0
    assert np.isnan(rows.loc["y", "b.v.mean"])


def test_people_planted_across_two_tables_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, result = judged(monkeypatch, tmp_path, 0.2)
    assert code == 1
    by_rule = {f["rule"]: f for f in result["findings"]}  # type: ignore[index,attr-defined]
    assert by_rule["TB-COPYING-001"]["validity"]["flags"] == ["copied"]
    link = by_rule["TB-LINKABILITY-001"]
    assert link["primary"]
    assert link["target"].startswith("patients.age, patients.sex | visits.")
    assert link["excess"]["low"] > 0
    assert by_rule["TB-MEMBERSHIP-001"]["excess"]["low"] > 0


SPELLINGS = {
    "comma and unit": lambda v: f"{v:.2f} mmHg".replace(".", ","),
    "words among numbers": lambda v: "not done" if int(100 * v) % 7 == 0 else f"{v:.2f}",
    "a code for missing": lambda v: 99999.0 if int(100 * v) % 7 == 0 else v,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_cells_of_several_rows_a_person_are_read_before_they_are_summarised(name: str) -> None:
    tables = hospital(50, 1, "o")
    pressure = tables["visits"]["pressure"]
    gaps = (100 * pressure).astype(int) % 7 == 0 if "comma" not in name else pressure < 0
    plain = {**tables, "visits": tables["visits"].assign(pressure=pressure.mask(gaps))}
    spelt = {**tables, "visits": tables["visits"].assign(pressure=pressure.map(SPELLINGS[name]))}
    frames = [joined({"original": one, "synthetic": one}, "id")[0]["original"] for one in (plain, spelt)]
    pd.testing.assert_frame_equal(frames[0], frames[1])


def test_dates_of_several_rows_a_person_have_a_first_and_a_last_one() -> None:
    visits = pd.DataFrame({"id": ["x", "x", "y"], "seen": ["03.05.2019", "13.06.2019", "02.05.2020"]})
    tables = {"visits": visits}
    made = joined({"original": tables, "synthetic": tables}, "id")[0]["original"].set_index("id")
    assert made.loc["x", "visits.seen.least"] == pd.Timestamp("2019-05-03")
    assert made.loc["x", "visits.seen.greatest"] == pd.Timestamp("2019-06-13")
    assert made.loc["y", "visits.seen.mean"] == pd.Timestamp("2020-05-02")


def numbered(tables: dict[str, pd.DataFrame], start: int) -> dict[str, pd.DataFrame]:
    """The tables with a number for each visit, and a lab table that refers to visits, twice to each."""
    visits = tables["visits"].assign(visit_id=start + np.arange(len(tables["visits"])))
    labs = pd.concat([visits[["id", "visit_id"]]] * 2, ignore_index=True)
    labs["crp"] = (np.arange(len(labs)) * 7919 % 1009) / 10
    return {**tables, "visits": visits, "labs": labs}


def test_a_copy_with_new_numbers_for_people_and_visits_is_a_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Record numbers of visits describe nobody. They are left out of what is compared, and searched for identifiers."""
    original, control = (numbered(hospital(300, i, p), 10_000 * (i + 1)) for i, p in enumerate("oc"))
    renamed = {n: t.assign(id="s" + t["id"].str[1:]).sample(frac=1, random_state=1) for n, t in original.items()}
    for name in ("visits", "labs"):
        renamed[name] = renamed[name].assign(visit_id=renamed[name]["visit_id"] + 900_000)
    paths = {"original": original, "synthetic": renamed, "control": control}
    arguments = [text for role, tables in paths.items() for text in (f"--{role}", written(tmp_path / role, tables))]
    out = tmp_path / "out"
    assert invoke(monkeypatch, "evaluate", *arguments, "--person", "id", "--attacks", "200", "--out", str(out)) == 1
    result = json.loads((out / "share/result.json").read_text())
    copied = next(f for f in result["findings"] if f["rule"] == "TB-COPYING-001")
    assert copied["measure"]["value"] == 1
    assert not [c for c in result["subject"]["table"] if "visit_id" in c["name"]]


@pytest.mark.parametrize(
    ("values", "name", "found"),
    [
        (range(5000, 5100), "x", True),
        ([*range(5000, 5099), 5000], "x", False),
        (np.arange(100) * 997 + 13, "platelets", False),
        (np.arange(100) * 997 + 13, "visit_occurrence_id", True),
        (np.arange(100) / 8, "id", False),
        ([f"V{i:05}" for i in range(100)], "visit", True),
        ([f"{i} mg" for i in range(100)], "dose", False),
        ([f"2019-01-{1 + i % 28:02}T{i % 24:02}:{i:02}" for i in range(60)], "seen", False),
        ([f"{i:032x}" for i in range(100)], "encounter", True),
        (range(10), "id", False),
    ],
)
def test_a_column_that_only_numbers_rows(values: list[object], name: str, found: bool) -> None:
    assert numbers_rows(pd.Series(list(values), name=name)) == found


def test_linked_real_data_pass_the_gate_and_say_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, result = judged(monkeypatch, tmp_path, 0.2, data_class="real")
    assert any("single rows" in text for text in result["threat"]["not_tested"])  # type: ignore[index]
    shared = (tmp_path / "out/share/result.json").read_text() + (tmp_path / "out/share/report.html").read_text()
    pressures = hospital(400, 0, "o")["visits"]["pressure"].astype(str)
    assert not [v for v in pressures if len(v) > 5 and v in shared]


def test_a_table_whose_name_begins_like_another_stays_on_its_side() -> None:
    one = pd.DataFrame({"id": ["x", "y"], "v": [1, 2]})
    tables = {"a": one, "a.b": one}
    _, link, _ = joined({"original": tables, "synthetic": tables}, "id")
    assert link == (("a.v",), ("a.b.v",))


def test_fresh_people_in_two_tables_do_not_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, _ = judged(monkeypatch, tmp_path, 0.0)
    assert code in (0, 3)


def test_a_folder_is_split_by_people_across_all_its_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tables = hospital(40, 0, "o")
    tables["visits"] = tables["visits"].assign(code="007")
    folder = Path(written(tmp_path / "all", tables))
    tables["patients"].to_parquet(folder / "registry.parquet", index=False)
    given = ["split", "--original", str(folder), "--person", "id", "--out", str(tmp_path / "out")]
    assert invoke(monkeypatch, *given) == 0
    assert invoke(monkeypatch, *given) == 2  # nothing is overwritten
    people: dict[str, set[str]] = {}
    for part in ("original", "control"):
        patients, visits = ((tmp_path / "out" / part / f"{n}.csv").read_text().splitlines() for n in tables)
        people[part] = {line.split(",")[0] for line in patients[1:]}
        assert {line.split(",")[0] for line in visits[1:]} == people[part]
        assert all(line.endswith(",007") for line in visits[1:])
        assert set(pd.read_parquet(tmp_path / "out" / part / "registry.parquet")["id"]) == people[part]
    assert len(people["original"]) == len(people["control"]) == 20
    assert not people["original"] & people["control"]
    assert invoke(monkeypatch, *given[:3], "--out", str(tmp_path / "more")) == 2  # no person
    (folder / "wards.csv").write_text("ward,beds\na,1\n")
    assert invoke(monkeypatch, *given[:-1], str(tmp_path / "more")) == 4


@pytest.mark.parametrize("broken", ["a table missing", "no person"])
def test_tables_that_cannot_be_linked_are_refused(broken: str) -> None:
    original, other = hospital(20, 0, "o"), hospital(20, 1, "s")
    if broken == "no person":
        other["visits"] = other["visits"].drop(columns="id")
    else:
        del other["visits"]
    with pytest.raises(InputError, match=r"TB-DATA-06[78]"):
        joined({"original": original, "synthetic": other}, "id")


def test_folders_without_a_person_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = written(tmp_path / "o", hospital(20, 0, "o"))
    assert invoke(monkeypatch, "evaluate", "--original", folder, "--synthetic", folder) == 2
