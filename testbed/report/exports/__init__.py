# pyright: strict
"""A result in other tools' formats: one file a format, found by being here.

Such a file has `SUFFIX`, the end of the written file's name, and `export(result) -> bytes`. Equal results give equal
bytes. An export holds what the result holds, and nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from testbed.core.errors import UsageError, perhaps

if TYPE_CHECKING:
    from testbed.findings.schema import Result

MARK = b"leakage-testbed"
"""What every export holds: a file without it is not overwritten."""


def names() -> list[str]:
    """The names of all formats. Nothing is imported."""
    return sorted(module.name.rstrip("_") for module in pkgutil.iter_modules(__path__))


def export(result: Result, name: str) -> bytes:
    """The result in this format. Raises `UsageError` if there is no such format."""
    return cast("bytes", _module(name).export(result))


def suffix(name: str) -> str:
    """The end of a file's name in this format. Raises `UsageError` if there is no such format."""
    return cast("str", _module(name).SUFFIX)


def writable(target: Path, name: str) -> None:
    """Raises `UsageError` unless an export may be written to `target`: its name ends as the format's names do, and it
    is new or holds an export."""
    if not target.name.lower().endswith(suffix(name)):
        raise UsageError(
            "TB-EXPORT-002",
            f"A file of the format {name} ends in {suffix(name)}, but the name {target.name} does not.",
            "Other programs would read the file as something else.",
            f"End the name in {suffix(name)}.",
        )
    if target.exists() and (not target.is_file() or MARK not in target.read_bytes()):
        raise UsageError(
            "TB-EXPORT-003",
            f"{target.name} exists and is not an export of this testbed.",
            "It would be overwritten.",
            "Name another file with --out.",
        )


def _module(name: str) -> Any:
    if name not in names():
        raise UsageError(
            "TB-EXPORT-001",
            f"There is no format {name!r}.",
            "A result is exported to one of the formats that exist.",
            perhaps(name, names()),
        )
    file = next(m.name for m in pkgutil.iter_modules(__path__) if m.name.rstrip("_") == name)
    return importlib.import_module(f"{__name__}.{file}")
