"""The export for output checkers: read by the rules of SACRO-Viewer's loader, in the form that ACRO writes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from testbed.core.errors import UsageError
from testbed.report import exports, gate
from testbed.report.exports import acro
from tests.report.test_exports import example

FIELDS = [
    "uid",
    "status",
    "type",
    "properties",
    "files",
    "outcome",
    "command",
    "summary",
    "timestamp",
    "comments",
    "exception",
    "fair",
]
"""The fields of a record in the order in which ACRO 1.0.2 writes them."""


def unpacked(folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(acro.export(example()))) as archive:
        archive.extractall(folder)
    return folder


def records(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))["results"]


def test_the_folder_is_one_that_the_viewer_opens(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    assert [p.name for p in folder.glob("*.json")] == ["results.json"]  # with a second one it would not know which
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [*content] == ["version", "tool", "results"]
    assert [int(part) for part in content["version"].split(".")] >= [1, 0, 0]
    for key, record in content["results"].items():
        assert [*record] == FIELDS
        assert record["uid"] == key
        assert record["status"] in ("pass", "review", "fail")
        assert datetime.fromisoformat(record["timestamp"])
        assert record["files"]
        for file in record["files"]:
            listed = (folder / "checksums" / f"{file['name']}.txt").read_text(encoding="utf8")
            assert listed == hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest()
            assert all(len(place) == 2 for cells in file["sdc"].get("cells", {}).values() for place in cells)


def test_every_file_has_its_checksum_and_belongs_to_a_record(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    files = {p.name for p in folder.iterdir() if p.is_file()}
    assert {p.name for p in (folder / "checksums").iterdir()} == {f"{name}.txt" for name in files}
    assert {f["name"] for r in records(folder).values() for f in r["files"]} == files - {"results.json"}


@pytest.mark.parametrize(("policy", "status"), [("example-open-release", None), (None, "review")])
def test_the_subject_has_the_verdict_and_the_report_is_for_a_person_to_decide(policy: str | None, status: str) -> None:
    result = example(policy)
    made = json.loads(acro.searched(result)["results.json"])["results"]
    assert made["output_0"]["status"] == (status or result.decision.verdict)
    assert {made[name]["status"] for name in ("output_1", "output_2")} == {"review"}
    assert made["output_0"]["properties"]["verdict"] == result.decision.verdict


def test_a_failed_subject_is_failed_and_its_reasons_stand_in_the_text() -> None:
    result = example()
    failed = result.model_copy(update={"decision": result.decision.model_copy(update={"verdict": "fail"})})
    files = acro.searched(failed)
    assert json.loads(files["results.json"])["results"]["output_0"]["status"] == "fail"
    text = files["verdict.txt"].decode()
    assert "Verdict: FAIL" in text
    assert all(reason.rule in text for reason in failed.decision.reasons)
    assert all(f"Not tested: {line}" in text for line in failed.threat.not_tested)
    assert "\x1b" not in text


def test_a_summary_begins_with_the_status_and_holds_no_markup_since_the_viewer_takes_it_as_html() -> None:
    result = example()
    nasty = [r.model_copy(update={"rule": "<img src=x>"}) for r in result.decision.reasons]
    edited = result.model_copy(update={"decision": result.decision.model_copy(update={"reasons": nasty})})
    for made in (result, edited):
        for record in json.loads(acro.searched(made)["results.json"])["results"].values():
            assert record["summary"].split("; ")[0] == record["status"]
            assert "<" not in record["summary"]
            assert record["properties"]["method"]


def test_all_files_pass_the_gate_and_none_has_a_type_that_acro_blocks() -> None:
    files = acro.searched(example())
    gate.check(files, example(), None)
    assert not any(name.endswith((".svg", ".gph")) for name in files)


def test_a_folder_is_written_only_where_nothing_is_lost(tmp_path: Path) -> None:
    assert exports.is_folder(tmp_path / "new", "acro")
    assert not exports.is_folder(tmp_path / "x.zip", "acro")
    assert not exports.is_folder(tmp_path / "new", "csv")
    exports.writable(tmp_path / "new", "acro")
    exports.writable(tmp_path, "acro")
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UsageError, match="TB-EXPORT-005"):
        exports.writable(tmp_path, "acro")
    with pytest.raises(UsageError, match="TB-EXPORT-002"):
        exports.writable(tmp_path / "x.zip", "acro")
