"""A sweep runs what its folder does not hold, and its folder holds whole cells only."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.core.errors import RunError, UsageError
from testbed.harness.sweep import folder as folders
from testbed.harness.sweep.conduct import Options, State, sweep
from testbed.harness.sweep.grid import grid, parse
from testbed.harness.sweep.inputs import Snapshot
from testbed.report.cells import run_cell

TINY = Path(__file__).with_name("tiny.py")
ONE = Options(workers=1)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scenario and a finished sweep of it; tests work on copies."""
    place = tmp_path_factory.mktemp("swept")
    shutil.copy(TINY, place / "tiny_scenario.py")
    (place / "people.csv").write_text("a\n1\n2\n")
    ran(place)
    return place


@pytest.fixture
def place(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    places = tmp_path / "out" / folders.PLACES
    places.write_text(places.read_text().replace(str(swept), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(
    place: Path, protection: str = "none,strong", options: Options = ONE, replicates: int = 1, **given: str
) -> State:
    levels = parse([f"protection={protection}"])
    given = {"people": "50", "table": str(place / "people.csv"), **given}
    asked = grid(str(place / "tiny_scenario.py"), levels, given, replicates=replicates)
    return sweep(asked, place / "out", run_cell, options)


def contents(place: Path) -> dict[str, bytes]:
    return {str(p.relative_to(place)): p.read_bytes() for p in sorted((place / "out" / "cells").rglob("*.json"))}


def test_a_cell_says_its_inputs_and_is_a_run_of_its_own(place: Path) -> None:
    cells = folders.cells(place / "out")
    assert len(cells) == 2
    told = json.loads((cells[0].path / "cell.json").read_text())
    assert told["inputs"]["scenario"] == "tiny_scenario.py"
    assert told["inputs"]["params"]["people"] == 50
    assert set(told["inputs"]["data"]) == {"people.csv"}
    modules = folders.code(place / "out", told["inputs"]["code"])
    assert {"tiny_scenario.py", "testbed.findings.measures", "testbed.harness.run"} <= set(modules)
    assert not any(name.startswith(("testbed.cli", "testbed.report")) for name in modules)
    assert {p.name for p in (cells[0].path / "share").iterdir()} == {"result.json", "report.html"}
    assert str(place) not in (cells[0].path / "cell.json").read_text()


def test_a_finished_sweep_runs_nothing_again(place: Path) -> None:
    before = contents(place)
    assert ran(place) == State(2, 2, 0, seconds_left=0.0)
    assert contents(place) == before


def test_one_more_level_and_more_replicates_run_only_the_new_cells(place: Path) -> None:
    before = contents(place)
    assert ran(place, "none,weak,strong").ran == 1
    assert ran(place, "none", replicates=5).ran == 4
    assert before.items() <= contents(place).items()
    assert {k.inputs.seed for k in folders.cells(place / "out") if k.inputs.params["protection"] == "none"} == set(
        range(5)
    )


def test_a_failed_cell_is_a_result_with_its_error_and_is_run_again_only_when_asked(place: Path) -> None:
    failing = {"fails": "strong", "people": "51"}
    assert ran(place, **failing) == State(2, 1, 1, ran=2, seconds_left=0.0)
    failed = next(k for k in folders.cells(place / "out") if k.status == "failed")
    assert failed.error["id"] == "TB-RUN-001"
    assert ran(place, **failing).ran == 0
    assert ran(place, options=Options(workers=1, retry_failed=True), **failing).ran == 1


def test_a_cell_whose_process_is_killed_fails_and_the_others_go_on(place: Path) -> None:
    state = ran(place, "none,killed,weak", people="52")
    assert (state.done, state.failed) == (2, 1)
    assert next(k for k in folders.cells(place / "out") if k.status == "failed").error["id"] == "TB-SWEEP-010"


def test_changed_code_makes_cells_stale_and_they_are_kept(place: Path) -> None:
    before = contents(place)
    (place / "tiny_scenario.py").write_text(TINY.read_text() + "\n# another line\n")
    accepted = ran(place, options=Options(workers=1, accept_stale=True))
    assert (accepted.done, accepted.ran) == (2, 0)
    state = ran(place, "none")
    assert (state.other_code, state.ran) == (1, 1)
    assert before.items() <= contents(place).items()


def test_changed_data_make_cells_stale_whatever_is_accepted(place: Path) -> None:
    (place / "people.csv").write_text("a\n1\n2\n2\n")
    state = ran(place, "none", Options(workers=1, accept_stale=True))
    assert (state.other_data, state.ran) == (1, 1)


def test_data_that_change_while_a_sweep_runs_stop_it(place: Path) -> None:
    (place / "people.csv").write_text("a\n1\n2\n3\n")

    def seen(state: State) -> None:
        (place / "people.csv").write_text("a\n1\n2\n4\n")

    asked = grid(str(place / "tiny_scenario.py"), {"protection": ["none"]}, {"table": str(place / "people.csv")})
    before = contents(place)
    with pytest.raises(RunError, match=r"TB-SWEEP-013.*people\.csv"):
        sweep(asked, place / "out", run_cell, ONE, seen)
    assert contents(place) == before


def test_a_file_that_only_moved_is_the_same_input(place: Path) -> None:
    asked = grid(str(place / "tiny_scenario.py"), {"protection": ["none"]}, {"table": "people.csv"})
    other = grid("tiny_scenario.py", {"protection": ["none"]}, {"table": str(place / "people.csv")})
    one, two = (Snapshot().of(next(g.cells())) for g in (asked, other))
    assert one.name == two.name


def test_half_a_cell_is_no_cell(place: Path) -> None:
    cells = folders.cells(place / "out")
    (cells[0].path / "cell.json").write_text('{"schema": "testbed.cell/1", "inp')
    (place / "out" / "cells" / ".new-0123").mkdir()
    assert len(folders.cells(place / "out")) == 1
    assert ran(place).ran == 1
    assert not (place / "out" / "cells" / ".new-0123").exists()


def test_two_sweeps_do_not_share_a_folder_at_the_same_time(place: Path) -> None:
    with folders.locked(place / "out"), pytest.raises(UsageError, match="TB-SWEEP-008"):
        ran(place)


def test_a_folder_of_other_files_is_refused(place: Path) -> None:
    (place / "others").mkdir()
    (place / "others" / "thesis.txt").touch()
    asked = grid(str(place / "tiny_scenario.py"), {"protection": ["none"]})
    with pytest.raises(UsageError, match="TB-SWEEP-007"):
        sweep(asked, place / "others", run_cell, ONE)


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        (["protection"], "TB-SWEEP-001"),
        (["protection=none,"], "TB-SWEEP-001"),
        (["people=0"], "TB-SWEEP-004"),
        (["people=many"], "TB-SCENARIO-003"),
        (["peopel=3"], "TB-SCENARIO-002"),
        (["table=none"], "TB-SWEEP-002"),
    ],
)
def test_a_level_that_cannot_be_is_refused_before_anything_runs(place: Path, texts: list[str], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        grid("tiny_scenario.py", parse(texts), {"table": "people.csv"})


def test_an_attack_or_a_file_that_does_not_exist_is_refused_before_anything_runs(place: Path) -> None:
    with pytest.raises(UsageError, match="TB-ATTACK-001"):
        grid("curious_server", {"attack": ["analytic_linear", "analytic_lin"]})
    with pytest.raises(UsageError, match="TB-SWEEP-005"):
        sweep(grid("tiny_scenario.py", {}, {"table": "gone.csv"}), place / "new", run_cell, ONE)
    assert not any(folders.cells(place / "new"))


def test_a_level_may_hold_a_comma_where_semicolons_part_the_levels() -> None:
    assert parse(["defence=none;percentile:10,0.01"]) == {"defence": ["none", "percentile:10,0.01"]}
    assert parse(["defence=none", "defence=percentile:10,0.01;"]) == {"defence": ["none", "percentile:10,0.01"]}
    asked = grid("curious_server", parse(["defence=none;percentile:10,0.01+gaussian:1"]))
    modules = [Snapshot().code(cell).modules for cell in asked.cells()]
    assert set(modules[1]) - set(modules[0]) >= {"testbed.defences.percentile", "testbed.defences.gaussian"}


def test_few_replicates_are_refused() -> None:
    with pytest.raises(UsageError, match="TB-SWEEP-003"):
        grid("curious_server", {}, replicates=3)


def test_a_grid_of_a_million_cells_says_so_before_it_starts(place: Path) -> None:
    asked = grid("tiny_scenario.py", {"people": range(1, 1001), "pause": [n / 10 for n in range(1000)]})
    with pytest.raises(UsageError, match=r"TB-SWEEP-012.*1,000,000 cells.*They would take about"):
        sweep(asked, place / "out", run_cell, Options(confirmed=True))
    some = grid("tiny_scenario.py", {"people": range(1, 1001)})
    with pytest.raises(UsageError, match="--yes"):
        sweep(some, place / "out", run_cell, ONE)


def test_all_levels_have_the_same_seeds_and_a_replicate_is_whole_before_the_next(place: Path) -> None:
    cells = list(grid("tiny_scenario.py", {"protection": ["none", "weak"]}, replicates=5, seed=3).cells())
    assert [(c.params["protection"], c.seed) for c in cells[:4]] == [("none", 3), ("weak", 3), ("none", 4), ("weak", 4)]
    assert [c.seed for c in cells[1::2]] == [3, 4, 5, 6, 7]


def test_sigterm_ends_a_sweep_as_ctrl_c_does_and_it_goes_on_later(place: Path) -> None:
    command = [sys.executable, "-m", "testbed", "sweep", "tiny_scenario.py", "--grid", "protection=none,weak,strong"]
    command += ["-s", "pause=0.5", "--workers", "1", "--out", "out"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    waited(lambda: len(folders.cells(place / "out")) == 3)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "give the same command again: finished cells are kept" in said
    done = len(folders.cells(place / "out"))
    assert done < 5
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert len(folders.cells(place / "out")) == 5


def waited(true: object, seconds: float = 120.0) -> None:
    """Waits until a condition holds."""
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def test_a_killed_sweep_leaves_no_process_behind(place: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "testbed",
        "sweep",
        "tiny_scenario.py",
        "-s",
        "pause=600",
        "--workers",
        "1",
        "--out",
        "out",
    ]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    waited(lambda: children(running.pid))
    time.sleep(1)
    workers = children(running.pid)
    running.kill()
    running.wait()
    waited(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
