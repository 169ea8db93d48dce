"""Direct identifiers: found with few misses and few false alarms on a fixture, and judged by whose they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from stdnum import luhn

from testbed.core import Release
from testbed.data.tables.encode import encode
from testbed.data.tables.set_aside import as_written
from testbed.harness.release import identifiers
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.identifier_rule import direct_identifiers
from testbed.harness.release.identifiers import emails, personnummer, phones, scan
from testbed.harness.release.setting import Setting
from tests.harness.release.made_identifiers import MADE, Made
from tests.harness.release.searched import searched

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(4)


def a_personnummer(rng: np.random.Generator, form: str) -> str:
    born = pd.Timestamp("1930-01-01") + pd.Timedelta(days=int(rng.integers(0, 30_000)))
    digits = born.strftime("%y%m%d") + f"{rng.integers(0, 1000):03d}"
    whole = digits + luhn.calc_check_digit(digits)
    century = born.strftime("%Y")[:2]
    return {
        "short": f"{whole[:6]}-{whole[6:]}",
        "long": f"{century}{whole[:6]}-{whole[6:]}",
        "bare": century + whole,
        "text": f"pat. {whole[:6]}-{whole[6:]} kom akut",
    }[form]


def wrong_check_digit(number: str) -> str:
    digit = next(i for i in range(len(number) - 1, -1, -1) if number[i].isdigit())
    return number[:digit] + str((int(number[digit]) + 1 + int(RNG.integers(0, 8))) % 10) + number[digit + 1 :]


@pytest.mark.parametrize("form", ["short", "long", "bare", "text"])
def test_personnummer_are_recognised_and_others_are_not(form: str) -> None:
    real = [a_personnummer(RNG, form) for _ in range(300)]
    assert all(map(personnummer, real))  # recall
    assert sum(map(personnummer, map(wrong_check_digit, real))) <= 1  # precision against near misses
    dates = [(pd.Timestamp("1990-01-01") + pd.Timedelta(days=i)).strftime("%Y-%m-%d %H:%M") for i in range(300)]
    numbers = [str(n) for n in RNG.integers(10**6, 10**8, 300)]
    assert not any(map(personnummer, dates + numbers))


def test_a_coordination_number_counts_too() -> None:
    assert personnummer("701063-2391")
    assert not personnummer("701063-2392")


def test_email_addresses_are_recognised_and_others_are_not() -> None:
    real = ["anna.berg@example.org", "x+y@sub.domain.co.uk", "mail: o'neil@hospital.se.", "A_B@x-y.museum"]
    other = ["a@b", "@example.org", "5 mg @ night", "user at example.org", "price@3.50", "name@.se", "dose 2@10:30"]
    assert all(map(emails, real))
    assert not any(map(emails, other))


def test_telephone_numbers_are_recognised_and_measurements_are_not() -> None:
    assert all(map(phones, ["070-174 06 05", "+46 8 505 990 00", "ring +44 20 7946 0018 efter kl 9"]))
    assert not any(map(phones, ["120/80", "2019-03-04", "12345678", "10.5 - 11.2 mmol/l", "ICD-10 F32.1"]))


def test_national_ids_of_other_countries() -> None:
    assert [f.kind for f in scan("hetu", ["131052-308T", "010594Y9032"])] == ["national id"]
    # A rule that one number in eleven passes by chance needs most of a column.
    numbers = [str(n) for n in range(4_505_577_000, 4_505_577_100)]
    assert scan("lab", numbers) == []


def test_names_and_addresses_by_their_form() -> None:
    kinds = {f.kind for f in scan("patient_name", ["Anna Berg", "Erik von Sydow", "Åsa Öst"])}
    assert any("name" in k for k in kinds)
    assert scan("drug_name", ["Alvedon Forte", "Ipren Extra"]) == []
    assert scan("ward", ["Intensive Care", "Day Surgery"]) == []
    assert scan("home", ["Storgatan 14", "Lilla vägen 3 B"])[0].kind.startswith("street")


@pytest.mark.parametrize("between", ["-", "+", " ", "–"])
def test_a_personnummer_is_known_by_any_separator(between: str) -> None:
    real = [a_personnummer(RNG, "long") for _ in range(50)]
    for number in real:
        assert personnummer(number.replace("-", between))
        assert personnummer(f"{number[:4]}-{number[4:6]}-{number[6:8]}{between}{number[9:]}") or between == "+"


def test_bare_numbers_of_which_some_pass_by_chance_are_no_ids() -> None:
    rng = np.random.default_rng(1)
    seconds = rng.integers(1_000_000_000, 1_700_000_000, 2000).astype(float)
    minutes = [(pd.Timestamp("2001-01-01") + pd.Timedelta(minutes=int(m))).strftime("%Y%m%d%H%M") for m in range(2000)]
    codes = rng.integers(100_000_000, 999_999_999, 2000).astype(float)
    for values in (seconds, minutes, codes, rng.integers(10**9, 10**10, 2000).astype(float)):
        assert scan("value", values) == []
    assert scan("id", [a_personnummer(rng, "bare") for _ in range(50)])[0].kind == "Swedish personal number"
    assert scan("ssn", ["536-90-4399", "219-09-9998"])[0].kind == "US social security number"


def test_all_of_many_texts_are_looked_at_for_addresses_of_mail() -> None:
    texts = [f"note {i}" for i in range(12_000)] + ["write to a.b@example.org"]
    assert scan("note", texts)[0].values == {"write to a.b@example.org"}


def test_names_of_people_in_their_usual_forms() -> None:
    people = ["Svensson, Anna", "Łukasz Żak", "Anna von Essen", "Jean-Luc O'Neil"]
    for column in ("patientName", "patient", "Name", "full_name"):
        assert scan(column, people)
    for column in ("surname", "förnamn", "lastName", "given_name"):
        assert scan(column, ["Svensson", "Öberg", "Al", "O'Neil"])
    for column in ("city_name", "municipality_name", "drug_name", "sex"):
        assert scan(column, ["Stockholm", "Malmö", "New York"]) == []
    assert scan("home", ["Kungsgatan 12B"])


def test_a_finding_quotes_no_value() -> None:
    assert "anna" not in repr(scan("contact", ["anna@example.org"])[0])


def people(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "lab": rng.normal(size=n).round(3),
            "contact": [f"p{seed}x{i}@example.org" for i in range(n)],
        }
    )


def finding_of(release: pd.DataFrame, control: pd.DataFrame | None = None) -> tuple[str, object]:
    made = evaluate(people(300, 1), release, people(300, 2) if control is None else control, attacks=50).result
    own = [f for f in made.findings if f.attack.name == "direct_identifiers"]
    return made.decision.verdict, own[0] if own else None


def test_a_members_own_identifier_in_the_release_fails() -> None:
    release = people(300, 3)
    release.loc[5, "contact"] = "p1x7@example.org"
    verdict, found = finding_of(release)
    assert verdict == "fail"
    assert found.measure.value == pytest.approx(1 / 300, rel=1e-3)  # type: ignore[attr-defined]


def test_made_up_identifiers_need_a_person_to_look() -> None:
    verdict, found = finding_of(people(300, 3))
    assert verdict == "review"
    # Telephone numbers are digits in a fixed form too, which a category hides.
    assert found.validity.flags == ["identifiers_present", "kind_in_doubt"]  # type: ignore[attr-defined]


def test_national_ids_read_as_numbers_are_seen() -> None:
    rng = np.random.default_rng(0)

    def made(seed: int) -> pd.DataFrame:
        return (
            people(200, seed).drop(columns="contact").assign(id=[int(a_personnummer(rng, "bare")) for _ in range(200)])
        )

    original, release = made(1), made(3)
    release.loc[4, "id"] = original.loc[9, "id"]
    done = evaluate(original, release, made(2), attacks=50).result
    assert done.decision.verdict == "fail"


def test_a_table_without_identifiers_has_no_such_finding() -> None:
    assert identifiers.scan("stay", [1.5, 2.0, float("nan")]) == []
    release = people(300, 3).drop(columns="contact")
    done = evaluate(people(300, 1).drop(columns="contact"), release, people(300, 2).drop(columns="contact"), attacks=50)
    assert not [f for f in done.result.findings if f.attack.name == "direct_identifiers"]


def test_codes_that_people_share_are_nobodys_identifiers() -> None:
    """Codes of nine digits, as SNOMED's: a fresh release holds as many of the control's as of the original's."""
    rng = np.random.default_rng(0)
    for codes in (rng.integers(100_000_000, 999_999_999, 35), rng.integers(100_000_000, 999_999_999, 600)):
        original, control, release = (people(300, i).drop(columns="contact") for i in (1, 2, 3))
        for frame in (original, control, release):
            frame["code"] = rng.choice(codes, 300)
        assert not direct_identifiers(searched(original, release, control))


