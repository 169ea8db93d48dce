"""Cells as hospitals write them become plain numbers and dates before a generator sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.data.tables.plain_cells import plain_cells
from tests.cli.test_cli import invoke


def hospital(seed: int = 0, n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cost, weight = rng.gamma(2, 2500, n).round(2), rng.normal(78, 14, n).round(1)
    born = pd.Timestamp("1930-01-01") + pd.to_timedelta(rng.integers(0, 27000, n), "D")
    return pd.DataFrame(
        {
            "cost": [f"{v:,.2f}".replace(",", "x").replace(".", ",").replace("x", ".") for v in cost],
            "weight": [f"{v} kg".replace(".", ",") for v in weight],
            "born": born.strftime("%d.%m.%Y"),
            "crp": np.where(rng.random(n) < 0.2, "not done", rng.integers(1, 200, n).astype(str)),
            "sex": rng.choice(["f", "m"], n),
            "id": [f"p{i}" for i in range(n)],
        }
    )


def test_spelt_numbers_and_dates_become_plain_ones_and_categories_stay() -> None:
    table = hospital()
    said: list[str] = []
    read = plain_cells(table, "id", said.append)
    assert read["cost"].iloc[0] == pytest.approx(float(table["cost"].iloc[0].replace(".", "").replace(",", ".")))
    assert read["weight"].iloc[0] == pytest.approx(float(table["weight"].iloc[0].split()[0].replace(",", ".")))
    assert read["born"].iloc[0] == pd.to_datetime(table["born"].iloc[0], dayfirst=True).strftime("%Y-%m-%d")
    assert (read["crp"].isna() == (table["crp"] == "not done")).all()
    assert read["sex"].equals(table["sex"])
    assert read["id"].equals(table["id"])
    assert not said


def test_a_generator_releases_new_numbers_for_spelt_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = hospital().drop(columns="id")
    table.to_csv(tmp_path / "o.csv", index=False, sep=";")
    hospital(1).drop(columns="id").to_csv(tmp_path / "p.csv", index=False)
    out = str(tmp_path / "s.csv")
    given = ["--original", str(tmp_path / "o.csv"), "--public", str(tmp_path / "p.csv"), "--out", out]
    assert invoke(monkeypatch, "synthesise", *given, "--generator", "noisy_marginals", "--rows", "300") == 0
    released = pd.read_csv(out)
    assert pd.api.types.is_numeric_dtype(released["cost"])
    known = plain_cells(table, None, lambda _: None)["cost"]
    assert np.isin(released["cost"], known).mean() < 0.1
