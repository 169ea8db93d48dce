"""What stands in a folder of results is listed with its kind, its verdict and its state, and obeys nothing in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from testbed.cli import runs as command
from testbed.cli.commands import app
from testbed.core.errors import UsageError
from testbed.findings import proof
from testbed.findings.schema import Result
from testbed.harness.sweep import folder as sweeps
from testbed.harness.sweep.inputs import Inputs
from testbed.report import listing, store

EXAMPLE = Path(__file__).parents[2] / "docs" / "result.example.json"


def result(created: str, **changes: Any) -> Result:
    example = Result.model_validate_json(EXAMPLE.read_text(encoding="utf-8"))
    run = example.run.model_copy(update={"created": created, **changes})
    return proof.sealed(example.model_copy(update={"run": run}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("results")
    store.write(top / "first", result("2026-01-01T10:00:00+00:00"))
    store.write(top / "project" / "audit", result("2026-01-02T10:00:00+00:00", command="audit-model"))
    store.write(top / "half", result("2026-01-03T10:00:00+00:00", status="partial"))
    for name, old, new in (("edited", '"verdict": "', '"verdict": "x'), ("broken", '"run"', "run")):
        store.write(top / name, result("2026-01-04T10:00:00+00:00"))
        file = top / name / "share" / "result.json"
        file.write_text(file.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    (top / ".stopped.resume").mkdir()
    inputs = Inputs("curious_server", {}, 0, 0, None, {}, "code")
    (top / "grid" / sweeps.CELLS).mkdir(parents=True)
    sweeps.put(top / "grid", inputs, {}, {"status": "failed", "ran": {}, "seconds": 1.0})
    (top / "game").mkdir()
    (top / "game" / listing.EXERCISE).write_text("{}")
    (top / "others").mkdir()
    (top / "others" / "notes.txt").write_text("x")
    (top / "link").symlink_to(top / "first")
    return top


def states(folder: Path) -> dict[str, tuple[str, str]]:
    return {entry.path: (entry.kind, entry.state) for entry in listing.entries(folder)}


def test_each_kind_and_state_is_said(folder: Path) -> None:
    assert states(folder) == {
        "first": (result("").run.command, "complete"),
        "project/audit": ("audit-model", "complete"),
        "half": (result("").run.command, "partial"),
        "edited": (result("").run.command, "altered"),
        "broken": ("unknown", "unreadable"),
        "stopped": ("run", "resumable"),
        "grid": ("sweep", "resumable"),
        "game": ("range", "stopped"),
    }
    found = {entry.path: entry for entry in listing.entries(folder)}
    assert found["edited"].note == "the findings"
    assert found["grid"].note == "0 cells, 1 failed"
    dated = [entry.created for entry in listing.entries(folder)]
    assert dated == sorted(dated, reverse=True)


def test_a_sweep_at_work_is_running_and_one_with_a_later_comparison_is_complete(folder: Path) -> None:
    with sweeps.locked(folder / "grid"):
        assert states(folder)["grid"] == ("sweep", "running")
    told = {"schema": "testbed.comparison/1", "run": {"created": "2026", "scenarios": ["a"]}, "decision": {}}
    sweeps.put_share(folder / "grid", {"comparison.json": json.dumps(told).encode()})
    try:
        assert states(folder)["grid"] == ("sweep", "complete")
        assert states(folder / "grid") == {".": ("sweep", "complete")}  # the folder itself is one
    finally:
        (folder / "grid" / "share" / "comparison.json").unlink()


def test_the_command_filters_and_prints_for_machines(folder: Path) -> None:
    def told(*options: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(app, ["runs", str(folder), "--json", *options], catch_exceptions=False)
        assert done.exit_code == 0
        return json.loads(done.stdout)

    assert len(told()) == 8
    assert {e["path"] for e in told("--kind", "audit-model")} == {"project/audit"}
    verdict = result("").decision.verdict
    assert {e["path"] for e in told("--verdict", verdict, "--kind", "audit-model")} == {"project/audit"}
    assert {e["verdict"] for e in told("--verdict", "none")} <= {"none"}
    assert str(folder) not in json.dumps(told())
    lines = CliRunner().invoke(app, ["runs", str(folder)]).stdout.splitlines()
    assert lines[0].split() == list(command.COLUMNS)
    assert len(lines) == 9
    assert {*get_args(listing.Kind), "unknown"} == set(command.KINDS)
    assert CliRunner().invoke(app, ["runs", str(folder), "--kind", "fire"]).exit_code == 2


def test_hostile_files_are_unreadable_and_control_no_terminal(tmp_path: Path) -> None:
    contents = {
        "deep": b"[" * 100_000,
        "bytes": b"\xff\xfe\x00",
        "list": b"[1, 2]",
        "number": b"1" * 10_000,
        "twice": b'{"schema": "testbed.result/1", "schema": "testbed.result/1"}',
        "kind": b'{"schema": "testbed.result/1", "run": {"command": ["x"]}}',
        "escape": json.dumps(
            {"schema": "testbed.result/1", "run": {"command": "run", "id": "1"}, "subject": {"name": "\x1b[2J\n"}}
        ).encode(),
    }
    for name, content in contents.items():
        (tmp_path / name / "share").mkdir(parents=True)
        (tmp_path / name / "share" / "result.json").write_bytes(content)
    assert {name: state for name, (_, state) in states(tmp_path).items()} == dict.fromkeys(contents, "unreadable") | {
        "escape": "complete"
    }
    printed = CliRunner().invoke(app, ["runs", str(tmp_path)]).stdout
    assert "\x1b" not in printed
    assert len(printed.splitlines()) == 1 + len(contents)
    assert "without proof" in printed


def test_where_there_is_no_folder_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TB-RUNS-001"):
        listing.entries(tmp_path / "none")
    assert CliRunner().invoke(app, ["runs", str(tmp_path)]).stdout == ""
