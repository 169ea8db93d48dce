"""Mistakes of use are said before any work, and names of columns are read whatever signs they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import TestbedError, UsageError
from testbed.harness.release import mistakes
from testbed.harness.release.column_names import links, secrets
from testbed.harness.release.meta_file import MetaFile

COLUMNS = ["age", "sex", "creatinine, umol/l", "ratio a:b", "icd10"]


def table(seed: int, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"id": [f"{seed}-{i}" for i in range(n)], "x": rng.normal(size=n), "s": rng.choice(["F", "M"], n)}
    )


def test_names_with_commas_and_colons_can_be_given() -> None:
    assert secrets(["age,creatinine, umol/l", "icd10"], COLUMNS) == ("age", "creatinine, umol/l", "icd10")
    assert secrets(["creatinine, umol/l"], COLUMNS) == ("creatinine, umol/l",)
    assert secrets([], COLUMNS) == ()
    assert links(["age, sex : ratio a:b,icd10"], COLUMNS) == [(("age", "sex"), ("ratio a:b", "icd10"))]
    pair = [["age"], ["creatinine, umol/l", "ratio a:b"]]
    assert links([pair], COLUMNS) == [(("age",), ("creatinine, umol/l", "ratio a:b"))]


@pytest.mark.parametrize("text", ["age", "age:age", "age:", ":sex", "a:b:c"])
def test_a_link_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"TB-DATA-06[03]"):
        links([text], COLUMNS)


def test_typing_errors_are_answered_with_what_was_probably_meant() -> None:
    with pytest.raises(UsageError, match=r"Did you mean icd10\?"):
        secrets(["ICD-10"], COLUMNS)
    with pytest.raises(UsageError, match=r"Did you mean age\?"):
        links(["agee:sex"], COLUMNS)
    tables = {"original": table(1), "synthetic": table(2).rename(columns={"id": "pid"})}
    with pytest.raises(UsageError, match=r"Did you mean id\?"):
        mistakes.of_tables(tables, "idd", print)
    with pytest.raises(UsageError, match="were --original and --synthetic swapped"):
        mistakes.of_tables(tables, "pid", print)


def test_a_meta_file_may_hold_lists_of_names_and_an_encoding(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text('secrets: ["creatinine, umol/l"]\nlink: [[[age], ["ratio a:b"]], "sex:icd10"]\nencoding: cp1250\n')
    told = MetaFile.read(path)
    assert links(told.link, COLUMNS) == [(("age",), ("ratio a:b",)), (("sex",), ("icd10",))]
    assert (secrets(told.secrets, COLUMNS), told.encoding) == (("creatinine, umol/l",), "cp1250")
    path.write_text("link: [[age, sex]]\n")
    with pytest.raises(UsageError, match="TB-DATA-062"):
        MetaFile.read(path)


def test_one_file_twice_and_a_control_that_is_another_table_are_refused(tmp_path: Path) -> None:
    for name, seed in (("o", 1), ("s", 2), ("c", 3), ("copy", 1)):
        table(seed).to_csv(tmp_path / f"{name}.csv", index=False)
    o, s, c, copy = (tmp_path / f"{name}.csv" for name in ("o", "s", "c", "copy"))
    said: list[str] = []
    mistakes.of_paths({"original": o, "synthetic": s, "control": c}, said.append)
    assert not said
    for paths, wanted in (((o, o, c), "--original and --synthetic"), ((o, s, s), "--synthetic and --control")):
        with pytest.raises(UsageError, match=f"TB-USE-001: {wanted} are the same file"):
            mistakes.of_paths(dict(zip(("original", "synthetic", "control"), paths, strict=True)), said.append)
    with pytest.raises(UsageError, match="TB-USE-002: --original and --control hold the same table"):
        mistakes.of_paths({"original": o, "synthetic": s, "control": copy}, said.append)
    mistakes.of_paths({"original": o, "synthetic": copy}, said.append)
    assert "exactly the rows of --original" in said[0]
    for name in ("synthetic.csv", "original.csv"):
        table(len(name)).to_csv(tmp_path / name, index=False)
    mistakes.of_paths({"original": tmp_path / "synthetic.csv", "synthetic": tmp_path / "original.csv"}, said.append)
    assert "may be swapped" in said[1]


def test_equal_tables_are_seen_whatever_their_order_and_people_in_both_groups_are_named() -> None:
    one, other = table(1), table(2)
    turned = one.sample(frac=1, random_state=0)[["s", "x", "id"]]
    assert mistakes.same_rows(one, turned)
    assert not mistakes.same_rows(one, one.assign(x=one["x"].sample(frac=1, random_state=0).to_numpy()))
    with pytest.raises(UsageError, match="TB-USE-002: --original and --control"):
        mistakes.of_tables({"original": one, "synthetic": other, "control": turned}, None, print)
    shared = other.assign(id=[*one["id"][:3], *other["id"][3:]])
    with pytest.raises(TestbedError, match="TB-USE-003: --original and --control share several people"):
        mistakes.of_tables({"original": one, "synthetic": table(3), "control": shared}, "id", print)
    few = pd.DataFrame({"s": ["F", "M"] * 30})
    mistakes.of_tables({"original": few, "synthetic": few, "control": few}, None, lambda _: None)


def test_more_columns_than_can_be_evaluated_are_refused_at_once() -> None:
    wide = pd.DataFrame(np.zeros((3, 100_000)))
    with pytest.raises(TestbedError, match="TB-DATA-059: The original table has 100,000 columns"):
        mistakes.of_tables({"original": wide, "synthetic": wide}, None, print)
