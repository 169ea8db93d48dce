# pyright: strict
"""YAML that people write for the testbed (policies, meta files, forms, exercises), read so that no file can surprise.

A small text, without references, without a name that stands twice, and with numbers that fit into 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, cast

import yaml

LARGEST, DEEPEST = 100_000, 20
"""The largest number of characters of a file that is read, and how many lists and mappings may lie in each other."""
HUGEST = 2**63
"""Whole numbers of this size and above are refused."""


class SettingsError(ValueError):
    """Why a text cannot be used, as a sentence that quotes nothing of it; `line` is where it stops being YAML."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses a name that stands twice and a number of more than 64 bits."""


def _mapping(loader: Any, node: Any) -> dict[Hashable, Any]:
    loader.flatten_mapping(node)
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    try:
        twice = len(set(keys)) < len(keys)
    except TypeError:
        raise SettingsError("A name in it is a list or a mapping.") from None
    if twice:
        raise SettingsError("A name stands twice in it, so that readers would differ on its value.")
    return dict(zip(keys, (loader.construct_object(value, deep=True) for _, value in node.value), strict=True))


def _whole(loader: Any, node: Any) -> int:
    number: int = loader.construct_yaml_int(node)
    if abs(number) >= HUGEST:
        raise SettingsError("A number in it has more than 64 bits.")
    return number


_add = cast("Callable[[str, Callable[[Any, Any], Any]], None]", _Loader.add_constructor)  # pyright: ignore[reportUnknownMemberType]
_add("tag:yaml.org,2002:map", _mapping)
_add("tag:yaml.org,2002:int", _whole)


def load(path: Path) -> Any:
    """What the YAML file holds. Raises `SettingsError` if it cannot be read or used; see `parse`."""
    try:
        with path.open("rb") as file:
            content = file.read(4 * LARGEST + 1)
        text = content.decode("utf-8-sig")
    except OSError:
        raise SettingsError("It cannot be read.") from None
    except UnicodeDecodeError:
        raise SettingsError("It is not a text file in UTF-8.") from None
    return parse(text)


def parse(text: str) -> Any:
    """What the YAML text holds: mappings, lists, texts, numbers, dates, true, false or None.

    Raises `SettingsError` if it is no YAML, too large, too deep, refers from one place to another, names something
    twice, or holds a number of more than 64 bits.
    """
    if len(text) > LARGEST:
        raise SettingsError(f"It is larger than {LARGEST} characters.")
    depth = 0
    try:
        for event in cast("Any", yaml).parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise SettingsError("It refers from one place to another (* and &): write the value out.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise SettingsError(f"More than {DEEPEST} lists or mappings lie in each other.")
        return cast("Any", yaml).load(text, _Loader)
    except SettingsError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise SettingsError("It is not YAML.", mark.line + 1 if mark is not None else None) from None
    except (ValueError, OverflowError, RecursionError, AttributeError, TypeError, LookupError):
        raise SettingsError("It is not YAML.") from None
