"""What tests share: tables drawn from one population, with and without a leak."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run in two processes
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

from dataclasses import dataclass

import pandas as pd
import pytest

from testbed.cli.doctor import population


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, those that share a cached world stay together: a file, or an attack."""
    for item in items:
        asked = getattr(item, "callspec", None)
        of = getattr(asked.params.get("a"), "name", "") if asked else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path.name} {of}"))


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


@pytest.fixture(scope="session")
def hospital() -> Thirds:
    return thirds(700, seed=3)
