# pyright: strict
"""What there is, read from source text: attacks, scenarios and defences, without importing what they import.

A decorator's arguments and a signature's defaults are literals, or constants of the module or of one that it imports
from. What is written otherwise stays as its text, `Unread`, and only importing the module tells its value.
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

from testbed.core import user_code
from testbed.core.errors import EXTRA_OF, InputError, UsageError, perhaps

Kind = Literal["attack", "scenario", "defence"]
ROOMS: dict[Kind, str] = {"attack": "testbed.attacks", "scenario": "testbed.scenarios", "defence": "testbed.defences"}
DECORATORS: dict[str, Kind] = {
    "testbed.attacks.registry.attack": "attack",
    "testbed.harness.scenario.scenario": "scenario",
    "testbed.defences.registry.defence": "defence",
}
REQUIRED = inspect.Parameter.empty
"""The default of a parameter that has none."""


@dataclass(frozen=True, slots=True)
class Unread:
    """The text of an expression whose value cannot be told without running it."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Entry:
    """An attack, a scenario or a defence as its file says it. `arguments` are the decorator's; a class or a function
    among them is given by its name."""

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
        return _extras(str(self.path), self.module, _stamp(self.path))

    @property
    def readable(self) -> bool:
        """Are all defaults known, so that parameters can be parsed by them?"""
        return not any(isinstance(v, Unread) for v in self.defaults.values())

    @property
    def own(self) -> bool:
        """Is it from a user's folder, not of the package?"""
        return not self.module.startswith("testbed.")


@dataclass(frozen=True, slots=True)
class _Source:
    """A module's text: what it imports, by the names that it gives it, and its constants."""

    name: str
    path: Path
    tree: ast.Module
    imported: Mapping[str, str]
    constants: Mapping[str, ast.expr]
    needed: tuple[str, ...]
    """Every module that importing this one imports, and every name taken from one, dotted."""


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
    source = _source(str(path), module, _stamp(path))
    return [
        _entry(node, call, kind, source)
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef)
        for call in node.decorator_list
        if isinstance(call, ast.Call) and (kind := DECORATORS.get(_dotted(call.func, source) or "")) is not None
    ]


def _all(kind: Kind) -> Iterator[Entry]:
    room = ROOMS[kind]
    folder = _folder(room)
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        dotted = ".".join([room, *parts]).removesuffix(".__init__")
        yield from (e for e in within(path, dotted) if e.kind == kind)
    for path in user_code.files():
        yield from (e for e in within(path, path.stem) if e.kind == kind)


@functools.cache
def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


