# pyright: strict
"""One register for each kind of thing that a file can add: attacks, scenarios, defences and guards, by name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from testbed.core import catalogue, user_code
from testbed.core.errors import missing_extra


class Named(Protocol):
    """A thing that stands in a register."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True, slots=True)
class Registry(Generic[T]):
    """The things of one kind, by name. A file is loaded when it is asked for, and registers what it defines.

    `behind` gives the function behind a thing, whose module says where the thing comes from. `unknown` is the id of the
    error for a user's own code that defines no such thing, and `page` the page that says how to write one.
    """

    kind: catalogue.Kind
    type: type[T]
    behind: Callable[[T], Callable[..., Any]]
    unknown: str
    page: str = "docs/extending.md"
    known: dict[str, T] = field(default_factory=dict[str, T])

    def add(self, made: T) -> T:
        """The thing, registered. Raises `ValueError` if a thing of another file has its name.

        A scenario takes the place of one with its name: a sweep may run copies of one scenario from several folders.
        """
        before = self.known.get(made.name)
        if before is not None and self.kind != "scenario" and self._file(before) != self._file(made):
            raise ValueError(f"there are two {self.kind}s called {made.name}; the second would replace the first")
        self.known[made.name] = made
        return made

    def _file(self, thing: T) -> Any:
        """The file that defines a thing: one file may be imported under two names, as an installed scenario is."""
        function = inspect.unwrap(self.behind(thing))
        module = sys.modules.get(function.__module__)
        return getattr(module, "__file__", None) or function.__module__

    def load(self, wanted: Callable[[catalogue.Entry], bool] = lambda _: True) -> Iterator[T]:
        """All `wanted` things of the package and of the user's own folders, and all known ones, sorted by name.

        What needs a library that is not installed is left out, if the library belongs to an extra.
        """
        for entry in catalogue.entries(self.kind):
            if wanted(entry):
                try:
                    catalogue.load(entry)
                except ModuleNotFoundError as missing:
                    if missing_extra(missing) is None:
                        raise
        yield from (self.known[name] for name in sorted(self.known))

    def find(self, name: str) -> T:
        """The thing of this name, or a user's own (`module:function`, `file.py:name`). Only its own file is loaded.

        Raises `UsageError` if it does not exist, and `ModuleNotFoundError` if its libraries are not installed.
        """
        if name in self.known:
            return self.known[name]
        if user_code.named(name):
            found: T = user_code.value(
                name, lambda v: isinstance(v, self.type), self.kind, self.unknown, f"See {self.page}."
            )
            catalogue.check_name(self.kind, found.name, self.behind(found).__module__)
            return found
        catalogue.load(catalogue.known(self.kind, name))
        return self.known[name]
