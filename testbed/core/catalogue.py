# pyright: strict
"""What there is, read from source text: attacks, scenarios, defences and guards, without importing what they import.

A listing and a usage error need no torch, and say also what there would be with an extra that is not installed.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from testbed.core import source_text, user_code
from testbed.core.errors import EXTRA_OF, UsageError, perhaps
from testbed.core.source_text import Source, Unread

__all__ = [
    "REQUIRED",
    "Entry",
    "Kind",
    "Unread",
    "check_name",
    "entries",
    "entry",
    "known",
    "load",
    "not_installed",
    "within",
]

Kind = Literal["attack", "scenario", "defence", "guard"]
ROOMS: dict[Kind, str] = {
    "attack": "testbed.attacks",
    "scenario": "testbed.scenarios",
    "defence": "testbed.defences",
    "guard": "testbed.defences.guards",
}
DECORATORS: dict[str, Kind] = {
    "testbed.attacks.registry.attack": "attack",
    "testbed.harness.scenario.scenario": "scenario",
    "testbed.defences.registry.defence": "defence",
    "testbed.defences.guards.registry.guard": "guard",
}
REQUIRED = inspect.Parameter.empty
"""The default of a parameter that has none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An attack, a scenario, a defence or a guard as its file says it.

    `arguments` are the decorator's; a class or a function among them is given by its name.
    """

    kind: Kind
    name: str
    module: str
    path: Path
    arguments: Mapping[str, Any]
    defaults: Mapping[str, Any]
    summary: str

    @property
    def extras(self) -> tuple[str, ...]:
        """The optional dependencies without which the module cannot be imported."""
        return source_text.extras(self.path, self.module)

    @property
    def readable(self) -> bool:
        """Are all defaults known, so that parameters can be parsed by them?"""
        return not any(isinstance(v, Unread) for v in self.defaults.values())

    @property
    def own(self) -> bool:
        """Is it from a user's folder, not of the package?"""
        return not self.module.startswith("testbed.")


def entries(kind: Kind | None = None) -> list[Entry]:
    """Everything of the package and of the user's folders, by kind and name. Raises `UsageError` for a name twice."""
    found: dict[tuple[str, str], Entry] = {}
    for wanted in ROOMS if kind is None else (kind,):
        for entry in sorted(_all(wanted), key=lambda e: e.name):
            if (earlier := found.get((wanted, entry.name))) is not None:
                raise _twice(wanted, entry.name, earlier.module, entry.module)
            found[wanted, entry.name] = entry
    return list(found.values())


def _twice(kind: Kind, name: str, one: str, other: str) -> UsageError:
    return UsageError(
        "TB-CODE-003",
        f"There are two {kind}s called {name!r}.",
        f"They stand in {one} and in {other}; a name must tell which one ran.",
        "Rename your own one.",
    )


def entry(kind: Kind, name: str) -> Entry | None:
    """The entry of that name, or None."""
    return next((e for e in entries(kind) if e.name == name), None)


UNKNOWN: dict[Kind, tuple[str, str]] = {
    "attack": ("TB-ATTACK-001", "Names are exact, so that a misspelt one cannot pass as having found nothing."),
    "scenario": ("TB-SCENARIO-001", "Names are exact."),
    "defence": ("TB-DEFENCE-001", "A misspelt one would protect nothing."),
    "guard": ("TB-GUARD-001", "A misspelt one would notice nothing."),
}


def known(kind: Kind, name: str) -> Entry:
    """The entry of that name. Raises `UsageError`, with the closest names, where there is none."""
    listed = {e.name: e for e in entries(kind)}
    if name not in listed:
        error_id, why = UNKNOWN[kind]
        fix = f"{perhaps(name, listed)} See testbed list {kind}s; your own is given as file.py:name."
        raise UsageError(error_id, f"There is no {kind} called {name!r}.", why, fix)
    return listed[name]


def within(path: Path, module: str) -> list[Entry]:
    """What one file defines. `module` is its dotted name."""
    source = source_text.read(path, module)
    return [
        _entry(node, call, kind, source)
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef)
        for call in node.decorator_list
        if isinstance(call, ast.Call)
        and (kind := DECORATORS.get(source_text.dotted(call.func, source) or "")) is not None
    ]


def _all(kind: Kind) -> Iterator[Entry]:
    room = ROOMS[kind]
    folder = source_text.folder(room)
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        dotted = ".".join([room, *parts]).removesuffix(".__init__")
        yield from (e for e in within(path, dotted) if e.kind == kind)
    inside = [source_text.folder(r).resolve() for r in ROOMS.values()]
    for path in (p for p in user_code.files() if not any(p.is_relative_to(f) for f in inside)):
        yield from (e for e in within(path, path.stem) if e.kind == kind)


def _entry(node: ast.FunctionDef, call: ast.Call, kind: Kind, source: Source) -> Entry:
    given = {k.arg: k.value for k in call.keywords if k.arg is not None}
    arguments = {
        name: ast.unparse(value).split(".")[-1]
        if name in ("claim", "act", "guarantee")
        else source_text.value(value, source)
        for name, value in given.items()
    }
    written: list[tuple[str, ast.expr | None]] = [
        (a.arg, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    ]
    if kind not in ("attack", "guard"):
        positional = [*node.args.posonlyargs, *node.args.args]
        missing: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
        written = [*zip((a.arg for a in positional), [*missing, *node.args.defaults], strict=True), *written]
    defaults = {
        name: REQUIRED if default is None else source_text.value(default, source)
        for name, default in written
        if not (kind == "defence" and name in ("seed", "exposure"))
    }
    return Entry(kind, node.name, source.name, source.path, arguments, defaults, ast.get_docstring(node) or "")


def check_name(kind: Kind, name: str, module: str) -> None:
    """Raises `UsageError` where a user's module gives its entry a name that another one in the catalogue has."""
    listed = entry(kind, name)
    here = getattr(sys.modules.get(module), "__file__", None)
    if listed is not None and module != listed.module and here != str(listed.path):
        raise _twice(kind, name, listed.module, module)


def load(entry: Entry) -> None:
    """Import the module of an entry, which registers it. Raises `ModuleNotFoundError` where an extra is missing."""
    if entry.own:
        user_code.module(str(entry.path))
    else:
        importlib.import_module(entry.module)


def not_installed(extras: Iterable[str]) -> list[str]:
    """Those of which a package is missing here."""
    return [extra for extra in extras if not _installed(extra)]


@functools.cache
def _installed(extra: str) -> bool:
    def there(package: str) -> bool:
        try:
            return importlib.util.find_spec(package) is not None
        except ImportError:
            return False

    return all(there(package) for package, needed in EXTRA_OF.items() if needed == extra)