@functools.cache
def _source(path: str, module: str, stamp: int) -> _Source:
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        place = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InputError(
            "TB-CODE-002",
            f"{Path(path).name} is not Python.",
            f"Its text cannot be parsed{place}.",
            "Mend it, or take the file out of the folder.",
        ) from None
    imported: dict[str, str] = {}
    needed: list[str] = []
    for node in _at_import(tree.body):
        if isinstance(node, ast.Import):
            imported |= {
                a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names
            }
            needed += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            imported |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            needed += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
    constants: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            constants |= {t.id: node.value for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            constants[node.target.id] = node.value
    return _Source(module, Path(path), tree, imported, constants, tuple(needed))


def _at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that importing a module runs: no function's body, nothing for type checkers alone, and nothing
    whose absence is caught."""
    for node in body:
        match node:
            case ast.If(test=test) if "TYPE_CHECKING" in ast.unparse(test):
                yield from _at_import(node.orelse)
            case ast.If():
                yield from _at_import([*node.body, *node.orelse])
            case ast.Try() if any(h.type is not None and "Import" in ast.unparse(h.type) for h in node.handlers):
                pass
            case ast.Try():
                yield from _at_import([*node.body, *node.orelse, *node.finalbody])
            case ast.With() | ast.ClassDef():
                yield from _at_import(node.body)
            case _:
                yield node


def _file(module: str, near: Path) -> Path | None:
    """The file of a module of this package, or of one that lies beside a user's file."""
    if module.split(".")[0] == "testbed":
        room = "testbed.scenarios" if module.startswith("testbed.scenarios") else "testbed"
        base, rest = _folder(room), module.removeprefix(room).strip(".")
    else:
        base, rest = near.parent, module
    place = base.joinpath(*rest.split(".")) if rest else base
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


@functools.cache
def _extras(path: str, module: str, stamp: int) -> tuple[str, ...]:
    """Of a module, and of all that importing it imports."""
    seen: set[str] = set()
    extras: set[str] = set()
    left = [(path, module, stamp)]
    while left:
        brought, further = _brought(*left.pop())
        extras |= brought
        left += [key for key in further if key[0] not in seen]
        seen |= {key[0] for key in further}
    return tuple(sorted(extras))


@functools.cache
def _brought(path: str, module: str, stamp: int) -> tuple[frozenset[str], tuple[tuple[str, str, int], ...]]:
    """The extras of what a module itself imports, and the modules of the testbed or beside it that it imports."""
    source = _source(path, module, stamp)
    extras: set[str] = set()
    further: list[tuple[str, str, int]] = []
    for needed in source.needed:
        for name in _prefixes(needed) if needed.split(".")[0] == "testbed" else [needed]:
            if (file := _file(name, source.path)) is not None:
                further.append((str(file), name, _stamp(file)))
            elif (extra := EXTRA_OF.get(name.split(".")[0])) is not None:
                extras.add(extra)
    return frozenset(extras), tuple(dict.fromkeys(further))


def _prefixes(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _dotted(node: ast.expr, source: _Source) -> str | None:
    """What a name stands for, such as testbed.attacks.registry.attack for an imported `attack`."""
    match node:
        case ast.Name(id=name):
            return source.imported.get(name)
        case ast.Attribute(value=value, attr=name):
            before = _dotted(value, source)
            return None if before is None else f"{before}.{name}"
        case _:
            return None


def _entry(node: ast.FunctionDef, call: ast.Call, kind: Kind, source: _Source) -> Entry:
    given = {k.arg: k.value for k in call.keywords if k.arg is not None}
    arguments = {
        name: ast.unparse(value).split(".")[-1] if name in ("claim", "act", "guarantee") else _value(value, source)
        for name, value in given.items()
    }
    written: list[tuple[str, ast.expr | None]] = [
        (a.arg, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    ]
    if kind != "attack":
        positional = [*node.args.posonlyargs, *node.args.args]
        missing: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
        written = [*zip((a.arg for a in positional), [*missing, *node.args.defaults], strict=True), *written]
    defaults = {
        name: REQUIRED if default is None else _value(default, source)
        for name, default in written
        if not (kind == "defence" and name == "seed")
    }
    return Entry(kind, node.name, source.name, source.path, arguments, defaults, ast.get_docstring(node) or "")


def _value(node: ast.expr, source: _Source) -> Any:
    try:
        return _read(node, source)
    except (_UnreadableError, ArithmeticError, TypeError):
        return Unread(ast.unparse(node))


class _UnreadableError(Exception):
    pass


def _read(node: ast.expr, source: _Source) -> Any:
    """The value of a literal, of a constant, or of sums and unions of them."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Set(elts=parts):
            return {_read(p, source) for p in parts}
        case ast.Tuple(elts=parts):
            return tuple(_read(p, source) for p in parts)
        case ast.List(elts=parts):
            return [_read(p, source) for p in parts]
        case ast.Dict(keys=keys, values=values) if all(k is not None for k in keys):
            return {_read(k, source): _read(v, source) for k, v in zip(keys, values, strict=True) if k is not None}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_read(operand, source)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _read(operand, source)
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(op, _read(left, source), _read(right, source))
        case ast.Call(func=ast.Name(id="set" | "frozenset"), args=parts, keywords=[]):
            return frozenset[Any]().union(*(_read(p, source) for p in parts))
        case ast.Name(id=name) if name in source.constants:
            return _read(source.constants[name], source)
        case ast.Name() | ast.Attribute():
            return _imported(node, source)
        case _:
            raise _UnreadableError


def _combined(op: ast.operator, left: Any, right: Any) -> Any:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.BitOr():
            return left | right
        case _:
            raise _UnreadableError


def _imported(node: ast.expr, source: _Source) -> Any:
    module, _, name = (_dotted(node, source) or "").rpartition(".")
    file = _file(module, source.path) if module else None
    if file is None:
        raise _UnreadableError
    other = _source(str(file), module, _stamp(file))
    if name not in other.constants:
        raise _UnreadableError
    return _read(other.constants[name], other)


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
