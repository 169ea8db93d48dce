"""Peers to measure beside: checkouts and environments under the folder that PEERS names, absent or not."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


def module(peer: str, path: str) -> ModuleType | None:
    """A peer's own module, from `$PEERS/<peer>/<path>`; None where it is not there."""
    file = Path(os.environ.get("PEERS", "")) / peer / path
    if not os.environ.get("PEERS") or not file.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"{peer}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


class _Anything(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent


class Absent(metaclass=_Anything):
    """Stands in for what a peer's module imports and the code that is measured never calls."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


@cache
def leakpro() -> type | None:
    """LeakPro's own handler of pictures, which trains one shadow model after the other; None without the checkout.

    Its packages are entered without their `__init__`, which would import the whole of it and what it needs.
    """
    home = Path(os.environ.get("PEERS", "")) / "LeakPro"
    if not os.environ.get("PEERS") or not (home / "leakpro").is_dir():
        return None
    for name in ("leakpro", "leakpro.input_handler", "leakpro.utils", "leakpro.tests", "leakpro.tests.input_handler"):
        package = ModuleType(name)
        package.__path__ = [str(home / name.replace(".", "/"))]
        sys.modules[name] = package
    if importlib.util.find_spec("optuna") is None:
        stand_in: Any = Absent
        sys.modules["optuna"] = stand_in
    made = importlib.import_module("leakpro.tests.input_handler.image_input_handler")
    made.logger.setLevel(logging.WARNING)
    return made.ImageInputHandler


def cpu_seconds() -> float:
    """Of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work returns, its CPU seconds and its wall seconds."""
    cpu, wall = cpu_seconds(), time.monotonic()
    made = work()
    return made, cpu_seconds() - cpu, time.monotonic() - wall


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def one_thread() -> None:
    torch.set_num_threads(1)
