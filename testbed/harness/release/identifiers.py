"""Direct identifiers in a table: e-mail addresses, telephone numbers, national ids, addresses and names of people.

National ids are checked by their own rules with python-stdnum, telephone numbers with phonenumbers; both work offline.
Some rules let many numbers pass by chance: such a kind counts only if at least half of a column's values pass. Names
and addresses have no check digit: names are recognised by the column's name and their form, addresses by their form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,24}(?![\w-])")
TOKEN = re.compile(r"(?<![\w+-])[A-Za-z0-9+][A-Za-z0-9+\-./ ]{6,24}[A-Za-z0-9](?![\w-])")
PERSONNUMMER = re.compile(r"(?<![\d-])(?:(?:19|20)?\d{6}[-+–— ]?|(?:19|20)\d\d-\d\d-\d\d[-+–— ])\d{4}(?!\d)")
US_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
STREET = re.compile(
    r"\b[\w.'-]*(?:street|road|avenue|lane|gatan|gata|vägen|väg|gränd|torg|straße|strasse|weg|platz|vej|katu|tie)"
    r"\s+\d{1,4} ?[A-Za-z]?\b"
    r"|\b\d{1,5}\s+(?:[A-Z][\w.'-]*\s+){1,3}(?:Street|St\.?|Road|Rd\.?|Avenue|Ave\.?|Lane|Drive)\b",
    re.IGNORECASE,
)
_WORD = r"[^\W\d_a-z][^\W\d_]*(?:['’-][^\W\d_]+)*\.?"
_BETWEEN = r"(?: (?:von|van|der|den|de|del|della|da|dos|di|af|av|la|le|bin|ibn|al|el|ter|ten|zu))*"
NAME = re.compile(rf"^{_WORD}(?:,?{_BETWEEN} {_WORD}){{1,4}}$")
ONE_NAME = re.compile(rf"^{_WORD}$")
NAME_COLUMN = re.compile(
    r"(?:^|_)(?:name|full_?name|namn|patient|person|client|contact|patientnamn|next_of_kin|kin|relative|mother|father"
    r"|guardian|doctor|physician|surgeon|nurse|l[äa]kare|anh[öo]rig|v[åa]rdnadshavare)(?:$|_)",
    re.I,
)
ONE_NAME_COLUMN = re.compile(
    r"(?:^|_)(?:first_?name|given_?name|last_?name|family_?name|surname|f[öo]rnamn|efternamn|tilltalsnamn)(?:$|_)", re.I
)
NOT_A_PERSON = re.compile(
    r"drug|brand|file|hospital|ward|unit|product|variable|test|study|city|municipal|country|county|region|place|street"
    r"|school|company|organi|clinic|department|diagnos|disease|type|class|category|group|status",
    re.I,
)
SHORTEST = 6
"""Characters that a value must have to be tested."""
PHONES = "telephone number"
ADDRESSES = "street address, by its form"
NAMES = "person's name, by the column's name and its form"
FEW = 0.5
"""Share of a column's distinct values that must pass, for a kind without a strong rule to be believed."""
SAMPLE = 5000
"""About so many distinct values of a column are tested for kinds whose test is slow."""

STRONG_IDS = (
    "fi.hetu",
    "it.codicefiscale",
    "es.dni",
    "es.nie",
    "fr.nir",
    "no.fodselsnummer",
    "be.nn",
    "ch.ssn",
    "iban",
)
WEAK_IDS = ("dk.cpr", "nl.bsn", "pl.pesel", "gb.nhs", "de.idnr")


@dataclass(frozen=True, slots=True)
class Found:
    """Values of one column that hold a direct identifier, by kind."""

    column: str
    kind: str
    values: frozenset[str]
    strong: bool = True
    """True if one single value is believed to be an identifier."""
    believed: bool = True
    """False if the rule is one that many numbers pass, and few of the column's values pass it. Some of these values may
    still be identifiers of people."""

    def __repr__(self) -> str:
        return f"Found({len(self.values)} values of the kind {self.kind})"


@lru_cache(maxsize=64)
def _rule(module: str) -> Callable[[str], bool]:
    return import_module(f"stdnum.{module}").is_valid


def emails(text: str) -> bool:
    return EMAIL.search(text) is not None


def personnummer(text: str) -> bool:
    """A Swedish personal or coordination number, with its date and check digit, anywhere in the text."""
    return any(_valid_personnummer(_compact(token)) for token in PERSONNUMMER.findall(text))


