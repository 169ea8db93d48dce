"""Different releases of one original are counted, by digests that say nothing of either."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.evaluations import MANY, evaluations
from testbed.report import html
from tests.conftest import Thirds

CANARY = "Zanzibarwort"


def table(start: int) -> pd.DataFrame:
    return pd.DataFrame({"x": range(start, start + 5), "note": [CANARY] * 5})


def test_equal_releases_count_once_and_others_each(tmp_path: Path) -> None:
    assert [evaluations(table(0), table(n), tmp_path) for n in (1, 1, 2, 1)] == [1, 1, 2, 2]
    assert evaluations(table(9), table(1), tmp_path) == 1
    kept = "".join(p.read_text(errors="ignore") for p in tmp_path.iterdir())
    assert CANARY not in kept


def test_where_nothing_can_be_kept_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert evaluations(table(0), table(1), tmp_path / "file" / "folder") is None
    (tmp_path / "counter.json").write_text("[]")
    assert evaluations(table(0), table(1), tmp_path) is None


def test_many_evaluations_are_said_in_the_report(hospital: Thirds, tmp_path: Path) -> None:
    done = evaluate(hospital.original, hospital.fresh, hospital.control, attacks=50)
    for n in range(MANY - 1):
        evaluations(done.people.tables[0], table(n), tmp_path)
    counted = done.counted(tmp_path)
    assert counted.result.disclosure.evaluations == MANY
    assert "Evaluated often" in html.render(counted.result)
    assert "Evaluated often" not in html.render(done.result)
    public = evaluate(hospital.original, hospital.fresh, hospital.control, attacks=50, data_class="public")
    assert public.counted(tmp_path).result.disclosure.evaluations is None
