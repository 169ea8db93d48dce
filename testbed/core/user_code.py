# pyright: strict
"""A user's own code, from the user's own folder: `module:function`, or `path/to/file.py[:name]`.

`TESTBED_CODE` names folders, or files, whose attacks, defences and scenarios are listed, found and run like those of
the package; several are separated as those of PATH are.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from testbed.core.errors import RunError, TestbedError, UsageError, missing_extra

FOLDERS = "TESTBED_CODE"
HERE = Path(__file__).parents[1]
_FILES: set[str] = set()
"""The files of the user that were loaded."""


def named(text: str) -> bool:
    """Is this the name of a user's own code, rather than of something that the testbed lists?"""
    return ":" in text or text.endswith(".py")


def files() -> list[Path]:
    """The user's Python files, from the folders and files that `TESTBED_CODE` names; no tests, and none with a leading
    underscore. Raises `UsageError` for a place that does not exist."""
    found: list[Path] = []
    for place in filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)):
        path = Path(place).expanduser()
        if not path.exists():
            raise UsageError(
                "TB-CODE-001",
                f"There is no folder and no file {place!r}.",
                f"{FOLDERS} names it as a place of your own code.",
                "Correct the variable, or unset it.",
            )
        inside = sorted(path.glob("*.py")) if path.is_dir() else [path]
        found += [p.resolve() for p in inside if not p.name.startswith(("_", "test_", "conftest"))]
    return list(dict.fromkeys(found))


def module(place: str, id: str = "TB-CODE-004", fix: str = "Correct it, and try again.") -> ModuleType:
    """The module of a file's path or of a dotted name, imported once. Raises `UsageError` where it cannot be.

    The file's folder, or for a dotted name the current one, stays importable, since code may import what lies beside
    it when it is called.
    """
    path = Path(place).expanduser()
    if place.endswith(".py") and not path.is_file():
        raise UsageError(id, f"There is no file {place!r}.", "It is looked for from the current folder.", fix)
    here = str(path.resolve().parent if place.endswith(".py") else Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        loaded = _from_file(path.resolve()) if place.endswith(".py") else importlib.import_module(place)
        _FILES.add(str(getattr(loaded, "__file__", None)))
        return loaded
    except TestbedError:
        raise
    except Exception as error:  # whatever a module that is somebody else's may raise
        if isinstance(error, ModuleNotFoundError) and missing_extra(error) is not None:
            raise  # which the command line tells as such
        raise UsageError(id, f"{place!r} cannot be imported.", _stopped(error, place), fix) from None


def modules() -> list[ModuleType]:
    """The user's own modules that were loaded."""
    return [m for m in list(sys.modules.values()) if (file := getattr(m, "__file__", None)) and file in _FILES]


def without_folders(text: str) -> str:
    """A parameter's text with each file's name alone: a report names nobody's folders."""
    return re.sub(r"[^,:]*[/\\]", "", text)


def where_it_broke(error: BaseException) -> str | None:
    """The line of the user's own code in which an error arose; None where it arose in the testbed alone."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in _FILES]
    return f"line {own[-1].lineno} of {Path(own[-1].filename).name}" if own else None


def blamed(error: BaseException) -> RunError | None:
    """The error that says where the user's own code stopped; None where the error arose in the testbed alone."""
    where = where_it_broke(error)
    if where is None:
        return None
    what = f"Your own code stopped with {type(error).__name__}."
    why = f"The error was raised in {where}, or in a function that this line calls."
    return RunError("TB-CODE-010", what, why, "Correct it; TESTBED_DEBUG=1 shows the whole traceback.")


def value(name: str, fits: Callable[[Any], bool], what: str, id: str, fix: str) -> Any:
    """The value that a user names, where it `fits`; a file without a name must define exactly one that does.

    `what` says in an error what was looked for, such as "attack". Raises `UsageError`.
    """
    place, _, attribute = (name, "", "") if name.endswith(".py") else name.rpartition(":")
    loaded = module(place, id, fix)
    if attribute:
        found = getattr(loaded, attribute, None)
        if found is None or not fits(found):
            why = "The module has nothing of that name." if found is None else f"What has that name is no {what}."
            raise UsageError(id, f"There is no {what} {name!r}.", why, fix)
        return found
    public = {k: v for k, v in vars(loaded).items() if not k.startswith("_") and _defined_in(v, loaded) and fits(v)}
    if len(public) != 1:
        told = f"It defines {', '.join(sorted(public))}." if public else "It defines none."
        raise UsageError(
            id, f"{Path(name).name} does not define one {what} alone.", told, f"Write {Path(name).name}:NAME. {fix}"
        )
    return next(iter(public.values()))


def function(name: str, id: str, fix: str) -> Callable[..., Any]:
    """The function that a user names. Raises `UsageError` where there is none."""
    return value(name, callable, "function", id, fix)


def _defined_in(found: Any, loaded: ModuleType) -> bool:
    """Is it this module's own, and not one that it imports? Registered values say so by the function behind them."""
    behind = next((getattr(found, part) for part in ("read", "make") if hasattr(found, part)), found)
    return getattr(behind, "__module__", None) == loaded.__name__


def _from_file(path: Path) -> ModuleType:
    known = [m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(path)]
    if known:
        return known[0]
    name = _in_package(path) or path.stem
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path:
        return importlib.import_module(name)  # so that other processes find it too
    name = f"{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_{zlib.crc32(str(path).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[name]
        raise
    return made


def _in_package(path: Path) -> str | None:
    """The dotted name of a file of the testbed, which must not be loaded a second time under another."""
    for package in ("testbed.scenarios", "testbed"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            if path.is_relative_to(Path(folder).resolve()):
                return ".".join([package, *path.relative_to(Path(folder).resolve()).with_suffix("").parts])
    return None


def _stopped(error: Exception, place: str) -> str:
    """The kind of an error and the line of the user's file; its text may quote a record, unless it is a registry's."""
    *_, last = traceback.extract_tb(error.__traceback__)
    said = f" ({error})" if Path(last.filename).is_relative_to(HERE) and Path(last.filename).stem == "registry" else ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == Path(place).name]
    where = f" in line {lines[-1]}" if lines else ""
    hint = "" if place.endswith(".py") else " It is looked for in the current folder and on PYTHONPATH."
    return f"Its import stopped with {type(error).__name__}{where}{said}.{hint}"
