"""The command line as a report prints it: with files' names for paths, and without what changes no result."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from testbed.cli import project

WITH_VALUE = ("--out", "-o", "--ray", "--cache", "--code")
ALONE = ("--json", "--resume", "--quiet")
"""Options that change no result: where it goes, how it is printed, and where it is computed."""


def command_line() -> str | None:
    """The command that runs now, with what the project said; None where no command line was read."""
    context = click.get_current_context(silent=True)
    typed: object = context.find_root().obj if context else None
    if context is None or not isinstance(typed, list | tuple):
        return None
    return written([*map(str, typed), *_of_project(context)])


def _of_project(context: click.Context) -> Iterator[str]:
    """The options of the command that have their values from the project, as one would type them."""
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is not None and project.from_project(parameter.name or ""):
            for one in value if isinstance(value, list | tuple) else [value]:
                yield from (parameter.opts[0], str(one))


def written(words: Iterable[str]) -> str:
    """The words of a command line as one text that a shell reads again."""
    return shlex.join(["testbed", *(_named(word) for word in _kept(iter(words)))])


def _kept(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        if word in WITH_VALUE:
            next(words, None)
        elif word not in ALONE and not word.startswith(tuple(f"{name}=" for name in WITH_VALUE)):
            yield word


def _named(word: str) -> str:
    """The word with each path in it replaced by its last name."""
    return "".join(_name(part) for part in re.split(r"([=:,])", word))


def _name(part: str) -> str:
    path = Path(part)
    outside = part.startswith(("/", "~", "./", "../", "\\")) or re.search(r"^[\w.-]*\\", part)
    if ("/" in part or "\\" in part) and (outside or path.exists()):
        return re.split(r"[/\\]", part.rstrip("/\\"))[-1]
    return part
