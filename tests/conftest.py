"""What tests share: tables drawn from one population, with and without a leak."""

from __future__ import annotations

import gc
import os
import random
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run in two processes
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.attacks import registry as attacks
from testbed.cli.doctor import population
from testbed.defences import registry as defences
from testbed.defences.guards import registry as guards
from testbed.harness import scenario as scenarios

ROOT = Path(__file__).parents[1]
REGISTRIES = tuple(room.REGISTRY for room in (attacks, defences, guards, scenarios))


def _seed_shared_generators() -> None:
    """A file or test that draws from a generator of the whole process draws the same, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries draw from it
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(0)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Before a file of tests is imported."""
    if isinstance(collector, pytest.Module):
        _seed_shared_generators()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures of a test are made."""
    _seed_shared_generators()


def pytest_sessionstart() -> None:
    """Until all is collected, nothing is garbage; to look for some costs a second."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What is loaded by now stays until the end, so that it is no longer looked through for garbage."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def nothing_of_a_test_stays_registered() -> Iterator[None]:
    """Attacks, defences and scenarios that a test defines are gone after it; those of the package stay."""
    yield from _registered_meanwhile()


@pytest.fixture(autouse=True, scope="module")
def nothing_of_a_file_stays_registered() -> Iterator[None]:
    """The same for what the fixtures of a whole file define."""
    yield from _registered_meanwhile()


def _registered_meanwhile() -> Iterator[None]:
    before = [set(registry.known) for registry in REGISTRIES]
    yield
    for registry, known in zip(REGISTRIES, before, strict=True):
        for name in set(registry.known) - known:
            if not _shipped(registry.behind(registry.known[name])):
                del registry.known[name]


def _shipped(function: Any) -> bool:
    file = Path(function.__code__.co_filename)
    return any(file.is_relative_to(ROOT / room) for room in ("testbed", "scenarios"))


@dataclass(frozen=True)
class Thirds:
    """Three equal parts of one population: whose rows are used, who stay out, and who are played as synthetic."""

    original: pd.DataFrame
    control: pd.DataFrame
    fresh: pd.DataFrame

    def leaky(self, share: float) -> pd.DataFrame:
        count = round(share * len(self.fresh))
        return pd.concat([self.original.head(count), self.fresh.tail(len(self.fresh) - count)], ignore_index=True)


def thirds(people: int, seed: int = 0) -> Thirds:
    everybody = population(3 * people, seed)
    parts = (everybody.iloc[i * people : (i + 1) * people].reset_index(drop=True) for i in range(3))
    return Thirds(*parts)


@pytest.fixture
def few_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control under a defence is a mean of 10 answers, not of 100: for tests that claim nothing of it."""
    monkeypatch.setattr("testbed.harness.federation.repeated.REPEATS", 10)


@pytest.fixture(scope="session")
def hospital() -> Thirds:
    return thirds(700, seed=3)
