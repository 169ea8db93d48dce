"""Direct identifiers in a table: e-mail addresses, telephone numbers, national ids, addresses and names of people.

Ids and names have modules of their own (`national_ids`, `person_names`); telephone numbers are checked by phonenumbers.
All of it works offline. Some rules let many numbers pass by chance: such a kind counts only if at least half of a
column's values pass, or if a word beside the number says what it is. Texts are looked at as well as codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from testbed.data.tables import dates
from testbed.harness.release import identifier_forms as forms
from testbed.harness.release import national_ids, person_names
from testbed.harness.release.national_ids import NEAR, RULES, announced, check

SHORTEST = 6
"""Characters that a value must have to be tested."""
PHONES = "telephone number"
ADDRESSES = "street address, by its form"
NAMES = "person's name, by the column's name and its form"
NUMBERS = "record number, by the words beside it"
ADDRESS_ON_NET, PAGE, REFERENCE, POSITION = "IP address", "web address", "FHIR reference", "coordinates of a place"
NET = "ip|address|host|from"
"""Words that announce an address of the network: four numbers with points may be a version."""
FEW = 0.5
"""Share of a column's distinct values that must pass, for a kind without a strong rule to be believed."""
ENOUGH = 5
"""The fewest values that pass such a rule, where the column's name does not say what they are."""
FIRST = 200
"""About so many values are tested first of kinds that must be held by half of a column."""
SAMPLE = 5000
"""About so many distinct values of a column are tested for kinds whose test is slow."""
DATED = 0.9
"""From this share of dates on among its values, a column holds dates, whatever its name announces."""
DIGITS = 6
"""The fewest digits of a number that names somebody."""


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


def emails(text: str) -> bool:
    return forms.EMAIL.search(text) is not None


def personnummer(text: str) -> bool:
    """A Swedish personal or coordination number, with its date and check digit, anywhere in the text."""
    return any(_valid_personnummer(_compact(token)) for token in forms.PERSONNUMMER.findall(text))


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
    if check("se.personnummer")(token):
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


def masked(text: str) -> str:
    """The text without what holds digits and is no number of a person: moments, object identifiers, addresses.

    A text with few digits is returned as it is.
    """
    if not _many_digits(text):
        return text
    for sign, several in HIDES:
        if sign in text:
            for form in several:
                text = form.sub(lambda match: " " * len(match[0]), text)
    return text


HIDES = (
    (".", (forms.URL, forms.UID, forms.IP)),
    ("@", (forms.EMAIL,)),
    ("-", (forms.UUID, forms.MOMENT)),
    (":", (forms.IP,)),
)
"""Forms that are masked, by a sign that each of them has."""


def phones(text: str) -> bool:
    """True if the text holds a valid telephone number, known by its prefix, its form or a word before it.

    With a country's prefix it may be of any country. Without one it is one of Sweden in the usual form, one of North
    America in the form (415) 555-0123 or 415-555-0123, or one of several countries after a word such as "tel".
    """
    return _phones(masked(text))


def _phones(text: str) -> bool:
    if sum(c.isdigit() for c in text) < 8:
        return False
    if forms.US_PHONE.search(text) or _valid_phone(text, None if "+" in text else "SE"):
        return True
    told = announced(forms.CALL).search(text)
    return told is not None and any(_valid_phone(text[told.end() :], region) for region in forms.REGIONS)


def _valid_phone(text: str, region: str | None) -> bool:
    import phonenumbers

    found = phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID)
    # A bare run of digits may be any number, so a separator or a plus sign is needed.
    return any(re.search(r"[-+ ()/]", match.raw_string.strip()) for match in found)


def coordinates(text: str) -> bool:
    """Latitude and longitude in one text, to five decimals or after a word such as GPS."""
    if forms.DEGREES.search(text):
        return True
    match = forms.PLACE.search(text)
    return match is not None and (
        forms.PRECISE.search(match[0]) is not None
        or announced(forms.WHERE).search(text[max(0, match.start() - NEAR) : match.start()]) is not None
    )


def pages(text: str) -> bool:
    """An address on the web that leads to one record or user."""
    return any(forms.OWN_PAGE.search(match[0].partition("//")[2] or match[0]) for match in forms.URL.finditer(text))


def _many_digits(text: str) -> bool:
    return sum(c.isdigit() for c in text) >= DIGITS


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of identifier. `strong`: one value is enough. `quick`: all values are tested, not only a sample.

    `words` announce it in a column's name. `doubtful`: values are told of although too few pass.
    """

    name: str
    holds: Callable[[str], bool]
    strong: bool = True
    quick: bool = True
    words: str = ""
    doubtful: bool = False
    by_name: bool = False
    """Whether the column's name must say what its values are, as the rule is wide."""
    masked: bool = False
    """Whether it is searched in the text without moments, object identifiers and addresses, which must hold digits."""
    invented: bool = False
    """Whether values that several people share are no identifiers, although one is believed."""


