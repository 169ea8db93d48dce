"""Numbers that a state, an insurer or a bank gives to one person: their forms, check digits and context words.

Each rule is a form, a check of python-stdnum or of our own, and words that announce the number in a text or in a
column's name. This is how Presidio's recognisers work (https://github.com/microsoft/presidio). Where many numbers pass
a check by chance, one value is believed only after such a word, and a column only if most of its values pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

BEFORE, AFTER = r"(?<![\w.,+-])", r"(?![\w-]|[.,:]\d)"
"""What may not stand beside an id: a letter, a digit, or a sign that makes it a part of a longer number."""
NEAR = 40
"""The characters before a number in which a word must stand to announce it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of number. `grouped` is its form with separators or letters, `bare` the form of digits alone."""

    check: str
    """The module of python-stdnum, or the name of a check of ours."""
    grouped: str
    bare: str = ""
    strong: bool = False
    """Whether a grouped number that passes the check is believed without a word beside it."""
    words: str = ""
    name: str = "national id"
    by_name: bool = False
    """Whether a column of digits alone must be called by one of the words: the check is little more than a date."""


RULES = (
    # https://arthurdejong.org/python-stdnum/doc/2.2/index names the source of each check below.
    Rule("fi.hetu", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", strong=True, words="hetu|henkilötunnus"),
    Rule("it.codicefiscale", r"[A-Z]{6}[\dL-V]{2}[A-EHLMPRST][\dL-V]{2}[A-Z][\dL-V]{3}[A-Z]", strong=True),
    Rule("es.dni", r"\d{8}-?[A-Z]", words="dni|nif|documento"),
    Rule("es.nie", r"[XYZ]-?\d{7}-?[A-Z]", words="nie|extranjero"),
    Rule(
        "fr.nir",
        r"[12][ .]\d\d[ .](?:0[1-9]|1[0-2])[ .](?:\d\d|2[AB])[ .]\d{3}[ .]\d{3}[ .]\d\d",
        r"[12]\d\d(?:0[1-9]|1[0-2])(?:\d\d|2[AB])\d{8}",
        True,
        "nir|sécu|secu|sécurité sociale|securite sociale|insee",
    ),
    Rule("no.fodselsnummer", r"\d{6} \d{5}", r"\d{11}", True, "fødselsnummer|fodselsnummer|fnr|personnummer"),
    Rule("be.nn", r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", r"\d{11}", True, "rijksregister|registre national|insz|niss"),
    Rule("ch.ssn", r"756\.\d{4}\.\d{4}\.\d\d", r"756\d{10}", True, "ahv|avs|oasi"),
    Rule("dk.cpr", r"\d{6}-\d{4}", r"\d{10}", words="cpr|personnummer", by_name=True),
    Rule("nl.bsn", r"\d{4}[ .]\d\d[ .]\d{3}", r"\d{9}", words="bsn|burgerservicenummer|sofi"),
    Rule("pl.pesel", r"\d{11}", r"\d{11}", words="pesel"),
    Rule("gb.nhs", r"\d{3}[ -]\d{3}[ -]\d{4}", r"\d{10}", words="nhs|chi"),
    Rule("de.idnr", r"\d\d \d{3} \d{3} \d{3}", r"\d{11}", words="steuer|idnr|tax id"),
    Rule("kvnr", r"[A-Z]\d{9}", words="kvnr|kv-nr|krankenvers\\w*|versicher\\w*|egk|kk-nr|insurance"),
    Rule("at.vnr", r"\d{4} \d{6}", r"\d{10}", words="svnr|sv-nr|sozialvers\\w*|versicherungsn\\w*"),
    Rule("ca.sin", r"\d{3}[ -]\d{3}[ -]\d{3}", r"\d{9}", words="sin|nas|social insurance"),
    Rule("ca.bc_phn", r"\d{4}[ -]\d{3}[ -]\d{3}", r"\d{10}", words="phn|personal health"),
    Rule("au.tfn", r"\d{3} \d{3} \d{2,3}", r"\d{8,9}", words="tfn|tax file"),
    Rule("medicare", r"\d{4} \d{5} \d(?:[ /-]?\d)?", r"[2-6]\d{9,10}", words="medicare"),
    Rule("ie.pps", r"\d{7}[A-W][A-IW]?", words="pps|ppsn|personal public service"),
    Rule("pt.nif", r"\d{3} \d{3} \d{3}", r"\d{9}", words="nif|contribuinte|fiscal"),
    Rule("cz.rc", r"\d{6}/\d{3,4}", words="rodné|rodne|rč|rc"),
    Rule("ro.cnp", r"\d{13}", r"\d{13}", words="cnp"),
    Rule("hr.oib", r"\d{11}", r"\d{11}", words="oib"),
    Rule("ee.ik", r"\d{11}", r"\d{11}", words="isikukood"),
    Rule("lt.asmens", r"\d{11}", r"\d{11}", words="asmens"),
    Rule("bg.egn", r"\d{10}", r"\d{10}", words="egn|егн"),
    Rule("gr.amka", r"\d{11}", r"\d{11}", words="amka|αμκα"),
    Rule("si.emso", r"\d{13}", r"\d{13}", words="emso|emšo"),
    Rule("tr.tckimlik", r"\d{11}", r"\d{11}", words="kimlik"),
    Rule("is_.kennitala", r"\d{6}-\d{4}", words="kennitala"),
    Rule("br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d\d", r"\d{11}", True, "cpf"),
    Rule("mx.curp", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z\d]\d", strong=True),
    Rule("cl.rut", r"\d{1,2}\.?\d{3}\.?\d{3}-[\dK]", words="rut|run"),
    Rule("cn.ric", r"\d{17}[\dX]", r"\d{17}[\dX]", words="身份证|resident id"),
    Rule("in_.aadhaar", r"\d{4} \d{4} \d{4}", r"\d{12}", words="aadhaar|aadhar|uidai"),
    Rule("il.idnr", r"\d{8}-\d", r"\d{9}", words="teudat|zehut"),
    Rule("za.idnr", r"\d{6} \d{4} \d{3}", r"\d{13}", words="said|rsa id|id number"),
    Rule("kr.rrn", r"\d{6}-\d{7}", words="rrn|주민등록번호"),
    Rule("us.itin", r"9\d\d-\d\d-\d{4}", strong=True, words="itin"),
    # https://www.iban.com/structure and ISO/IEC 7812
    Rule("iban", r"[A-Z]{2}\d\d(?: ?[A-Z\d]{2,4}){3,8}", strong=True, name="bank account number"),
    Rule(
        "card",
        r"(?:[3-6]\d{3}[ -]\d{4}[ -]\d{4}[ -]\d{4}|3[47]\d\d[ -]\d{6}[ -]\d{5})",
        r"[3-6]\d{12,15}",
        True,
        "card|visa|mastercard|amex|kreditkarte|carte|kort",
        "payment card number",
    ),
)


def _kvnr(text: str) -> bool:
    """The German health insurance number (GKV-Spitzenverband, Anlage 1): a letter, eight digits and a check digit."""
    digits = f"{ord(text[0]) - 64:02d}{text[1:9]}"
    products = (int(d) * (1 + i % 2) for i, d in enumerate(digits))
    return sum(p // 10 + p % 10 for p in products) % 10 == int(text[9])


def _medicare(text: str) -> bool:
    """The Australian Medicare number: https://meteor.aihw.gov.au, item 270101."""
    digits = re.sub(r"\D", "", text)
    weighted = sum(int(d) * w for d, w in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9), strict=False))
    return digits[0] in "23456" and weighted % 10 == int(digits[8])


