"""A release says the same in whatever order its rows, or the control's, stand in the file; and persons count once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release, Split
from testbed.core.errors import InputError
from testbed.data import dataset, load_table
from testbed.data.tables.encode import Meta, encode
from testbed.data.tables.linked import read_folders
from testbed.findings.replicates import over_runs
from testbed.findings.schema import Estimate, Finding
from testbed.harness.release.control import overlap_p
from testbed.harness.release.evaluate import evaluate, membership_decides
from testbed.harness.release.examine import examine
from testbed.harness.release.identifier_rule import direct_identifiers
from testbed.harness.release.membership import decides, membership
from testbed.harness.release.setting import Options, Setting, Targets
from testbed.harness.release.singling_out import singling_out
from tests.conftest import Thirds, thirds
from tests.harness.release.searched import searched


def excess(findings: list[Finding]) -> float:
    found = findings[0].excess
    assert isinstance(found, Estimate)
    return found.value


def generalised(seed: int, n: int = 400) -> pd.DataFrame:
    """People whose known columns several share, and a diagnosis."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(2, 9, n) * 10,
            "region": rng.choice(list("ABCDEFGH"), n),
            "sex": rng.choice(["f", "m"], n),
            "dx": rng.choice([f"d{i:02}" for i in range(40)], n),
        }
    )


@pytest.mark.parametrize("asked", [{"secrets": ["dx"]}, {"links": [(("age", "region"), ("sex", "dx"))]}], ids=str)
def test_rows_that_agree_in_what_is_known_are_no_matter_of_the_files_order(asked: dict[str, object]) -> None:
    original, control = generalised(1), generalised(2)
    decoys = original.assign(dx=np.random.default_rng(3).permutation(original["dx"].to_numpy()))
    both = pd.concat([decoys, original], ignore_index=True)
    orders = (both, both.iloc[::-1], both.sort_values("dx"), both.sample(frac=1, random_state=5))
    attack = "attribute_inference" if "secrets" in asked else "linkability"
    values: list[float] = []
    for release in orders:
        frames = encode(original, release.reset_index(drop=True), control)
        split = Split(frames.original, frames.control, None)
        options = Options(attacks=400, attack=attack, **asked)  # type: ignore[arg-type]
        values.append(excess(examine(split, Release(frames.synthetic), options).findings))
    assert len(set(values)) == 1


