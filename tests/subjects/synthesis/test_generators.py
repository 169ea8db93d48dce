"""Generators keep a table's form, plants are nested, and utility is high for real people and low for noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import UsageError
from testbed.data import load_table
from testbed.data.tables.encode import encode
from testbed.data.tables.files import read_file
from testbed.findings.schema import Estimate
from testbed.harness.release.utility import utility
from testbed.subjects.synthesis import synthesise
from testbed.subjects.synthesis.binned import Binned
from testbed.subjects.synthesis.planted import KINDS, planted
from tests.cli.test_cli import invoke
from tests.conftest import Thirds


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_independent_marginals_keep_each_column_and_no_relation() -> None:
    x = rng().normal(size=2000)
    original = pd.DataFrame({"x": x, "same": x, "kind": pd.Categorical(np.where(x > 0, "a", "b"))})
    made = synthesise("independent_marginals", original, 2000, rng())
    assert made.dtypes.tolist() == original.dtypes.tolist()
    assert set(made["x"]) <= set(original["x"])
    assert abs(np.corrcoef(made["x"], made["same"])[0, 1]) < 0.1


def test_a_gaussian_copula_keeps_relations(hospital: Thirds) -> None:
    pytest.importorskip("sdv")
    made = synthesise("gaussian_copula", hospital.original, 500, rng())
    assert list(made.columns) == list(hospital.original.columns)
    assert len(made) == 500
    real = np.corrcoef(hospital.original["age"], hospital.original["pressure"])[0, 1]
    assert np.corrcoef(made["age"], made["pressure"])[0, 1] == pytest.approx(real, abs=0.15)


def test_unknown_generators_and_plants_are_refused(hospital: Thirds) -> None:
    with pytest.raises(UsageError, match="TB-SYNTH-006"):
        synthesise("alchemy", hospital.original, 10, rng())
    with pytest.raises(UsageError, match="TB-SYNTH-003"):
        planted(hospital.fresh, hospital.original, 1.5, rng())
    with pytest.raises(UsageError, match="TB-SYNTH-004"):
        planted(hospital.fresh, hospital.original, 0.5, rng(), "buried")
    for name in ("par", "hma"):
        with pytest.raises(UsageError, match="TB-SYNTH-005"):
            synthesise(name, hospital.original, 10, rng())
    for name in ("mst", "aim", "noisy_marginals"):
        with pytest.raises(UsageError, match="TB-SYNTH-008"):
            synthesise(name, hospital.original, 10, rng())
        for epsilon in (0.0, float("inf"), float("nan")):
            with pytest.raises(UsageError, match="TB-SYNTH-007"):
                synthesise(name, hospital.original, 10, rng(), public=hospital.control, epsilon=epsilon)
    with pytest.raises(UsageError, match="TB-SYNTH-013"):
        synthesise("mst", hospital.original[["age"]], 10, rng(), public=hospital.control)


def rows(frame: pd.DataFrame) -> set[tuple[object, ...]]:
    return set(frame.itertuples(index=False, name=None))


def test_plants_are_original_rows_and_nested(hospital: Thirds) -> None:
    made = [planted(hospital.fresh, hospital.original, share, rng(3)) for share in (0.05, 0.2)]
    original = rows(hospital.original)
    held = [rows(m) & original for m in made]
    assert [len(m) for m in made] == [700, 700]
    assert len(held[0]) == pytest.approx(35, abs=2)
    assert held[0] < held[1]


def test_jittered_and_changed_plants_are_near_and_not_equal(hospital: Thirds) -> None:
    for kind in KINDS[1:]:
        made = planted(hospital.fresh, hospital.original, 1.0, rng(3), kind)
        assert len(rows(made) & rows(hospital.original)) < 0.3 * len(made)
        assert made.dtypes.tolist() == hospital.original.dtypes.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ctgan", "tvae", "copula_gan"])
def test_networks_train_and_keep_the_form(name: str, hospital: Thirds) -> None:
    made = synthesise(name, hospital.original, 100, rng(), epochs=2)
    assert list(made.columns) == list(hospital.original.columns)
    assert len(made) == 100


@pytest.mark.parametrize("more", ["4,,,", "4,unknown,unknown,unknown", "x,1.5,false,2020-01-01 10:00:00"])
def test_a_records_code_follows_from_that_record_alone(more: str, tmp_path: Path) -> None:
    """One record more may change how a whole column is read; where codes changed with it no noise would hide it."""
    public = pd.DataFrame({"ward": ["1", "2", "A"], "dose": [0.0, 2.0, 5.5], "flag": ["TRUE", "FALSE", "TRUE"]})
    public["seen"] = ["2020-01-01", "2021-01-01", "2022-01-01"]
    binned = Binned.of(public)
    lines = ["ward,dose,flag,seen", '1,"0,5",TRUE,2020-01-01', '2,"5,25",FALSE,2021-01-01', '1,"0,5",TRUE,2021-01-01']
    made = []
    for name, rows in (("one", lines), ("more", [*lines, more])):
        (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
        made.append(binned.codes(read_file(tmp_path / f"{name}.csv", "original")))
    assert np.array_equal(made[0], made[1][:3])
    assert made[0][:, 0].tolist() == [0, 1, 0]
    assert made[0][0, 1] < made[0][1, 1]
    assert made[0][:, 2].tolist() == [0, 1, 0]
    assert made[0][:, 3].tolist() == [0, 1, 1]


@pytest.mark.parametrize("form", ["text", "dates", "moments", "zone", "objects"])
def test_many_dates_are_quantities(form: str, tmp_path: Path) -> None:
    """A thousand days as twenty categories would lose nearly all of them."""
    n = 2000
    days: Any = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(rng().integers(0, 1000, n), "D"))
    if form in ("moments", "zone"):
        days = days + pd.to_timedelta(rng(1).integers(0, 86400, n), "s")
    forms = {"text": days.dt.strftime("%Y-%m-%d"), "zone": days.dt.tz_localize("Europe/Stockholm", ambiguous="NaT")}
    column = forms.get(form, days.dt.date if form == "objects" else days).copy()
    column[::10] = None
    table = pd.DataFrame({"seen": column, "sex": rng(2).choice(["f", "m"], n)})
    made = synthesise("noisy_marginals", table, n, rng(), epsilon=1000.0, public=table)
    kept: Any = pd.to_datetime(made["seen"]).dt.tz_localize(None)
    there: Any = kept[kept.notna()]
    assert made["seen"].dtype == table["seen"].dtype
    assert kept.isna().mean() == pytest.approx(0.1, abs=0.02)
    assert there.nunique() > 600
    assert there.between("2019-12-31", "2022-09-28").all()
    assert (there - pd.Timestamp("2020-01-01")).dt.days.mean() == pytest.approx(500, abs=25)
    whole = (there == there.dt.normalize()).all()
    assert whole == (form in ("text", "dates", "objects"))
    binned, first = Binned.of(table), table[:20]
    alone = [binned.codes(first[i : i + 1])[0].tolist() for i in range(20)]
    assert alone == binned.codes(first).tolist()


def test_bins_keep_kinds_and_frequent_values() -> None:
    n = 2000
    table = pd.DataFrame({"cost": np.where(rng().random(n) < 0.95, 0, rng(1).integers(1, 100_000, n))})
    table["same"], table["huge"], table["flag"] = 7.5, 1e300 * rng(2).random(n), rng(3).random(n) < 0.9
    table["seen"] = pd.to_datetime(np.where(table["flag"], "2020-01-01", "2021-01-01"))
    made = synthesise("noisy_marginals", table, n, rng(), epsilon=1000.0, public=table)
    assert made.dtypes.tolist() == table.dtypes.tolist()
    assert (made["cost"] == 0).mean() == pytest.approx(0.95, abs=0.03)
    assert set(made["same"]) == {7.5}
    assert made["huge"].min() >= 0
    assert made["flag"].mean() == pytest.approx(0.9, abs=0.03)
    assert (made["seen"] == "2020-01-01").mean() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--generator", "noisy_marginals", "--public", "p.csv"], "TB-SYNTH-014"),
        (["--generator", "noisy_marginals", "--public", "o.csv", "--rows", "9"], "TB-SYNTH-015"),
        (["--generator", "noisy_marginals", "--rows", "9"], "TB-SYNTH-008"),
    ],
)
def test_a_private_generator_is_told_nothing_by_the_original(
    options: list[str],
    code: str,
    hospital: Thirds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    hospital.original.to_csv("o.csv", index=False)
    hospital.control.to_csv("p.csv", index=False)
    assert invoke(monkeypatch, "synthesise", "--original", "o.csv", "--out", "s.csv", *options) == 2
    assert code in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mst", "aim"])
def test_private_marginals_keep_relations_and_gaps(name: str) -> None:
    pytest.importorskip("opendp")
    x = rng().integers(0, 4, 4000)
    table = pd.DataFrame({"x": x, "same": np.where(x > 1, "high", "low"), "y": rng(1).normal(size=4000)})
    table["gap"] = table["y"].where(rng(2).random(4000) < 0.7)
    made = synthesise(name, table.head(2000), 1500, rng(), epsilon=20.0, public=table.tail(2000))
    assert made.dtypes.tolist() == table.dtypes.tolist()
    assert len(made) == 1500
    assert ((made["x"] > 1) == (made["same"] == "high")).mean() > 0.95
    assert made["y"].notna().all()
    assert made["gap"].isna().mean() == pytest.approx(0.3, abs=0.05)
    assert not set(made["y"]) & set(table["y"])


@pytest.mark.slow
def test_people_and_visits_are_drawn_as_linked_tables() -> None:
    table = load_table("pbc2")
    table = table.assign(late=table["age"] > 60)
    made = synthesise("hma", table, 600, rng(), person="id")
    assert list(made.columns) == list(table.columns)
    assert len(made) == pytest.approx(600, rel=0.1)
    assert made["id"].value_counts().max() > 1
    assert made.groupby("id")["age"].nunique().max() == 1
    assert made["age"].mean() == pytest.approx(table["age"].mean(), abs=5)
    with pytest.raises(UsageError, match="TB-SYNTH-011"):
        synthesise("hma", table[["id", "age"]], 10, rng(), person="id")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pbc2", "framingham"])
def test_sequences_of_visits_are_drawn_person_by_person(name: str) -> None:
    table = load_table(name)
    person = {"pbc2": "id", "framingham": "RANDID"}[name]
    some = table[table[person].isin(table[person].unique()[:60])].reset_index(drop=True)
    made = synthesise("par", some, len(some), rng(), epochs=1, person=person)
    assert list(made.columns) == list(some.columns)
    assert 2 <= made[person].nunique() <= 100
    assert made[person].value_counts().max() > 1


def test_synthesise_writes_a_table_whole(
    hospital: Thirds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hospital.original.to_csv(tmp_path / "o.csv", index=False)
    command = ["synthesise", "--original", str(tmp_path / "o.csv"), "--generator", "independent_marginals"]
    for name in ("s.csv", "s.parquet"):
        assert invoke(monkeypatch, *command, "--planted", "0.1", "--out", str(tmp_path / name)) == 0
        assert len(read_file(tmp_path / name, "synthetic")) == 700
    assert invoke(monkeypatch, *command, "--out", str(tmp_path / "s.csv")) == 2
    assert invoke(monkeypatch, *command, "--out", str(tmp_path / "s.xlsx")) == 2
    assert "TB-OUT-004" in capsys.readouterr().err


def figures(release: pd.DataFrame, real: pd.DataFrame) -> list[float]:
    frames = encode(real, release)
    measures = [u.measure for u in utility(frames.synthetic, frames.original, 1, ("diagnosis", "age"))]
    assert all(isinstance(m, Estimate) for m in measures)
    return [m.value for m in measures if isinstance(m, Estimate)]


def test_utility_is_high_for_further_people_and_low_for_noise(hospital: Thirds) -> None:
    good = figures(hospital.fresh, hospital.control)
    noise = figures(synthesise("independent_marginals", hospital.fresh, 700, rng()), hospital.control)
    assert good[0] > 0.9
    assert noise[0] > 0.9  # marginals are all that it keeps
    assert good[1] > noise[1]
    assert good[2] > 0.3 > noise[2]
    assert abs(good[3] - 0.5) < 0.08 < noise[3] - 0.5


def test_a_copy_earns_no_more_than_further_people(hospital: Thirds) -> None:
    copy, good = (figures(t, hospital.control) for t in (hospital.original, hospital.fresh))
    assert copy == pytest.approx(good, abs=0.1)


def test_marginals_by_hand() -> None:
    real = pd.DataFrame({"w": ["a", "a", "b", "b"], "x": [0.0, 1.0, 2.0, 3.0]})
    release = pd.DataFrame({"w": ["a", "a", "a", "b"], "x": [0.0, 1.0, 10.0, 11.0]})
    frames = encode(real, release)
    measure = utility(frames.synthetic, frames.original, 0)[0].measure
    assert isinstance(measure, Estimate)
    assert measure.value == pytest.approx((0.75 + 0.5) / 2)


def test_noisy_marginals_of_a_mixed_table_keep_kinds_and_hold_no_original_number() -> None:
    table = load_table("support2")
    half = table.head(len(table) // 2)
    made = synthesise("noisy_marginals", half, 2000, rng(), epsilon=50.0, public=table)
    frames = encode(half, made)
    assert [c.kind for c in frames.synthetic.columns] == [c.kind for c in encode(half, half).synthetic.columns]
    assert made["age"].mean() == pytest.approx(half["age"].mean(), abs=3)
    fractional = half["age"][half["age"] % 1 != 0]
    assert not set(made["age"]) & set(fractional)
