"""The commands about a finished result: each refuses one that was altered, and marks one without digests."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from testbed.findings.proof import sealed
from testbed.report import exports, store
from tests.cli.test_cli import invoke
from tests.findings.test_proof import EXAMPLE, other, parent, places
from tests.report.test_signature import keys
from tests.report.test_verification import run

__all__ = ["run"]


def altered_each() -> list[tuple[Any, ...]]:
    """One field of each part of a result: the deepest of those that come first."""
    chosen: dict[str, tuple[Any, ...]] = {}
    for path in places(EXAMPLE):
        if path[0] not in chosen or len(path) > len(chosen[path[0]]):
            chosen[path[0]] = path
    return list(chosen.values())


@pytest.mark.parametrize("command", ["verify", "report", "check"])
def test_an_altered_field_is_caught_by_each_command(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in altered_each():
        changed = copy.deepcopy(EXAMPLE)
        holder = parent(changed, path)
        holder[path[-1]] = other(holder[path[-1]])
        (tmp_path / "r.json").write_text(json.dumps(changed))
        assert invoke(monkeypatch, command, str(tmp_path / "r.json")) == 4, path
        told = capsys.readouterr()
        assert "altered" in told.out + told.err or "schema" in told.out + told.err
    assert not (tmp_path / "report.html").exists()


def test_a_verdict_turned_to_pass_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {**EXAMPLE, "decision": {**EXAMPLE["decision"], "verdict": "pass"}}
    (tmp_path / "r.json").write_text(json.dumps(changed))
    assert invoke(monkeypatch, "report", str(tmp_path / "r.json")) == 4
    assert "TB-RESULT-003  This result was altered after it was made: the decision." in capsys.readouterr().err
    assert invoke(monkeypatch, "compare", str(tmp_path / "r.json"), "--out", str(tmp_path / "c")) == 4


def test_a_result_of_an_earlier_version_is_shown_without_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = {n: v for n, v in EXAMPLE.items() if n != "proof"} | {"run": {**EXAMPLE["run"], "id": "7eea25b59eb0"}}
    (tmp_path / "r.json").write_text(json.dumps(earlier))
    assert invoke(monkeypatch, "report", str(tmp_path / "r.json")) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Without proof" in page
    assert "disclosure gate passed" not in page
    assert invoke(monkeypatch, "verify", str(tmp_path / "r.json")) == 3
    assert "without proof" in capsys.readouterr().err
    invoke(monkeypatch, "check", str(tmp_path / "r.json"), "--json")
    assert "proof" not in json.loads(capsys.readouterr().out)


def test_a_bundle_is_made_signed_and_verified(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = keys(tmp_path)
    bundle = str(tmp_path / "share.zip")
    assert invoke(monkeypatch, "bundle", str(run), "-o", bundle, "--sign", str(private)) == 0
    first = Path(bundle).read_bytes()
    assert invoke(monkeypatch, "bundle", str(run), "-o", bundle, "--sign", str(private)) == 0
    assert Path(bundle).read_bytes() == first
    assert invoke(monkeypatch, "verify", bundle, "--signer", str(public)) == 0
    assert invoke(monkeypatch, "verify", bundle, "--input", f"synthetic={tmp_path / 't.csv'}") == 0
    assert invoke(monkeypatch, "verify", bundle, "--input", "t.csv") == 2
    assert "TB-PROOF-003" in capsys.readouterr().err
    (run / "share" / "report.html").write_text("<p>edited")
    assert invoke(monkeypatch, "bundle", str(run), "-o", bundle) == 4
    assert "TB-BUNDLE-006" in capsys.readouterr().err
    assert Path(bundle).read_bytes() == first


def test_exports_lie_beside_the_result_and_are_passed_on_with_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("sarif", "csv", "junit"):
        assert invoke(monkeypatch, "export", str(run), "--to", name) == 0
        assert invoke(monkeypatch, "export", str(run), "--to", name) == 0  # its own is written anew
    names = {"result.json", "report.html", "result.sarif", "result.csv", "result.junit.xml"}
    assert {p.name for p in (run / "share").iterdir()} == names
    assert invoke(monkeypatch, "bundle", str(run), "-o", str(tmp_path / "b.zip")) == 0
    assert invoke(monkeypatch, "verify", str(tmp_path / "b.zip")) == 0
    table = run / "share" / "result.csv"
    table.write_text(table.read_text().replace("membership", "nothing"))
    assert invoke(monkeypatch, "verify", str(run)) == 4
    assert "result.csv was not made from this result" in capsys.readouterr().out
    (tmp_path / "mine.csv").write_text("a,b")
    assert invoke(monkeypatch, "export", str(run), "--to", "csv", "--out", str(tmp_path / "mine.csv")) == 2
    assert invoke(monkeypatch, "export", str(run), "--to", "word") == 2
    assert "sarif" in capsys.readouterr().err


@pytest.mark.parametrize("name", exports.names())
def test_no_format_is_made_of_an_altered_result(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {**EXAMPLE, "decision": {**EXAMPLE["decision"], "verdict": "pass"}}
    (tmp_path / "r.json").write_text(json.dumps(changed))
    assert invoke(monkeypatch, "export", str(tmp_path / "r.json"), "--to", name) == 4
    assert "TB-RESULT-003" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_dossier_with_its_form_is_passed_on_and_verified(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "form.yaml").write_text("sources: A registry\n")
    form = ("--facts", str(tmp_path / "form.yaml"))
    assert invoke(monkeypatch, "export", str(run), "--to", "dossier", *form) == 0
    page = run / "share" / "result.dossier.html"
    assert "A registry" in page.read_text()
    assert invoke(monkeypatch, "bundle", str(run), "-o", str(tmp_path / "b.zip")) == 0
    assert invoke(monkeypatch, "verify", str(tmp_path / "b.zip")) == 0
    assert "result.dossier.html was made from this result" in capsys.readouterr().out
    page.write_text(page.read_text().replace("not tested", "tested"))
    assert invoke(monkeypatch, "verify", str(run)) == 4
    assert invoke(monkeypatch, "export", str(run), "--to", "csv", *form) == 2
    assert "TB-EXPORT-004" in capsys.readouterr().err


def test_a_forged_file_of_a_format_that_the_result_cannot_have_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = store.load(run)
    table = result.subject.model_copy(update={"type": "synthetic_table"})
    release = store.write(tmp_path / "release", sealed(result.model_copy(update={"subject": table})))
    assert invoke(monkeypatch, "export", str(release), "--to", "cyclonedx") == 2
    assert "TB-EXPORT-006" in capsys.readouterr().err
    (release / "share" / "result.cdx.json").write_text("{}")
    assert invoke(monkeypatch, "verify", str(release)) == 4
    assert "result.cdx.json was not made from this result" in capsys.readouterr().out


def test_a_folder_for_output_checkers_is_written_once_and_a_zip_goes_into_the_bundle(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "egress"
    assert invoke(monkeypatch, "export", str(run), "--to", "acro", "--out", str(folder)) == 0
    assert {p.name for p in folder.iterdir()} == {
        "checksums",
        "findings.csv",
        "report.html",
        "results.json",
        "verdict.txt",
    }
    assert invoke(monkeypatch, "export", str(run), "--to", "acro", "--out", str(folder)) == 2
    assert "TB-EXPORT-005" in capsys.readouterr().err
    assert invoke(monkeypatch, "export", str(run), "--to", "acro") == 0
    assert invoke(monkeypatch, "verify", str(run)) == 0
    assert "result.acro.zip was made from this result" in capsys.readouterr().out


def test_a_decision_made_again_is_sealed_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(monkeypatch, "check", str(run), "--policy", "example-contract", "--json")
    (tmp_path / "again.json").write_text(capsys.readouterr().out)
    assert invoke(monkeypatch, "verify", str(tmp_path / "again.json"), "--policy", "example-contract") == 0
