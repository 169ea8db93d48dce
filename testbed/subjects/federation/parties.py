"""The records of a federation's clients, of which each deployed node is given its own alone."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from contextvars import ContextVar
from typing import Any, overload

from testbed.core import Cohort
from testbed.core.errors import RunError

_ONLY: ContextVar[int | None] = ContextVar("only", default=None)


class Parties(Sequence[Cohort]):
    """One cohort a client. Where it is pickled `for_client`, the copy holds that client's records and no others."""

    def __init__(self, cohorts: Sequence[Cohort | None]) -> None:
        self._cohorts = list(cohorts)

    def __len__(self) -> int:
        return len(self._cohorts)

    @overload
    def __getitem__(self, index: int) -> Cohort: ...
    @overload
    def __getitem__(self, index: slice) -> Parties: ...
    def __getitem__(self, index: int | slice) -> Cohort | Parties:
        if isinstance(index, slice):
            return Parties(self._cohorts[index])
        if (found := self._cohorts[index]) is None:
            raise RunError(
                "TB-DEPLOY-011",
                f"This node does not hold the records of client {index}.",
                "Each node of a deployed federation is given the records of one client.",
                "Restart the federation. A node that was given another number keeps its own records.",
            )
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        only = _ONLY.get()
        return Parties, ([c if only in (None, i) else None for i, c in enumerate(self._cohorts)],)


@contextlib.contextmanager
def for_client(number: int) -> Generator[None]:
    """A context in which what is pickled holds the records of this client alone."""
    before = _ONLY.set(number)
    try:
        yield
    finally:
        _ONLY.reset(before)
