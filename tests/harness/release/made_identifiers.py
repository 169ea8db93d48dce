"""Made identifiers of many kinds, alone and inside notes, and columns that hold none. No value is anybody's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from stdnum import iban, luhn
from stdnum.au import tfn
from stdnum.ch import ssn as ahv
from stdnum.de import idnr
from stdnum.es import dni
from stdnum.fi import hetu
from stdnum.gb import nhs
from stdnum.ie import pps
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel

Rng = np.random.Generator
FIRST = [
    "anna",
    "erik",
    "maría",
    "jean-luc",
    "łukasz",
    "fatima",
    "o'neil",
    "åsa",
    "giulia",
    "jürgen",
    "noor",
    "siobhán",
]
LAST = ["svensson", "müller", "rossi", "de la cruz", "nowak", "öberg", "van dijk", "dupont", "al-masri", "mcbride"]


@dataclass(frozen=True, slots=True)
class Made:
    """One kind: how a value is made, the column that holds it alone, and how a note announces it."""

    kind: str
    value: Callable[[Rng], str]
    column: str = "value"
    note: str = "{}"


def digits(rng: Rng, n: int) -> str:
    return "".join(map(str, rng.integers(0, 10, n)))


def _until(make: Callable[[Rng], str], good: Callable[[str], bool]) -> Callable[[Rng], str]:
    def made(rng: Rng) -> str:
        while not good(value := make(rng)):
            pass
        return value

    return made


def _born(rng: Rng) -> str:
    return f"{rng.integers(30, 99):02d}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}"


def _personnummer(rng: Rng) -> str:
    number = _born(rng) + digits(rng, 3)
    return f"{number[:6]}-{number[6:]}{luhn.calc_check_digit(number)}"


def _letter(rng: Rng) -> str:
    return chr(65 + int(rng.integers(26)))


def _nhs(rng: Rng) -> str:
    number = _until(lambda r: "4" + digits(r, 9), nhs.is_valid)(rng)
    return f"{number[:3]} {number[3:6]} {number[6:]}"


def _kvnr(rng: Rng) -> str:
    from testbed.harness.release.national_ids import check

    return _until(lambda r: chr(65 + int(r.integers(26))) + digits(r, 9), check("kvnr"))(rng)


def _sin(rng: Rng) -> str:
    number = "5" + digits(rng, 7)
    number += luhn.calc_check_digit(number)
    return f"{number[:3]} {number[3:6]} {number[6:]}"


def _medicare(rng: Rng) -> str:
    body = "2" + digits(rng, 7)
    last = sum(int(d) * w for d, w in zip(body, (1, 3, 7, 9, 1, 3, 7, 9), strict=True)) % 10
    return f"{body[:4]} {body[4:]}{last} {rng.integers(1, 9)}"


def _nir(rng: Rng) -> str:
    number = f"1{rng.integers(10, 99)}{rng.integers(1, 13):02d}{rng.integers(10, 90)}{digits(rng, 6)}"
    number += f"{97 - int(number) % 97:02d}"
    return f"{number[0]} {number[1:3]} {number[3:5]} {number[5:7]} {number[7:10]} {number[10:13]} {number[13:]}"


def _codice(rng: Rng) -> str:
    letters, month = "".join(rng.choice(list("BCDFGLMNPRST"), 6)), _pick(rng, list("ABCDEHLMPRST"))
    return f"{letters}{rng.integers(30, 99)}{month}{rng.integers(1, 29):02d}H501{_letter(rng)}"


def _hetu(rng: Rng) -> str:
    born = _born(rng)
    sign = _pick(rng, list("0123456789ABCDEFHJKLMNPRSTUVWXY"))
    return f"{born[4:]}{born[2:4]}{born[:2]}-{rng.integers(2, 900):03d}{sign}"


def _ahv(rng: Rng) -> str:
    number = _until(lambda r: "756" + digits(r, 10), ahv.is_valid)(rng)
    return f"{number[:3]}.{number[3:7]}.{number[7:11]}.{number[11:]}"


def _niss(rng: Rng) -> str:
    number = _born(rng) + f"{rng.integers(1, 998):03d}"
    number += f"{97 - int(number) % 97:02d}"
    return f"{number[:2]}.{number[2:4]}.{number[4:6]}-{number[6:9]}.{number[9:]}"


def _iban(rng: Rng) -> str:
    number = "DE00" + digits(rng, 18)
    whole = "DE" + iban.calc_check_digits(number) + number[4:]
    return " ".join(whole[i : i + 4] for i in range(0, 22, 4))


def _card(rng: Rng) -> str:
    number = "4" + digits(rng, 14)
    number += luhn.calc_check_digit(number)
    return " ".join(number[i : i + 4] for i in range(0, 16, 4))


def _pick(rng: Rng, names: list[str]) -> str:
    return str(rng.choice(names))


def _phone(form: str) -> Callable[[Rng], str]:
    return lambda rng: "".join(
        str(rng.integers(2, 9)) if c == "N" else str(rng.integers(10)) if c == "d" else c for c in form
    )


MADE = (
    Made("e-mail address", lambda r: f"{_pick(r, ['anna', 'erik'])}.{digits(r, 3)}@example.org", note="write to {}"),
    Made("Swedish personal number", _personnummer, note="pnr {}"),
    Made(
        "US social security number", lambda r: f"{r.integers(100, 600)}-{r.integers(10, 99)}-{r.integers(1000, 9999)}"
    ),
    Made("international telephone", lambda r: f"+46 8 {r.integers(500, 599)} {digits(r, 3)} 00", note="reached on {}"),
    Made("US telephone", _phone("(415) Ndd-dddd"), note="daughter {}"),
    Made("German telephone", _phone("0421 Nddddd"), "telefon", "Tel. {}"),
    Made("NHS number", _nhs, note="NHS no. {}"),
    Made("German health insurance number", _kvnr, note="KVNR {}"),
    Made("Canadian SIN", _sin, note="SIN: {}"),
    Made("Australian Medicare", _medicare, note="Medicare card {}"),
    Made("Australian TFN", _until(lambda r: digits(r, 9), tfn.is_valid), note="TFN {}"),
    Made("Irish PPS", _until(lambda r: digits(r, 7) + _letter(r), pps.is_valid), note="PPS no {}"),
    Made("French NIR", _nir, note="n° sécu {}"),
    Made("Italian codice fiscale", _until(_codice, codicefiscale.is_valid), note="CF {}"),
    Made("Spanish DNI", _until(lambda r: digits(r, 8) + _letter(r), dni.is_valid), note="DNI {}"),
    Made("Dutch BSN", _until(lambda r: digits(r, 9), bsn.is_valid), note="BSN {}"),
    Made("Swiss AHV", _ahv, note="AHV-Nr. {}"),
    Made("Finnish hetu", _until(_hetu, hetu.is_valid), note="asiakas {}"),
    Made("Belgian NISS", _niss, note="NISS {}"),
    Made("Polish PESEL", _until(lambda r: _born(r) + digits(r, 5), pesel.is_valid), note="PESEL {}"),
    Made("German tax id", _until(lambda r: digits(r, 11), idnr.is_valid), note="Steuer-ID {}"),
    Made("IBAN", _iban, note="refund to {}"),
    Made("payment card", _card, note="paid by {}"),
    Made("record number", lambda r: f"MRN-{digits(r, 8)}", "mrn", "{}"),
    Made("bare record number", lambda r: digits(r, 7), "patient_id", "patient id {}"),
    Made("FHIR reference", lambda r: f"Patient/{r.integers(100, 99999)}", note="see {}"),
    Made("web address", lambda r: f"https://ehr.example.org/p/{digits(r, 6)}", note="see {}"),
    Made("IP address", lambda r: ".".join(map(str, r.integers(11, 250, 4))), note="login from {}"),
    Made("coordinates", lambda r: f"{55 + r.random():.5f}, {13 + r.random():.5f}", note="found at {}"),
    Made("coordinates to four decimals", lambda r: f"{55 + r.random():.4f}, {13 + r.random():.4f}", "gps", "GPS {}"),
    Made("last name", lambda r: _pick(r, LAST), "lname", "Mrs {}"),
    Made("first name with blanks", lambda r: f"{_pick(r, FIRST).upper()}  ", "Vorname", "Frau {}"),
    Made("whole name", lambda r: f"{_pick(r, FIRST)} {_pick(r, LAST)}", "patient_name", "Patient: {}"),
    Made("street address", lambda r: f"{_pick(r, ['Storgatan', 'Hauptstraße', 'Kerkstraat'])} {r.integers(1, 90)}"),
    Made("French address", lambda r: f"{r.integers(1, 90)} rue de la République", note="habite {}"),
)
NOTES = (
    "seen in clinic, {}, stable",
    "{}. plan: review in 2 weeks",
    "called family ({}) on day 3",
    "bp 120/80, {}, hb 132",
)


def others(rng: Rng, n: int) -> dict[str, list[str]]:
    """Columns that hold no identifier, by name."""
    days = [f"{rng.integers(1990, 2024)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}" for _ in range(n)]
    return {
        "study_uid": [f"1.2.840.113619.2.72.{digits(rng, 10)}.{digits(rng, 8)}" for _ in range(n)],
        "series": [f"2.25.{digits(rng, 30)}.{digits(rng, 3)}.4" for _ in range(n)],
        "admitted": days,
        "drawn_at": [f"{d}T{rng.integers(24):02d}:{rng.integers(60):02d}:00Z" for d in days],
        "lab_number": [f"{rng.integers(18, 25)}-{digits(rng, 6)}" for _ in range(n)],
        "accession": [f"L{digits(rng, 9)}" for _ in range(n)],
        "count": [digits(rng, 9) for _ in range(n)],
        "ten": [digits(rng, 10) for _ in range(n)],
        "eleven": [digits(rng, 11) for _ in range(n)],
        "thirteen": [digits(rng, 13) for _ in range(n)],
        "sixteen": [digits(rng, 16) for _ in range(n)],
        "lot": [digits(rng, 8) + _pick(rng, list("ABCDEFGH")) for _ in range(n)],
        "snomed": [_pick(rng, ["73211009", "44054006", "38341003"]) for _ in range(n)],
        "icd10": [f"{_pick(rng, list('CEIJ'))}{digits(rng, 2)}.{digits(rng, 1)}" for _ in range(n)],
        "loinc": [f"{digits(rng, 4)}-{digits(rng, 1)}" for _ in range(n)],
        "pressure": [f"{rng.integers(90, 180)}/{rng.integers(50, 110)}" for _ in range(n)],
        "ratio": [f"{rng.random():.4f}, {rng.random():.4f}" for _ in range(n)],
        "version": [f"{rng.integers(1, 9)}.{rng.integers(9)}.{rng.integers(9)}.{rng.integers(2000)}" for _ in range(n)],
        "system": ["http://snomed.info/sct", "http://loinc.org"] * (n // 2),
        "drug_name": [_pick(rng, ["alvedon forte", "ipren", "waran"]) for _ in range(n)],
        "ward": [_pick(rng, ["Intensive Care", "Day Surgery", "Mother And Child"]) for _ in range(n)],
        "contact": [_pick(rng, ["by phone", "at home", "in clinic", "not reached"]) for _ in range(n)],
        "nom_medicament": [_pick(rng, ["doliprane", "aspirine", "kardegic"]) for _ in range(n)],
        "note": [
            f"admitted {days[i]}, Na {rng.integers(130, 150)}, lot {digits(rng, 9)}, dose {rng.random():.6f} "
            f"at {rng.integers(24):02d}:{rng.integers(60):02d}, patient/family informed, Sr urea {digits(rng, 3)}, "
            f"study 1.2.840.10008.{digits(rng, 9)}.{digits(rng, 4)}.1, build 10.0.19.{rng.integers(255)}, case 4 of 12"
            for i in range(n)
        ],
    }
