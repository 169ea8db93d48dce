"""A comparison's files: a page without scripts, a table that no spreadsheet computes, nothing about one person."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import testbed as tb
from testbed.core import executor
from testbed.core.errors import DisclosureError, UsageError
from testbed.findings.proof import REMOVED, altered
from testbed.harness.sweep import folder as folders
from testbed.report import comparison_page, gate, listing
from testbed.report.comparison import Compared, compared
from tests.findings.comparison.test_comparison import batch, made
from tests.harness.sweep.test_sweep import TINY, waited

POLICY = "id: mine/1\nlimits: {reconstruction: 0.2}\n"
EXEMPT = ("id", "created", "duration_s", "environment")
LEVELS = ["none", "weak", "strong"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scenario, a policy, and a finished sweep of five replicates; tests work on copies."""
    place = tmp_path_factory.mktemp("swept")
    shutil.copy(TINY, place / "tiny_scenario.py")
    (place / "policy.yaml").write_text(POLICY)
    tb.sweep(str(place / "tiny_scenario.py"), {"protection": LEVELS}, replicates=5, out=place / "out", workers=1)
    return place


@pytest.fixture
def place(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    places = tmp_path / "out" / folders.PLACES
    places.write_text(places.read_text().replace(str(swept), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(out: Path) -> str:
    """The comparison without the four fields in which equal sweeps differ."""
    dumped = json.loads((out / "share" / "comparison.json").read_text())
    dumped["run"] = {k: v for k, v in dumped["run"].items() if k not in EXEMPT}
    return json.dumps(dumped)


def invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    from testbed.cli import main

    monkeypatch.setattr("sys.argv", ["testbed", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_a_sweep_from_python_gives_a_comparison_to_look_at(place: Path) -> None:
    found = tb.compare(place / "out", policy=str(place / "policy.yaml"))
    assert repr(found) == "<compare: PASS on 3 settings, 15 runs; 'protection=strong'>"
    frame = found.to_frame()
    assert frame["verdict"].tolist() == ["fail", "pass", "fail"]
    assert frame["excess"].tolist()[1] < 0.1
    assert len(found.differences()) == 3
    page = found._repr_html_()
    assert "protection=strong" in page
    assert "<script" not in page
    assert len(page.encode()) < 15_000


def test_the_command_writes_page_table_and_json_and_its_exit_code_is_the_verdict(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, "compare", "out") == 0
    assert "NO VERDICT" in capsys.readouterr().out
    assert invoke(monkeypatch, "compare", "out", "--policy", "policy.yaml") == 0
    assert {p.name for p in (place / "out" / "share").iterdir()} == {f"comparison.{e}" for e in ("json", "html", "csv")}
    (place / "policy.yaml").write_text(POLICY.replace("0.2", "0.001"))
    assert invoke(monkeypatch, "compare", "out", "--policy", "policy.yaml") == 3
    capsys.readouterr()
    assert invoke(monkeypatch, "compare", "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "testbed.comparison/1"


def test_the_page_is_one_small_file_without_scripts_or_references(place: Path) -> None:
    found = compared([place / "out"])
    page = comparison_page.render(found.comparison)
    assert len(page.encode()) < comparison_page.LARGEST_PAGE
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)|src=|href=", page)
    assert page.count("<svg") == 1


def test_a_page_of_many_settings_stays_small_and_says_where_the_rest_stands() -> None:
    found = made(*(batch("strong", kind=f"a rather long name of a setting, number {n}") for n in range(400)))
    page = comparison_page.render(found)
    assert len(page.encode()) < comparison_page.LARGEST_PAGE
    assert "settings stand in comparison.csv" in page
    assert len(comparison_page.to_csv(found).splitlines()) == 401


def test_users_texts_are_shown_and_never_obeyed() -> None:
    evil = "=cmd|'/c calc'!A1<script>alert(1)</script>\u202e[red]"
    found = made(batch("none", kind=evil), batch("strong", kind="@sum"))
    page = comparison_page.render(found)
    assert "<script" not in page
    assert "\u202e" not in page
    rows = list(csv.reader(io.StringIO(comparison_page.to_csv(found))))
    assert not any(cell.startswith(("=", "@", "+")) for row in rows for cell in row)


def test_the_gate_blocks_a_comparison_that_quotes_a_person(tmp_path: Path) -> None:
    import pandas as pd

    from testbed.core.disclosure import People

    found = made(batch("none", kind="Zelinsky Agatha"), batch("strong", kind="b"))
    people = People([pd.DataFrame({"name": ["Zelinsky Agatha", *["Smith John"] * 20]})])
    with pytest.raises(DisclosureError, match="TB-GATE-001"):
        Compared(found, people).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    Compared(found).write(tmp_path / "out")
    with pytest.raises(DisclosureError):
        gate.search({"a.html": b"<script>"}, None, 10, [], set())


def test_stale_failed_and_damaged_cells_are_left_out_and_named(place: Path) -> None:
    cells = {k.inputs.params["protection"]: k for k in folders.cells(place / "out")}
    (cells["weak"].path / "share" / "result.json").write_text("{}")
    told = cells["none"].path / "cell.json"
    told.write_text(told.read_text().replace('"status": "done"', '"status": "failed"'))
    found = compared([place / "out"]).comparison
    assert [(one.setting, one.why, one.runs) for one in found.left_out] == [
        ("protection=none", "failed", 1),
        ("protection=weak", "damaged", 1),
    ]
    assert found.run.runs == 13
    (place / "tiny_scenario.py").write_text(TINY.read_text() + "# changed\n")
    with pytest.raises(UsageError, match="TB-COMPARE-001"):
        compared([place / "out"])
    accepted = compared([place / "out"], accept_stale=True).comparison
    assert accepted.run.runs == 13


def test_cells_of_changed_code_are_named_with_the_module(place: Path) -> None:
    (place / "tiny_scenario.py").write_text(TINY.read_text() + "# changed\n")
    tb.sweep("tiny_scenario.py", {"protection": ["none", "strong"]}, replicates=5, out="out", workers=1)
    found = compared([place / "out"]).comparison
    assert [(one.setting, one.why, one.runs) for one in found.left_out] == [("protection=weak", "other_code", 5)]
    assert found.left_out[0].detail == "Changed: tiny_scenario.py."


def test_single_runs_are_compared_by_their_parameters(place: Path) -> None:
    for protection in LEVELS:
        tb.run("tiny_scenario.py", {"protection": protection}, seed=1).write(place / protection)
    found = tb.compare(*(place / p for p in LEVELS), policy=str(place / "policy.yaml"))
    assert [s.name for s in found.comparison.settings] == [f"protection={p}" for p in ("none", "strong", "weak")]
    assert found.comparison.differences[0].adjusted_p is not None
    found.write(place / "compared")
    found.write(place / "compared")  # an earlier comparison is replaced
    with pytest.raises(UsageError, match="TB-COMPARE-002"):
        found.write(place / "none")


def test_a_comparison_of_the_same_cells_is_the_same(place: Path) -> None:
    compared([place / "out"]).write(place / "out")
    first = told(place / "out")
    compared([place / "out"]).write(place / "out")
    assert told(place / "out") == first


@pytest.mark.slow
def test_a_sweep_killed_three_times_gives_the_same_comparison_as_an_unbroken_one(place: Path) -> None:
    command = [sys.executable, "-m", "testbed", "sweep", "tiny_scenario.py", "--grid", "protection=none,weak,strong"]
    command += ["-s", "pause=0.3", "--replicates", "5", "--workers", "2", "--policy", "policy.yaml", "--out"]
    assert subprocess.run([*command, "whole"], check=False, capture_output=True).returncode == 0
    for kill in range(3):
        running = subprocess.Popen([*command, "broken"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        waited(lambda kill=kill: len(folders.cells(place / "broken")) > 4 * kill)
        time.sleep(0.1 * kill)
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert 9 <= len(folders.cells(place / "broken")) < 15
    assert subprocess.run([*command, "broken"], check=False, capture_output=True).returncode == 0
    assert told(place / "broken") == told(place / "whole")
    assert (place / "broken/share/comparison.csv").read_bytes() == (place / "whole/share/comparison.csv").read_bytes()


@pytest.mark.slow
def test_ray_gives_the_same_comparison_as_local_processes(place: Path) -> None:
    from ray.cluster_utils import Cluster

    compared([place / "out"]).write(place / "out")
    with executor.swept():
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        with executor.swept():
            cluster.add_node(num_cpus=1)
        command = [
            sys.executable,
            "-m",
            "testbed",
            "sweep",
            "tiny_scenario.py",
            "--grid",
            "protection=none,weak,strong",
        ]
        command += ["--replicates", "5", "--ray", cluster.address, "--out", "ray"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        with executor.swept():
            cluster.shutdown()
    assert told(place / "ray") == told(place / "out")


def test_a_comparison_that_was_altered_is_noticed_and_an_unaltered_one_is_passed_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / "out"
    tb.compare(out, policy=str(place / "policy.yaml")).write(out)
    assert invoke(monkeypatch, "verify", str(out)) == 0
    assert invoke(monkeypatch, "verify", str(out / "share" / "comparison.json")) == 0
    assert invoke(monkeypatch, "bundle", str(out), "--out", "share.zip") == 0
    assert invoke(monkeypatch, "verify", "share.zip") == 0
    file = out / "share" / "comparison.json"
    whole = json.loads(file.read_text())
    for path in _leaves(whole):
        changed = json.loads(file.read_text())
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        old = holder[path[-1]]
        holder[path[-1]] = (not old) if isinstance(old, bool) else old + 1 if isinstance(old, int | float) else "x"
        assert altered(changed), path
    whole["settings"][0]["runs"] += 1
    file.write_text(json.dumps(whole, indent=2))
    capsys.readouterr()
    assert invoke(monkeypatch, "verify", str(out)) == 4
    assert "comparison.json was altered: the settings" in capsys.readouterr().out
    assert invoke(monkeypatch, "bundle", str(out), "--out", "share.zip") == 4
    assert [e.state for e in listing.entries(place) if e.path == "out"] == ["altered"]
    del whole["proof"]
    assert altered(whole) == (REMOVED,)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values that are no object and no list, but for the schema's name."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*path, key))
    elif path != ("schema",):
        yield path
