"""Values of people in many spellings, written without any code of the gate."""

from __future__ import annotations

import base64
import datetime
import gzip
import html
import random
import unicodedata
import urllib.parse
import zlib
from collections.abc import Callable

Spelling = Callable[[str], str]


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def ascii_only(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def amid(text: str, between: str) -> str:
    return text[:3] + between + text[3:]


def coded(encode: Callable[[bytes], bytes], pack: Callable[[bytes], bytes] = bytes) -> Spelling:
    return lambda t: encode(pack(t.encode())).decode()


ANY: dict[str, Spelling] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "full width": full_width,
    "decomposed": lambda t: unicodedata.normalize("NFD", t),
    "soft hyphen": lambda t: amid(t, "\u00ad"),
    "zero width": lambda t: amid(t, "\u200b"),
    "right to left": lambda t: f"\u202e{t}\u202c",
    "without accents": ascii_only,
    "bold": lambda t: f"<b>{t}</b>",
    "attribute": lambda t: f'<img alt="{html.escape(t)}">',
    "entities": lambda t: "".join(f"&#{ord(c)};" for c in t),
    "hex entities": lambda t: "".join(f"&#x{ord(c):x};" for c in t),
    "escapes": lambda t: "".join(f"\\u{ord(c):04x}" for c in t),
    "per cent": lambda t: urllib.parse.quote(t),
    "all per cent": lambda t: "".join(f"%{b:02X}" for b in t.encode()),
    "base64": coded(base64.b64encode),
    "base64 of urls": coded(base64.urlsafe_b64encode),
    "base64 twice": lambda t: coded(base64.b64encode)(coded(base64.b64encode)(t)),
    "gzip": coded(base64.b64encode, lambda b: gzip.compress(b, mtime=0)),
    "zlib": coded(base64.b64encode, zlib.compress),
    "base32": coded(base64.b32encode),
    "base85": lambda t: html.escape(coded(base64.b85encode)(t)),
    "ascii85": lambda t: html.escape(coded(base64.a85encode)(t)),
    "hex": lambda t: t.encode().hex(),
    "HEX": lambda t: t.encode().hex().upper(),
    "quoted": lambda t: f"'{t}'",
    "in brackets": lambda t: f"({t})",
    "with a full stop": lambda t: f"{t}.",
    "after a label": lambda t: f"note:{t};",
    "underscore before": lambda t: f"_{t}",
    "in a path": lambda t: f"/home/x/{t}/y",
}
WORDS: dict[str, Spelling] = {
    "underscores": lambda t: t.replace(" ", "_"),
    "hyphens": lambda t: t.replace(" ", "-"),
    "no-break space": lambda t: t.replace(" ", "\u00a0"),
    "two lines": lambda t: t.replace(" ", "\n   "),
    "glued": lambda t: t.replace(" ", ""),
    "turned round": lambda t: ", ".join(reversed(t.split(" ", 1))),
    "surname alone": lambda t: t.split(" ")[-1],
    "a letter more": lambda t: t + "s",
    "backwards": lambda t: t[::-1],
}
CODES: dict[str, Spelling] = {
    "without separators": lambda t: "".join(c for c in t if c.isalnum()),
    "with blanks": lambda t: "".join(c if c.isalnum() else " " for c in t),
    "with dots": lambda t: "".join(c if c.isalnum() else "." for c in t),
    "backwards": lambda t: t[::-1],
}


def grouped(separator: str) -> Spelling:
    return lambda t: f"{int(t):,}".replace(",", separator)


WHOLE: dict[str, Spelling] = {
    "commas": grouped(","),
    "points": grouped("."),
    "blanks": grouped(" "),
    "apostrophes": grouped("'"),
    "crowns": lambda t: f"{t}kr",
    "euros": lambda t: f"EUR{t}",
    "power": lambda t: f"{int(t):.6e}",
    "decimals": lambda t: f"{t}.00",
}
DECIMAL: dict[str, Spelling] = {
    "comma": lambda t: t.replace(".", ","),
    "kilogram": lambda t: f"{t}kg",
    "rounded": lambda t: f"{float(t):.2f}",
    "power": lambda t: f"{float(t):.6e}",
    "a zero more": lambda t: f"{t}0",
}


def day(form: str) -> Spelling:
    def spelled(text: str) -> str:
        d = datetime.date.fromisoformat(text)
        return d.strftime(form.replace("%-d", str(d.day)).replace("%-m", str(d.month)))

    return spelled


DAYS: dict[str, Spelling] = {
    form: day(form)
    for form in (
        *("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%y-%m-%d", "%d-%m-%Y", "%d.%m.%Y", "%-d.%-m.%Y", "%d/%m/%Y", "%m/%d/%Y"),
        *("%d/%m/%y", "%-d %B %Y", "%B %-d, %Y", "%-d %b %Y", "%d.%m.%y", "%Y-%m-%dT10:00:00", "%Y-%m-%d 10:00"),
    )
}
KINDS: dict[str, dict[str, Spelling]] = {
    "name": ANY | WORDS,
    "code": ANY | CODES,
    "identity": ANY | CODES,
    "telephone": ANY | CODES,
    "whole": ANY | WHOLE,
    "decimal": ANY | DECIMAL,
    "date": ANY | DAYS,
}


def canary(kind: str, rng: random.Random) -> str:
    """A value that one person has."""
    syllables = ("zqo", "vxe", "kryl", "brøm", "åst", "wje", "plöx", "uhn", "dzar", "mey")
    word = "".join(rng.choices(syllables, k=3)).capitalize()
    match kind:
        case "name":
            return f"{''.join(rng.choices(syllables, k=2)).capitalize()} {word}"
        case "code":
            return f"{rng.choice('QXZ')}{rng.randint(10, 99)}.{rng.randint(1, 9)}{rng.randint(0, 9)}"
        case "identity":
            return f"19{rng.randint(30, 99)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}-{rng.randint(1000, 9999)}"
        case "telephone":
            return f"0{rng.randint(40, 99)}-{rng.randint(200, 999)} {rng.randint(10, 99)} {rng.randint(10, 99)}"
        case "whole":
            return str(rng.randint(100_000, 9_999_999))
        case "decimal":
            return f"{rng.uniform(1000, 9999):.3f}"
        case _:
            return (datetime.date(1931, 1, 1) + datetime.timedelta(rng.randint(0, 30_000))).isoformat()