def test_the_persons_column_and_dropped_ones_are_searched_though_not_evaluated() -> None:
    """A release may hold them: that they are no attributes takes nobody's number out of it."""
    rng = np.random.default_rng(11)
    tables = [people(300, seed).drop(columns="contact") for seed in (1, 2, 3)]
    for table in tables:
        table["pid"] = [a_personnummer(rng, "short") for _ in range(len(table))]
        table["mail"] = [f"{''.join(rng.choice(list('abcdefgh'), 9))}@example.org" for _ in range(len(table))]
    original, control, release = tables
    kinds = {"mail": "drop"}
    rules: list[list[str]] = []
    for pid, mail in ((original["pid"], release["mail"]), (release["pid"], original["mail"]), (None, None)):
        out = release.drop(columns=["pid", "mail"])
        out = out if pid is None else out.assign(pid=pid.to_numpy(), mail=mail.to_numpy())
        own = direct_identifiers(searched(original, out, control, person="pid", kinds=kinds))
        rules.append(own[0].validity.flags if own else [])
    assert rules == [["copied", "identifiers_present"], ["copied", "identifiers_present"], []]


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("identifiers_benchmark", ROOT / "benchmarks" / "identifiers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_made_kind_is_found_alone_and_inside_notes_without_false_alarms() -> None:
    made = benchmark()
    assert len(MADE) >= 25
    for kind in MADE:
        for where, (recall, precision) in made.measured(kind, 1).items():
            assert recall >= 0.95, (kind.kind, where)
            assert precision >= 0.95, (kind.kind, where)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_columns_of_lab_numbers_dates_counts_and_object_identifiers_hold_no_identifier(seed: int) -> None:
    assert {name: kinds for name, kinds in benchmark().false_alarms(seed).items() if kinds} == {}


def test_an_address_of_the_network_is_one_and_no_national_id() -> None:
    rng = np.random.default_rng(0)
    addresses = [".".join(map(str, rng.integers(1, 250, 4))) for _ in range(200)]
    assert [f.kind for f in scan("value", addresses)] == ["IP address"]


@pytest.mark.parametrize(
    "column",
    [
        "fname",
        "lname",
        "nom",
        "prénom",
        "cognome",
        "Vorname",
        "Nachname",
        "förnamn",
        "apellido",
        "nazwisko",
        "achternaam",
    ],
)
def test_names_are_seen_in_any_case_and_with_blanks(column: str) -> None:
    names = ["svensson", "MÜLLER", "o'neil  ", "de la cruz", "åsa", "jean-luc"]
    for written in (names, [n.upper() for n in names], [f"{n.title()}   " for n in names]):
        assert len(scan(column, written)[0].values) == len(names)
    assert scan(column, ["yes", "no", "unknown"]) == []


def test_record_numbers_are_seen_by_the_columns_name_and_running_numbers_are_nobodys() -> None:
    rng = np.random.default_rng(5)
    tables = [people(300, seed).drop(columns="contact") for seed in (1, 2, 3)]
    for kind, expected in (("random", ["identifiers_present"]), ("running", [])):
        for table in tables:
            table["mrn"] = rng.choice(10**7, 300, replace=False) + 10**6 if kind == "random" else range(10001, 10301)
        found = direct_identifiers(searched(tables[0], tables[2], tables[1]))
        assert [f.validity.flags for f in found] == ([expected] if expected else [])


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.kind)
def test_copied_identifiers_are_found_however_their_column_was_read(made: Made) -> None:
    """Coordinates are read as two numbers, and an address of one form by its house number."""
    rng = np.random.default_rng(MADE.index(made))

    def people(n: int) -> pd.DataFrame:
        pressure = [f"{a}/{b}" for a, b in zip(rng.integers(100, 180, n), rng.integers(50, 99, n), strict=True)]
        return pd.DataFrame({made.column: [made.value(rng) for _ in range(n)], "pressure": pressure})

    original, control = people(120), people(120)
    release = pd.concat([original.head(40), people(80)], ignore_index=True)
    encoded = encode(original, release, control)
    written = as_written(original, release, control, encoded)
    subject = Setting(
        encoded.original, encoded.control, Release(encoded.synthetic), None, 0, lambda _: None, written=written
    )
    (finding,) = direct_identifiers(subject)
    assert "identifiers_present" in finding.validity.flags
    assert "'pressure" not in finding.plain
