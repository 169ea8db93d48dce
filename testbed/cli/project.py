"""A project's settings: the file testbed.toml of the folder where a command runs, and environment variables.

A setting of the command line wins over the environment, and the environment over the file. The file is looked for in
the current folder alone, so that no folder further up decides in silence; TESTBED_PROJECT names another one.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from testbed.core.errors import UsageError, perhaps

FILE, NAMED, PREFIX = "testbed.toml", "TESTBED_PROJECT", "TESTBED_"
KEPT = "testbed.project"
"""The name under which a command's context keeps the project."""
DEFAULT_RUNS = Path("runs")
PATHS = ("runs", "original", "synthetic", "control", "meta")
"""Settings that are paths. Those in a file are relative to the file's folder."""
SEVERAL = ("secrets", "link")
"""Settings that are lists of texts; as an environment variable, a single one."""
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "": ("policy", "runs"),
    "tables": ("original", "synthetic", "control", "meta"),
    "roles": ("person", "secrets", "link"),
}
"""The settings by their section in the file; those of "" stand at its top."""
SETTINGS = tuple(name for names in SECTIONS.values() for name in names)
DECIDING = ("evaluate", "audit-model", "check")
"""Commands that a project's policy decides: those that would otherwise use the built-in one."""
NEAR = 0.8
"""How similar (in [0, 1], by difflib) a variable is to a setting that was meant."""
USING = (*DECIDING, "run", "replay", "sweep", "compare", "runs", "serve", "doctor")
"""Commands that read the project."""


@dataclass(frozen=True, slots=True)
class Project:
    """The settings by name, and where each comes from: the file's name, or an environment variable's."""

    file: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        """The folder for results where none is named."""
        return self.values.get("runs", DEFAULT_RUNS)

    def defaults(self) -> dict[str, dict[str, Any]]:
        """The settings as default values of options, by command."""
        tables = {name: v for name, v in self.values.items() if name not in ("runs", "policy")}
        deciding = {"policy": self.values["policy"]} if "policy" in self.values else {}
        shown = {"folder": self.values["runs"]} if "runs" in self.values else {}
        return {
            **{command: dict(deciding) for command in DECIDING},
            "evaluate": tables | deciding,
            "runs": shown,
            "serve": shown,
        }

    def apart(self) -> bool:
        """Whether the control is the file's and the original another one's, to which it does not belong."""
        ours = {
            name: self.file is not None and self.sources.get(name) == self.file.name for name in ("original", "control")
        }
        return ours["control"] and not ours["original"]

    def told(self) -> dict[str, str]:
        """Each setting with where it comes from; no values, which may be paths of this machine."""
        return dict(self.sources)


def read(environment: Mapping[str, str], folder: Path) -> Project:
    """The project of a folder, under these environment variables.

    Raises `UsageError` for a file that cannot be read, for a setting that is not known and for one of the wrong type.
    """
    _misspelt(environment)
    file = _file(environment, folder)
    values = _of_file(file) if file else {}
    sources = dict.fromkeys(values, file.name if file else "")
    for name in SETTINGS:
        if text := environment.get(PREFIX + name.upper()):
            values[name] = [text] if name in SEVERAL else Path(text) if name in PATHS else text
            sources[name] = PREFIX + name.upper()
    return Project(file, values, sources)


def current() -> Project:
    """The project of the command that runs; an empty one where none was read."""
    context = click.get_current_context(silent=True)
    return context.find_root().meta.get(KEPT, Project()) if context else Project()


def begin(context: click.Context) -> None:
    """Reads the project for the command that follows, and makes its settings the defaults of that command.

    A help text needs no project: it is shown beside a broken one, too.
    """
    if context.invoked_subcommand in USING and "--help" not in (context.obj or ()):
        project = read(os.environ, Path.cwd())
        context.meta[KEPT] = project
        context.default_map = project.defaults()


def from_project(name: str) -> bool:
    """Whether a parameter of the command that runs has its value from the project."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP


def _file(environment: Mapping[str, str], folder: Path) -> Path | None:
    if named := environment.get(NAMED):
        if not Path(named).is_file():
            raise UsageError(
                "TB-PROJECT-001",
                f"There is no project file {Path(named).name}.",
                f"{NAMED} names it.",
                "Mend the variable, or unset it.",
            )
        return Path(named)
    return folder / FILE if (folder / FILE).is_file() else None


def _of_file(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        where = f"TOML says: {error}." if isinstance(error, tomllib.TOMLDecodeError) else "It is no text in UTF-8."
        raise UsageError(
            "TB-PROJECT-002", f"{file.name} cannot be read.", where, "Mend it: see docs/project.md."
        ) from None
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name in SECTIONS and isinstance(value, dict):
            values |= {key: _value(file, name, key, given) for key, given in value.items()}
        else:
            values[name] = _value(file, "", name, value)
    return values


def _value(file: Path, section: str, name: str, given: object) -> Any:
    """A setting of the file. Raises `UsageError` if there is none of this name in its section, or of another type."""
    place = f"[{section}] {name}" if section else name
    if name not in SECTIONS[section]:
        elsewhere = next((s for s, names in SECTIONS.items() if name in names), None)
        if elsewhere is not None:
            hint = f"It stands {f'in the section [{elsewhere}]' if elsewhere else 'at the top, before any section'}."
        else:
            hint = perhaps(name, SECTIONS[section] if section else (*SECTIONS[""], *filter(None, SECTIONS)))
        why = "A setting that is misspelt would not be applied."
        raise UsageError("TB-PROJECT-003", f"{file.name} has an unknown setting: {place}.", why, hint)
    if name in SEVERAL and isinstance(given, list) and given and all(isinstance(g, str) and g for g in given):
        return list(given)
    if not isinstance(given, str) or not given:
        wanted = "a text, or a list of texts" if name in SEVERAL else "a text"
        raise UsageError("TB-PROJECT-004", f"{place} in {file.name} must be {wanted}.", "It is not.", "Mend the file.")
    if name in SEVERAL:
        return [given]
    if name == "policy" and given.endswith((".yaml", ".yml")):
        return str(file.parent / given)
    return file.parent / Path(given).expanduser() if name in PATHS else given


def _misspelt(environment: Mapping[str, str]) -> None:
    """Raises `UsageError` for a variable that is nearly a setting's: a misspelt policy would not be applied."""
    known = [*map(str.upper, SETTINGS), NAMED.removeprefix(PREFIX)]
    for name in sorted(n for n in environment if n.startswith(PREFIX)):
        near = difflib.get_close_matches(name.removeprefix(PREFIX), known, 1, NEAR)
        if near and PREFIX + near[0] != name:
            raise UsageError(
                "TB-PROJECT-005",
                f"The environment variable {name} is not known.",
                "A setting that is misspelt would not be applied.",
                f"Perhaps: {PREFIX}{near[0]}. Or unset it.",
            )