def visits(people: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Three visits of each person, of whom the diagnosis stays."""
    rng = np.random.default_rng(len(prefix))
    made = people.assign(pid=[f"{prefix}{i}" for i in range(len(people))]).loc[lambda t: t.index.repeat(3)]
    return made.assign(lab=rng.normal(size=len(made)).round(2)).reset_index(drop=True)


@pytest.mark.parametrize("person", [None, "pid"])
def test_the_order_of_rows_in_any_file_moves_no_finding(person: str | None) -> None:
    leaking = pd.concat([generalised(1, 250).head(20), generalised(3, 230)], ignore_index=True)
    tables = [generalised(1, 250), leaking, generalised(2, 250)]
    if person:
        tables = [visits(t, prefix) for t, prefix in zip(tables, ("o", "ss", "c"), strict=True)]
    told: list[list[Finding]] = []
    for seed in (None, 1, 2):
        shuffled = [t if seed is None else t.sample(frac=1, random_state=seed).reset_index(drop=True) for t in tables]
        told.append(evaluate(*shuffled, person=person, attacks=250, data_class="public").result.findings)
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("name", ["univariate", "multivariate"])
def test_the_number_of_guesses_does_not_say_which_attack_singles_out(name: str) -> None:
    made = pd.DataFrame(np.random.default_rng(4).normal(size=(3000, 4)).round(6), columns=list("abcd"))
    if name == "multivariate":
        made = made.round(1)
    tables = [made[:1000], made[1000:2000].reset_index(drop=True), made[2000:].reset_index(drop=True)]
    frames = encode(*tables)
    for guesses in (100, 400, None):
        setting = Setting(frames.original, frames.control, Release(frames.synthetic), guesses, 0, lambda _: None)
        assert [j.plan.attack for j in singling_out(setting) if j.finding.primary] == [f"singling_out_{name}"]


def test_people_are_drawn_before_their_rows() -> None:
    """Ten people have 100 rows each, a hundred have one. All 110 are asked about, then 90 further rows."""
    frame = pd.DataFrame({"pid": [*range(10)] * 100 + [*range(10, 110)], "x": np.arange(1100.0), "y": [1, 2] * 550})
    table = encode(frame, frame, None, Meta("pid")).original
    drawn = Targets.draw(table, None, 200, np.random.default_rng(0)).table
    names, rows = np.unique(drawn.persons, return_counts=True)
    assert (len(names), rows.sum(), rows.max()) == (110, 200, 10)
    few = Targets.draw(table, None, 50, np.random.default_rng(0)).table
    assert np.unique(few.persons, return_counts=True)[1].tolist() == [1] * 50


@pytest.mark.parametrize("people", [1999, 2000])
@pytest.mark.parametrize("name", ["framingham", "pbc2"])
def test_who_decides_on_membership_follows_from_people_whatever_their_rows(name: str, people: int) -> None:
    """pbc2 has 312 people: its control is made of copies of them under other names."""
    person = dataset(name).person
    assert person is not None
    frame = load_table(name).dropna(axis=1, how="all")
    ids = frame[person].drop_duplicates().tolist()
    original = frame[frame[person].isin(ids[:100])].reset_index(drop=True)
    others = frame[frame[person].isin(ids[100:])]
    copies = -(-people // (len(ids) - 100))
    many = pd.concat([others.assign(**{person: others[person].map(lambda v, n=n: f"{n} {v}")}) for n in range(copies)])
    control = many[many[person].isin(many[person].drop_duplicates()[:people])].reset_index(drop=True)
    frames = encode(original.assign(**{person: original[person].map(str)}), original, control, Meta(person))
    setting = Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)
    assert decides(people) == membership_decides(control, person) == (people == 2000)
    found = [j.finding for j in membership(setting)]
    assert [f.primary for f in found] == [decides(people), *[False] * (len(found) - 1)]
    asked = found[0].control
    assert isinstance(asked, Estimate)
    assert asked.n >= people // 2


def test_a_sorted_control_reconstructs_no_more_than_a_shuffled_one() -> None:
    people = thirds(400, 5)
    control = pd.concat([people.control, people.fresh, thirds(400, 6).control], ignore_index=True)
    for made in (control, control.sort_values("age"), control.sort_values("sex", ascending=False)):
        frames = encode(people.original, thirds(400, 7).fresh, made.reset_index(drop=True))
        split = Split(frames.original, frames.control, None)
        options = Options(attacks=300, attack="linear_reconstruction")
        (told,) = examine(split, Release(frames.synthetic), options).findings
        assert isinstance(told.excess, Estimate)
        assert told.excess.low < 0.05


def test_the_same_people_in_the_control_are_seen_though_each_has_several_rows(hospital: Thirds) -> None:
    def five_each(people: pd.DataFrame, prefix: str) -> pd.DataFrame:
        return people.assign(id=[f"{prefix}{i}" for i in range(len(people))]).loc[lambda t: t.index.repeat(5)]

    original = five_each(hospital.original.head(300), "a").reset_index(drop=True)
    shared = pd.concat([hospital.original.head(60), hospital.control.head(240)], ignore_index=True)
    for control, found in ((shared, True), (hospital.control.head(300), False)):
        frames = encode(original, hospital.fresh, five_each(control, "b").reset_index(drop=True), Meta("id"))
        assert frames.control is not None
        assert (overlap_p(frames.original, frames.control, np.random.default_rng(0)) < 0.01) == found


def test_one_person_is_one_however_a_file_writes_the_id(hospital: Thirds, tmp_path: Path) -> None:
    original = hospital.original.assign(id=[str(i) for i in range(700)])
    control = hospital.control.assign(id=[f" {i}.0" for i in range(600, 1300)])
    with pytest.raises(InputError, match="TB-SPLIT-001"):
        evaluate(original, hospital.fresh, control, person="id", attacks=50)
    for role in ("original", "synthetic"):
        (tmp_path / role).mkdir()
        people = pd.DataFrame({"id": range(50), "age": range(50)})
        people.to_csv(tmp_path / role / "patients.csv", index=False)
        pd.DataFrame({"id": [*range(50)] * 2, "pressure": range(100)}).to_parquet(tmp_path / role / "visits.parquet")
    linked = read_folders({r: tmp_path / r for r in ("original", "synthetic")}, "id")
    assert len(linked.frames["original"]) == 50
    assert not linked.frames["original"].isna().any().any()


def test_categories_that_say_one_thing_alone_are_read(hospital: Thirds) -> None:
    tables = [
        t.assign(constant=pd.Categorical(["x"] * len(t)), level=pd.Categorical([1] * len(t)))
        for t in (hospital.original, hospital.fresh, hospital.control)
    ]
    frames = encode(*tables)
    assert [c.kind for c in frames.original.columns][-2:] == ["categorical", "numeric"]


def test_runs_are_joined_by_what_they_ask(hospital: Thirds) -> None:
    people = [t.head(200) for t in (hospital.original, hospital.fresh, hospital.control)]
    runs = [evaluate(*people, attacks=100, seed=seed).result.findings for seed in range(5)]
    runs[2] = [f for f in runs[2] if f.target != "age"]
    joined = over_runs([list(r) for r in runs])
    of_age = [f for f in joined if f.target == "age"]
    assert of_age
    assert all(f.measure.unmeasured == "not_in_every_run" for f in of_age)  # type: ignore[union-attr]
    asked = {(f.attack.name, f.target) for f in runs[0]}
    assert {(f.attack.name, f.target) for f in joined} >= asked
    link = next(f for f in joined if f.rule == "TB-LINKABILITY-001")
    assert isinstance(link.baseline, Estimate)
    assert link.baseline.low == link.baseline.high == link.baseline.value


def test_whether_membership_decides_follows_from_the_people_of_the_control() -> None:
    table = pd.DataFrame({"id": [*range(1500)] * 2})
    assert membership_decides(table, None)
    assert not membership_decides(table, "id")


def named(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    first = ["Anna", "Erik", "Karin", "Lars", "Eva", "Olof", "Maria", "Per", "Sara", "Johan"]
    last = [f"{a}{b}" for a in ("Berg", "Lind", "Sand", "Ek", "Dal", "Sjö", "Hall", "Alm") for b in ("ström", "gren")]
    names = [f"{rng.choice(first)} {rng.choice(last)}" for _ in range(n)]
    return pd.DataFrame({"name": names, "age": rng.integers(20, 90, n), "lab": rng.normal(size=n).round(3)})


def test_names_that_made_up_people_share_by_chance_fail_nobody() -> None:
    for size in (1000, 100):
        (own,) = direct_identifiers(searched(named(300, 1), named(300, 2), named(size, 3)))
        assert "identifiers_present" in own.validity.flags
        assert "copied" not in own.validity.flags


def test_names_by_chance_hide_no_address_that_nobody_makes_up() -> None:
    tables = [named(300, seed).assign(mail=[f"u{seed}k{i}@example.org" for i in range(300)]) for seed in (1, 2, 3)]
    original, release, control = tables
    for leaked in (0, 1):
        release.loc[7, "mail"] = original["mail"][0] if leaked else release["mail"][7]
        (own,) = direct_identifiers(searched(original, release, control))
        assert ("copied" in own.validity.flags) == bool(leaked)
