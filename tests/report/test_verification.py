"""What a receiver is told of a result: what holds, what does not, and what cannot be told here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core import Evidence
from testbed.core.errors import UsageError
from testbed.findings import policy
from testbed.findings.assemble import decided
from testbed.findings.proof import sealed
from testbed.findings.schema import Result
from testbed.report import bundle, store
from testbed.report.inputs import Given, proven
from testbed.report.verification import Held, verify
from tests.report.test_signature import keys

EXAMPLE = Path(__file__).parents[2] / "docs" / "result.example.json"
TABLE = pd.DataFrame({"id": ["a", "b", "c"], "age": [40, 51, 62]})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder: the example, decided by the built-in policy, about a table."""
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    result = store.load(EXAMPLE)
    findings, decision = decided(result.findings, policy.load(), result.subject)
    result = result.model_copy(update={"findings": findings, "decision": decision})
    return store.write(tmp_path / "run", proven(result, {"synthetic": Given("t.csv", TABLE)}))


def found(place: Path, held: Held | None = None) -> dict[str, bool | None]:
    return {c.name: c.holds for c in verify(place, held)}


def edited(run: Path, *path: Any, value: Any) -> None:
    file = run / "share" / "result.json"
    content = json.loads(file.read_text())
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    file.write_text(json.dumps(content))


def resealed(run: Path) -> None:
    """The edited result with new digests, and its page: what somebody does who knows how."""
    content = json.loads((run / "share" / "result.json").read_text())
    for name, text in store.shared(sealed(Result.model_validate(content))).items():
        (run / "share" / name).write_bytes(text)


def test_all_holds_of_a_run_as_it_was_written(run: Path) -> None:
    assert found(run) == dict.fromkeys(("schema", "digests", "report", "gate", "policy"), True)
    assert found(run / "share" / "result.json") == dict.fromkeys(("schema", "digests", "gate", "policy"), True)


def test_a_bundle_is_verified_on_another_machine_without_the_original(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.zip").write_bytes(bundle.packed(bundle.files_of(run)))
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "elsewhere"))
    names = ("checksums", "schema", "digests", "report", "gate", "policy")
    assert found(tmp_path / "b.zip") == dict.fromkeys(names, True)
    assert not (tmp_path / "elsewhere").exists()


def test_an_edited_verdict_and_an_edited_page_do_not_hold(run: Path) -> None:
    page = run / "share" / "report.html"
    page.write_text(page.read_text().replace("</main>", "Signed. </main>"))
    assert found(run)["report"] is False
    edited(run, "decision", "verdict", value="pass")
    assert found(run)["digests"] is False


def test_an_edited_verdict_with_new_digests_is_not_what_the_policy_decides(run: Path) -> None:
    verdict = json.loads((run / "share" / "result.json").read_text())["decision"]["verdict"]
    edited(run, "decision", "verdict", value="pass" if verdict != "pass" else "fail")
    resealed(run)
    assert found(run) == {"schema": True, "digests": True, "report": True, "gate": True, "policy": False}


def test_another_policy_and_an_unknown_one_are_told_apart(run: Path, tmp_path: Path) -> None:
    assert found(run, Held(policy="example-contract"))["policy"] is False
    own = tmp_path / "own.yaml"
    own.write_text("id: own/1\nbasis: we said so\nlimits: {membership: 0.5}\n")
    result = store.load(run)
    _, decision = decided(result.findings, policy.load(own), result.subject)
    edited(run, "decision", value=decision.model_dump(mode="json", exclude_none=True))
    resealed(run)
    assert found(run)["policy"] is None
    assert decision.policy.basis == "we said so"  # type: ignore[union-attr]


def test_a_result_without_digests_is_without_proof(run: Path) -> None:
    content = json.loads((run / "share" / "result.json").read_text())
    del content["proof"]
    content["run"]["id"] = "7eea25b59eb0"
    (run / "share" / "result.json").write_text(json.dumps(content))
    assert found(run)["digests"] is None


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', "[" * 5000, '{"a": ' + "9" * 5000 + "}", '"\\ud800"'])
def test_what_is_no_result_is_said_in_words(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    assert found(tmp_path / "r.json") == {"schema": False}


def test_a_name_that_stands_twice_is_refused(run: Path) -> None:
    file = run / "share" / "result.json"
    file.write_text(file.read_text().replace('"decision": {', '"decision": {"verdict": "pass", ', 1))
    assert found(file) == {"schema": False}


def test_a_file_is_recognised_as_the_one_that_was_judged(run: Path, tmp_path: Path) -> None:
    TABLE[["age", "id"]].iloc[::-1].to_csv(tmp_path / "shuffled.csv", sep=";", index=False)
    TABLE.head(2).to_csv(tmp_path / "less.csv", index=False)
    assert found(run, Held(inputs={"synthetic": tmp_path / "shuffled.csv"}))["input synthetic"] is True
    assert found(run, Held(inputs={"synthetic": tmp_path / "less.csv"}))["input synthetic"] is False
    assert found(run, Held(inputs={"control": tmp_path / "less.csv"}))["input control"] is None
    with pytest.raises(UsageError, match="TB-PROOF-002"):
        verify(run, Held(inputs={"synthetic": tmp_path / "none.csv"}))


def test_a_signed_bundle_tells_by_whose_key(run: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = keys(tmp_path / "other")
    files = bundle.files_of(run)
    (tmp_path / "b.zip").write_bytes(bundle.packed(files, private))
    (tmp_path / "u.zip").write_bytes(bundle.packed(files))
    assert found(tmp_path / "b.zip", Held(signer=public))["signature"] is True
    assert found(tmp_path / "b.zip", Held(signer=other))["signature"] is False
    assert found(tmp_path / "b.zip")["signature"] is None
    assert found(tmp_path / "u.zip", Held(signer=public))["signature"] is False
    assert found(run, Held(signer=public))["signature"] is False
    assert "signature" not in found(tmp_path / "u.zip")


def test_evidence_of_python_objects_is_not_written() -> None:
    rows = Evidence.rows("true", "used", score=[0.5, 1.0])
    assert list(store.packed({"TB-X": rows})) == ["TB-X.npz"]
    for column in ("group", "score"):
        broken = replace(rows, **{column: np.array(["a", None], dtype=object)})
        with pytest.raises(TypeError, match="pickle"):
            store.packed({"TB-X": broken})