def _padded(text: str) -> str:
    """The number with ten digits again: numeric columns drop leading zeros (of people born in 2000 and later)."""
    return text.zfill(10) if text.isdigit() and 7 <= len(text) < 10 else text


def written_personnummer(text: str) -> bool:
    """A Swedish personal number that has its separator or stands among words.

    Bare digits do not count: one number in a hundred or more passes the rule by chance.
    """
    return not text.strip().isdigit() and personnummer(text)


def _compact(token: str) -> str:
    """The number as YYMMDD-NNNN or YYYYMMDD-NNNN. Dashes and blanks become one hyphen; a plus sign is kept."""
    token = re.sub(r"^(\d{4})-(\d\d)-(\d\d)", r"\1\2\3", token)
    return re.sub("[–— ]", "-", token)


def _valid_personnummer(token: str) -> bool:
    if _rule("se.personnummer")(token):
        return True
    digits = re.sub(r"[-+]", "", token)
    day = len(digits) - 6
    # A coordination number has 60 added to the day.
    if not 61 <= int(digits[day : day + 2]) <= 91:
        return False
    plain = f"{digits[:day]}{int(digits[day : day + 2]) - 60:02d}{digits[day + 2 :]}"
    from stdnum import luhn
    from stdnum.se import personnummer as rules

    try:
        rules.get_birth_date(rules.compact(plain))
    except Exception:  # the library's own kinds of refusal
        return False
    return bool(luhn.is_valid(digits[-10:]))


def phones(text: str) -> bool:
    """True if the text holds a valid telephone number, with its country's prefix or as written in Sweden."""
    import phonenumbers

    if sum(c.isdigit() for c in text) < 8:
        return False
    region = None if "+" in text else "SE"
    found = phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID)
    # A bare run of digits may be any number, so a separator or a plus sign is needed.
    return any(re.search(r"[-+ ()/]", match.raw_string) for match in found)


def national_ids(modules: Sequence[str]) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        tokens = {text.strip(), *TOKEN.findall(text)}
        return any(8 <= len(t) <= 34 and any(map(str.isdigit, t)) and _rule(m)(t) for t in tokens for m in modules)

    return holds


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of identifier. `strong`: one value is enough. `quick`: all values are tested, not only a sample."""

    name: str
    holds: Callable[[str], bool]
    strong: bool = True
    quick: bool = True


KINDS = (
    Kind("e-mail address", emails),
    Kind("Swedish personal number", written_personnummer),
    Kind("Swedish personal number", lambda text: personnummer(_padded(text)), strong=False),
    Kind("US social security number", lambda text: US_SSN.search(text) is not None),
    Kind(PHONES, phones, quick=False),
    Kind("national id", national_ids(STRONG_IDS), quick=False),
    Kind("national id", national_ids(WEAK_IDS), strong=False, quick=False),
    Kind(ADDRESSES, lambda text: STREET.search(text) is not None),
)


def scan(column: str, values: Iterable[Any], doubtful: bool = False) -> list[Found]:
    """The identifiers among a column's distinct values, by kind. Whole numbers are read as text.

    With `doubtful` the list also holds kinds that are not believed. Telephone numbers and ids of other countries are
    slow to test: for them a sample of about 5,000 distinct values is tested, spread evenly over all.
    """
    texts = sorted({_text(v) for v in values} - {""})
    sample = texts[:: max(1, len(texts) // SAMPLE)]
    found: list[Found] = []
    for kind in KINDS:
        looked = texts if kind.quick else sample
        own = frozenset(t for t in looked if len(t) >= SHORTEST and kind.holds(t))
        believed = kind.strong or len(own) >= FEW * len(looked)
        if own and (believed or doubtful) and kind.name not in [f.kind for f in found]:
            found.append(Found(column, kind.name, own, kind.strong, believed))
    called = re.sub(r"(?<=[a-zåäö])(?=[A-ZÅÄÖ])|\W", "_", column)
    for heads, form in ((NAME_COLUMN, NAME), (ONE_NAME_COLUMN, ONE_NAME)):
        if heads.search(called) and not NOT_A_PERSON.search(called):
            own = frozenset(t for t in texts if form.match(t))
            if texts and len(own) >= FEW * len(texts):
                found.append(Found(column, NAMES, own))
                break
    return found


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else ""
    return str(value)
