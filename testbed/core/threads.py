"""One thread for small work: threads of OpenMP that wait for each other cost more than they bring, above all if other
programs use the same processors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any


@contextmanager
def one_thread() -> Generator[None]:
    """Libraries that use OpenMP (boosted trees, for example) use one thread for what this thread calls."""
    with _controller().limit(limits=1, user_api="openmp"):
        yield


@cache
def _controller() -> Any:
    # Looking for libraries takes some milliseconds, so it is done once. Trees of scikit-learn bring their own OpenMP.
    import_module("sklearn.ensemble")
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