def _card(text: str) -> bool:
    from stdnum import luhn

    digits = re.sub(r"\D", "", text)
    known = re.match(r"4|5[1-5]|2[2-7]|3[47]|6(?:011|5|4[4-9])|35|30[0-5]|3[68]", digits)
    return known is not None and len(set(digits)) > 2 and bool(luhn.is_valid(digits))


OWN: dict[str, Callable[[str], bool]] = {"kvnr": _kvnr, "medicare": _medicare, "card": _card}


@lru_cache(maxsize=128)
def check(name: str) -> Callable[[str], bool]:
    """The check of a rule."""
    return OWN.get(name) or import_module(f"stdnum.{name}").is_valid


@lru_cache(maxsize=256)
def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{BEFORE}(?:{pattern}){AFTER}")


@lru_cache(maxsize=256)
def announced(words: str) -> re.Pattern[str]:
    """The words that announce a number, as whole words in any case; an underscore is a blank."""
    return re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE)


def in_text(rule: Rule, text: str) -> bool:
    """Whether a text holds such a number, known by its form or announced by a word before it."""
    for pattern in (rule.grouped, rule.bare):
        for match in _form(pattern).finditer(text) if pattern else ():
            told = rule.words and announced(rule.words).search(text[max(0, match.start() - NEAR) : match.start()])
            if (told or (rule.strong and pattern is rule.grouped)) and check(rule.check)(match[0]):
                return True
    return False


@lru_cache(maxsize=128)
def _length(rule: Rule) -> int:
    """The fixed number of digits of a bare number, or 0."""
    found = re.fullmatch(r"\\d\{(\d+)\}", rule.bare)
    return int(found[1]) if found else 0


def whole_cell(rule: Rule, text: str) -> bool:
    """Whether a cell is such a number and nothing else. A number column has lost zeros in front: they are put back."""
    cell = text.strip().upper()
    if cell.isdigit() and len(cell) < _length(rule):
        cell = cell.zfill(_length(rule))
    return any(
        _form(pattern).fullmatch(cell) is not None and check(rule.check)(cell)
        for pattern in dict.fromkeys((rule.grouped, rule.bare))
        if pattern
    )


STRONG = re.compile("|".join(f"{BEFORE}(?:{r.grouped}){AFTER}" for r in RULES if r.strong))
WORDS = announced("|".join(r.words for r in RULES if r.words))


def rules_for(text: str) -> list[Rule]:
    """The rules that may hold for a text: by a strong form in it, or by a word that announces a number. Mostly none."""
    strong = STRONG.search(text) is not None
    told = WORDS.search(text) is not None
    return [r for r in RULES if (strong and r.strong) or (told and r.words)]


def names_in_text(text: str) -> set[str]:
    """The names of the kinds of numbers that a text holds."""
    return {r.name for r in rules_for(text) if in_text(r, text)}
