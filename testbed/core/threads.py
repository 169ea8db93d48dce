"""One thread for small work: threads of OpenMP that wait for each other cost more than they bring, above all if other
programs use the same processors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, Literal


@contextmanager
def one_thread(libraries: Literal["openmp", "blas"] | None = "openmp") -> Generator[None]:
    """Libraries that use OpenMP (boosted trees, for example) use one thread for what this thread calls.

    With "blas" it is the libraries of matrix products, and with None both.
    """
    with _controller().limit(limits=1, user_api=libraries):
        yield


@contextmanager
def torch_on_one_thread() -> Generator[None]:
    """Torch uses one thread: sums have the same order on every machine, and small steps do not wait for threads."""
    torch = import_module("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def _controller() -> Any:
    # Looking for libraries takes some milliseconds, so it is done once. Trees of scikit-learn bring their own OpenMP.
    import_module("sklearn.ensemble")
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
