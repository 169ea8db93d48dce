"""A whole exercise in containers, with Podman: what red reaches, and the score as computed by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.range import exercise as exercises
from tests.range.rehearsal import HOSPITALS

ROOT = Path(__file__).parents[2]
REHEARSE = ROOT / "docker" / "rehearse.sh"
NEEDED = ("podman", "debootstrap", "crun", "podman-compose")
BUILT = "TESTBED_REHEARSAL_BUILT"
"""The environment variable that says that the four images are built already."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What happened in the exercise."""
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"a range in containers needs root and {', '.join(missing or NEEDED)}; it was not tried here")
    if not os.environ.get(BUILT):
        built = subprocess.run([str(REHEARSE), "build-range"], capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr[-2000:]
    folder = tmp_path_factory.mktemp("rehearsal")
    line = [str(REHEARSE), "inside", sys.executable, "-m", "tests.range.rehearsal", str(folder)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads((folder / "told.json").read_text("utf-8"))


@pytest.mark.slow
def test_all_containers_are_healthy_and_nothing_is_left(told: Any) -> None:
    services = {"blue", "board", "link", "range", "red", "scorer", *(f"hospital-{h}" for h in HOSPITALS)}
    assert told["healthy"] == dict.fromkeys(services, True)
    assert told["left"] == []


@pytest.mark.slow
def test_red_reaches_the_scorer_alone_reads_no_truth_and_writes_to_its_own_desk(told: Any) -> None:
    red = told["red"]
    assert red["hosts"] >= 20
    assert red["reached"] == [["scorer", 8443]]
    assert not any(red["reads"].values()), red["reads"]
    assert red["writes"] == ["/tmp", "/range/game/red-1"]
    assert red["root"] == [10001, 0, 0, 1]  # the user, no capabilities now or later, and no new privileges


@pytest.mark.slow
def test_the_score_is_the_one_computed_by_hand(told: Any) -> None:
    points = exercises.load("gradient-heist").points
    (team,) = told["score"]["teams"]
    assert told["pictures"] == ["yes", "yes", "yes"]
    assert told["flags"] == ["no", "yes"]
    assert told["alarms"] == ["no", "yes"]
    assert told["score"] == told["rescored"]
    assert len(told["injects"]) == 6
    # Red: three pictures, a flag, a wrong flag, and the names.
    names = points.membership if told["membership"] == ["yes"] else points.wrong_claim
    assert team["red"]["points"] == 3 * 10 + 50 - 3 + names
    # Blue: rounds above the floor; patients of rounds 1, 2 and 5, of whom three were lost; a false alarm, a detection.
    assert "round played: the coordinator changes the model, utility" in told["injects"][2]
    assert ", 0 answered" in told["injects"][2]  # all three hospitals refuse
    assert told["injects"][4] == "team 1: forest takes no part from the next round on"
    assert told["injects"][5].endswith("2 answered")
    above = {e["round"] for e in team["ledger"] if "finished above the floor" in e["reason"]}
    assert above <= {1, 2, 4, 5}
    patients = {1: 3, 2: 3 * 8, 4: 0, 5: 2}
    entrusted = sum(patients[r] for r in above)
    assert team["blue"]["points"] == 5 * len(above) + entrusted - 3 * (10 + (1 in above)) - 5 + 20
    assert team["blue"]["patients_lost"] == 3


@pytest.mark.slow
def test_a_hospital_that_is_killed_interrupts_the_round_which_is_played_again(told: Any) -> None:
    code, said = told["fault"]
    assert code != 0
    assert "TB-DEPLOY-013" in said or "TB-RUN-022" in said or "TB-DEPLOY-012" in said
    assert "Round 2 of team 1 does not count" in " ".join(said.split())
    assert told["injects"][1].startswith("team 1, round played: eight patients a hospital")
    assert told["score"]["teams"][0]["blue"]["rounds"] == 5
