"""What a result says of its inputs: enough to find the file again, and nothing about a person."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from testbed.core.disclosure import People
from testbed.findings.proof import altered
from testbed.findings.schema import Input, Result
from testbed.report import store
from testbed.report.inputs import NO_TABLE, WITHHELD, Given, of_scenario, proven

EXAMPLE = Path(__file__).parents[2] / "docs" / "result.example.json"
ORIGINAL = pd.DataFrame({"id": [f"p{i}" for i in range(150)], "name": [f"Quentin Zz{i:03}" for i in range(150)]})


def example(data_class: str) -> Result:
    result = store.load(EXAMPLE)
    return result.model_copy(update={"subject": result.subject.model_copy(update={"data_class": data_class})})


def told(result: Result) -> dict[str, Input]:
    assert result.proof is not None
    return {i.role: i for i in result.proof.inputs}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))


def test_real_people_are_digested_with_the_key_and_a_release_without() -> None:
    given = {"original": Given("o.csv", ORIGINAL), "synthetic": Given("s.csv", ORIGINAL), "few": Given("f", ORIGINAL)}
    result = proven(example("real"), given, People([ORIGINAL], "id"))
    assert altered(result.dump()) == ()
    inputs = told(result)
    assert [i.keyed for i in inputs.values()] == [True, False, True]
    assert inputs["original"].digest != inputs["synthetic"].digest
    assert inputs["original"].rows == "fewer than 1,000 rows"
    assert result.proof is not None
    assert result.proof.key is not None
    small = proven(example("real"), {"synthetic": Given("s.csv", ORIGINAL.head(99))}, None)
    assert told(small)["synthetic"].keyed  # a small table could be found by trying


def test_public_data_need_no_key() -> None:
    result = proven(example("public"), {"data": Given("d.csv", ORIGINAL)})
    assert not told(result)["data"].keyed
    assert result.proof is not None
    assert result.proof.key is None


def test_a_name_that_tells_of_a_person_is_withheld_and_the_others_are_not() -> None:
    given = {"original": Given("Quentin Zz007.csv", ORIGINAL), "control": Given("c.csv", ORIGINAL)}
    command = "testbed evaluate --original 'Quentin Zz007.csv' --seed 3"
    result = proven(example("real"), given, People([ORIGINAL], "id"), command)
    assert "Zz007" not in store.to_json(result)
    assert (told(result)["original"].name, told(result)["control"].name) == (WITHHELD, "c.csv")
    assert result.proof is not None
    assert result.proof.command is not None
    assert result.proof.command.endswith("--seed 3")


def test_a_model_is_digested_by_its_files_bytes(tmp_path: Path) -> None:
    (tmp_path / "m.joblib").write_bytes(b"model")
    model = told(proven(example("real"), {"model": Given("m.joblib", tmp_path / "m.joblib")}))["model"]
    assert (model.rows, model.keyed) == (NO_TABLE, True)


def test_a_scenarios_own_tables_are_inputs_and_shipped_data_are_not(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}).to_csv(tmp_path / "mine.csv", index=False)
    assert of_scenario({"data": "digits", "clients": 2}) == {}
    found = of_scenario({"data": f"{tmp_path / 'mine.csv'},digits"})
    assert [(role, one.name, one.rows) for role, one in found.items()] == [("data", "mine.csv", 3)]