def _kinds() -> tuple[Kind, ...]:
    names = dict.fromkeys(r.name for r in RULES)
    weak_before = {"dk.cpr", "nl.bsn", "pl.pesel", "gb.nhs", "de.idnr"}
    weak = [
        Kind(
            r.name,
            lambda text, r=r: national_ids.whole_cell(r, text),
            strong=False,
            quick=False,
            words=r.words,
            doubtful=r.check in weak_before,
            by_name=r.by_name,
        )
        for r in RULES
    ]
    return (
        Kind("e-mail address", emails),
        Kind("Swedish personal number", written_personnummer),
        Kind("Swedish personal number", lambda text: personnummer(_padded(text)), strong=False, doubtful=True),
        Kind("US social security number", lambda text: forms.US_SSN.search(text) is not None, masked=True),
        Kind(REFERENCE, lambda text: forms.FHIR.search(text) is not None, invented=True),
        Kind(PAGE, pages, invented=True),
        Kind(
            ADDRESS_ON_NET, lambda text: forms.IP.fullmatch(text) is not None, strong=False, words="ip|ip address|host"
        ),
        Kind(
            ADDRESS_ON_NET,
            lambda t: (m := forms.IP.search(t)) is not None and bool(_told(NET, t, m)),
        ),
        Kind("device address", lambda text: forms.MAC.search(text) is not None),
        Kind(POSITION, coordinates, invented=True),
        Kind(POSITION, _whole_position, strong=False, words=forms.WHERE, by_name=True),
        *(Kind(n, lambda text, n=n: n in national_ids.names_in_text(text), masked=True) for n in names),
        Kind(PHONES, _phones, quick=False, masked=True),
        Kind(PHONES, _bare_phone, strong=False, quick=False, words=forms.CALL, by_name=True),
        *weak,
        Kind(ADDRESSES, lambda text: forms.STREET.search(text) is not None),
        Kind(NUMBERS, lambda text: forms.RECORD_IN_TEXT.search(text) is not None, masked=True),
        Kind(NAMES, lambda text: person_names.in_text(text)),
    )


def _whole_position(text: str) -> bool:
    return forms.PLACE.fullmatch(text) is not None


def _told(words: str, text: str, match: re.Match[str]) -> bool:
    return announced(words).search(text[max(0, match.start() - NEAR) : match.start()]) is not None


def _bare_phone(text: str) -> bool:
    """Whether a cell is a telephone number of one of many countries, in any form. Its column must say so."""
    import phonenumbers

    digits = sum(c.isdigit() for c in text)
    if not 8 <= digits <= 15 or re.search(r"[^\d+()\-. /]", text.strip()):
        return False
    for region in forms.REGIONS:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(text, region)):
                return True
        except phonenumbers.NumberParseException:
            return False
    return False


KINDS = _kinds()


def scan(column: str, values: Iterable[Any], doubtful: bool = False) -> list[Found]:
    """The identifiers among a column's distinct values, by kind. Whole numbers are read as text.

    With `doubtful` the list also holds kinds that are not believed. Telephone numbers and bare ids are slow to test:
    for them a sample of about 5,000 distinct values is tested, spread evenly over all.
    """
    stripped = {t: t.strip() for v in values if (t := _text(v)).strip()}
    texts = sorted(stripped)
    sample = texts[:: max(1, len(texts) // SAMPLE)]
    cleaned = {t: masked(text) for t, text in stripped.items() if _many_digits(text)}
    called = person_names.folded(column).replace("_", " ")
    quantities = _quantities(called, [stripped[t] for t in sample])
    found: dict[str, Found] = {}
    for kind in KINDS:
        named = bool(kind.words) and announced(kind.words).search(called) is not None
        if kind.by_name and (quantities or not named):
            continue
        looked = texts if kind.quick else sample
        if not (kind.strong or kind.doubtful) and not _promising(
            kind, [stripped[t] for t in looked[:: 1 + len(looked) // FIRST]]
        ):
            continue
        held = ((t, cleaned.get(t) if kind.masked else stripped[t]) for t in looked if len(stripped[t]) >= SHORTEST)
        own = frozenset(t for t, text in held if text is not None and kind.holds(text))
        if not own:
            continue
        enough = len(own) >= FEW * len(looked) and (named or kind.doubtful or len(own) >= ENOUGH)
        believed = kind.strong or enough
        before = found.get(kind.name)
        if before is not None and before.believed:
            if believed:
                found[kind.name] = Found(column, kind.name, before.values | own, before.strong and kind.strong)
            continue
        if believed or (doubtful and kind.doubtful and before is None):
            found[kind.name] = Found(column, kind.name, own, kind.strong and not kind.invented, believed)
    if names := person_names.in_column(column, [stripped[t] for t in texts]):
        held = set(names)
        found[NAMES] = Found(column, NAMES, frozenset(t for t in texts if stripped[t] in held))
    numbered = [t for t in texts if forms.RECORD.match(stripped[t])]
    many = len(numbered) >= FEW * len(texts) and len(numbered) >= ENOUGH
    if many and not quantities and announced(forms.NUMBERED).search(called):
        found.setdefault(NUMBERS, Found(column, NUMBERS, frozenset(numbered), False))
    return list(found.values())


def _quantities(called: str, texts: list[str]) -> bool:
    """Whether a column holds dates, durations or counts, by its values or its name: such numbers name nobody.

    `last_contact` may hold dates, and `call_minutes` large numbers. A wide rule, which believes a column's name, would
    take them for telephone numbers.
    """
    if announced(forms.MEASURED).search(called) and not any(re.search(r"[^\d.,]", text) for text in texts):
        return True
    days = [moment for moment in dates.moments(texts).values() if moment.exact == "day"]
    return len(days) >= DATED * len(texts) > 0


def _promising(kind: Kind, some: list[str]) -> bool:
    """Whether enough of some values are of a kind to look at the others: it takes half of all to be believed."""
    return sum(map(kind.holds, some)) >= FEW / 2 * len(some)


def says_record(column: str) -> bool:
    """Whether a column's name says that it holds numbers of people or of their records."""
    return announced(forms.NUMBERED).search(person_names.folded(column).replace("_", " ")) is not None


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else ""
    return str(value)
