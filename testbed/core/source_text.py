# pyright: strict
"""Python modules as text: the constants that they hold, what their names stand for, and what importing them imports.

A literal, a constant of the module or of one that it imports from, and sums and unions of those, have a value here.
What is written otherwise stays as its text, `Unread`, and only importing the module tells its value.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.core.errors import ALONG, EXTRA_OF, InputError


@dataclass(frozen=True, slots=True)
class Unread:
    """The text of an expression whose value cannot be told without running it."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Source:
    """A module as text: what it imports, by the names that it gives it, and its constants."""

    name: str
    path: Path
    tree: ast.Module
    imported: Mapping[str, str]
    constants: Mapping[str, ast.expr]


@functools.cache
def folder(package: str) -> Path:
    """Where a package lies, which is not imported for it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def _stamp(path: Path) -> int:
    """What keeps a text that has changed since from being answered as it was."""
    return path.stat().st_mtime_ns


def read(path: Path, module: str) -> Source:
    """The text of a file, which is the module of that dotted name. Raises `InputError` where it is not Python."""
    return _read(str(path), module, _stamp(path))


def extras(path: Path, module: str) -> tuple[str, ...]:
    """The optional dependencies without which the module cannot be imported."""
    return _extras(str(path), module, _stamp(path))


@functools.cache
def _read(path: str, module: str, stamp: int) -> Source:
    tree = _tree(Path(path))
    imported: dict[str, str] = {}
    for node in _at_import(tree.body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                imported[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    constants: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            constants |= {t.id: node.value for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            constants[node.target.id] = node.value
    return Source(module, Path(path), tree, imported, constants)


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        place = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InputError(
            "TB-CODE-002",
            f"{path.name} is not Python.",
            f"Its text cannot be parsed{place}.",
            "Mend it, or take the file out of the folder.",
        ) from None


FIRST_DEFINITION = re.compile(r"^(?:def|class|async def|@)", re.MULTILINE)


def _head(path: Path) -> ast.Module:
    """A module up to its first definition; the whole where that is not Python, since a text has such a line."""
    text = path.read_text(encoding="utf-8")
    first = FIRST_DEFINITION.search(text)
    try:
        return ast.parse(text[: first.start()] if first else text)
    except SyntaxError:
        return _tree(path)


def _needed(path: Path, module: str) -> list[str]:
    """Every module that importing this one imports, and every name taken from one, dotted. The testbed's own modules
    import at their top (ruff's E402), so that their heads are parsed alone: half of the time."""
    tree = _head(path) if module.split(".")[0] == "testbed" else _tree(path)
    needed: list[str] = []
    for node in _at_import(tree.body):
        if isinstance(node, ast.Import):
            needed += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            needed += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
    return needed


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


def file(module: str) -> Path | None:
    """The file of a module of this package, or None."""
    return _file(module, Path()) if module.startswith("testbed.") else None


def _file(module: str, near: Path) -> Path | None:
    """The file of a module of this package, or of one that lies beside a user's file."""
    if module.split(".")[0] == "testbed":
        room = "testbed.scenarios" if module.startswith("testbed.scenarios") else "testbed"
        base, rest = folder(room), module.removeprefix(room).strip(".")
    else:
        base, rest = near.parent, module
    place = base.joinpath(*rest.split(".")) if rest else base
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


@functools.cache
def _extras(path: str, module: str, stamp: int) -> tuple[str, ...]:
    """Of a module, and of all that importing it imports."""
    seen: set[str] = set()
    brings: set[str] = set()
    left = [(path, module, stamp)]
    while left:
        brought, further = _brought(*left.pop())
        brings |= brought
        left += [key for key in further if key[0] not in seen]
        seen |= {key[0] for key in further}
    return tuple(sorted(extra for extra in brings if not any(extra in ALONG.get(other, ()) for other in brings)))


@functools.cache
def _brought(path: str, module: str, stamp: int) -> tuple[frozenset[str], tuple[tuple[str, str, int], ...]]:
    """The extras of what a module itself imports, and the modules of the testbed or beside it that it imports."""
    brings: set[str] = set()
    further: list[tuple[str, str, int]] = []
    for needed in _needed(Path(path), module):
        for name in _prefixes(needed) if needed.split(".")[0] == "testbed" else [needed]:
            if (file := _file(name, Path(path))) is not None:
                further.append((str(file), name, _stamp(file)))
            elif (extra := EXTRA_OF.get(name.split(".")[0])) is not None:
                brings.add(extra)
    return frozenset(brings), tuple(dict.fromkeys(further))


def _prefixes(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


FRONT = "testbed"
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<of>\.*[\w.]*)[ \t]+import[ \t]+(?P<names>\([^)]*\)|(?:[^\n\\#]|\\\n)+)"
    r"|import[ \t]+(?P<modules>[^\n#]+))",
    re.MULTILINE,
)


def closure(path: Path, module: str, apart: Sequence[str] = ()) -> dict[str, Path]:
    """The files of a module and of all that it imports, at its top or within a function, from the testbed or from
    beside a user's file. The packages in `apart`, and the package's front page, which lists what it can load, are
    left out with what only they import."""
    found: dict[str, Path] = {}
    left = [(module, path)]
    while left:
        name, file = left.pop()
        if name in found or name in (FRONT, *apart) or name.startswith(tuple(f"{package}." for package in apart)):
            continue
        found[name] = file
        left += _imports(str(file), name, _stamp(file))
    return found


@functools.cache
def _imports(path: str, module: str, stamp: int) -> tuple[tuple[str, Path], ...]:
    """The modules that one imports anywhere, each with its file. A sentence that reads like an import counts too."""
    names: list[str] = []
    for match in IMPORT.finditer(Path(path).read_text(encoding="utf-8")):
        if match["modules"]:
            names += [part.split()[0] for part in match["modules"].split(",") if part.strip()]
            continue
        level = len(match["of"]) - len(match["of"].lstrip("."))
        package = module.split(".")[: -level if level else None] if level else []
        base = ".".join([*package, match["of"].lstrip(".")]).strip(".")
        taken = [part.split()[0] for part in match["names"].strip("()").replace("\\", " ").split(",") if part.strip()]
        names += [base, *(f"{base}.{name}".strip(".") for name in taken)]
    every = dict.fromkeys(p for name in names if name.replace(".", "").isidentifier() for p in _prefixes(name))
    files = {name: _file(name, Path(path)) for name in every}
    return tuple((name, file) for name, file in files.items() if file is not None)


def dotted(node: ast.expr, source: Source) -> str | None:
    """What a name stands for, such as testbed.attacks.registry.attack for an imported `attack`."""
    match node:
        case ast.Name(id=name):
            return source.imported.get(name)
        case ast.Attribute(value=value, attr=name):
            before = dotted(value, source)
            return None if before is None else f"{before}.{name}"
        case _:
            return None


def value(node: ast.expr, source: Source) -> Any:
    """The value of an expression, or its text."""
    try:
        return _evaluated(node, source)
    except (_UnreadableError, ArithmeticError, TypeError):
        return Unread(ast.unparse(node))


class _UnreadableError(Exception):
    pass


def _evaluated(node: ast.expr, source: Source) -> Any:
    """The value of a literal, of a constant, or of sums and unions of them."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Set(elts=parts):
            return {_evaluated(p, source) for p in parts}
        case ast.Tuple(elts=parts):
            return tuple(_evaluated(p, source) for p in parts)
        case ast.List(elts=parts):
            return [_evaluated(p, source) for p in parts]
        case ast.Dict(keys=keys, values=values) if all(k is not None for k in keys):
            return {
                _evaluated(k, source): _evaluated(v, source) for k, v in zip(keys, values, strict=True) if k is not None
            }
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand, source)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluated(operand, source)
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(op, _evaluated(left, source), _evaluated(right, source))
        case ast.Call(func=ast.Name(id="set" | "frozenset"), args=parts, keywords=[]):
            return frozenset[Any]().union(*(_evaluated(p, source) for p in parts))
        case ast.Name(id=name) if name in source.constants:
            return _evaluated(source.constants[name], source)
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


def _imported(node: ast.expr, source: Source) -> Any:
    module, _, name = (dotted(node, source) or "").rpartition(".")
    file = _file(module, source.path) if module else None
    if file is None:
        raise _UnreadableError
    other = read(file, module)
    if name not in other.constants:
        raise _UnreadableError
    return _evaluated(other.constants[name], other)
