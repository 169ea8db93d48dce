"""A user's own attack, defence, scenario and model work from the user's folder; no file of the testbed is touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.attacks import registry
from testbed.cli import main
from testbed.core.errors import UsageError
from testbed.defences import registry as defences
from testbed.harness import scenario as scenarios
from testbed.harness.run import run

ROOT = Path(__file__).parents[2]
ATTACK = '''
from testbed.attacks.inversion.analytic_linear import analytic_linear
from testbed.attacks.model.predictions import asked, true_class
from testbed.attacks.registry import attack
from testbed.core import Reconstruction, Scores

SOURCE = "https://example.org/mine"

@attack(
    subject="transcript", rule="TB-RECONSTRUCTION-790", risk="reconstruction", claim=Reconstruction,
    needs={"architecture"}, position="server", reference=SOURCE,
)
def read_by_hand(view, question, auxiliary, rng, *, gain: float = 1.0) -> Reconstruction:
    """Read what the first layer shows.

    Threat model: a server that follows the protocol.
    """
    return analytic_linear.read(view, question, auxiliary, rng)

@attack(
    subject="model", rule="TB-MEMBERSHIP-390", risk="membership", claim=Scores, needs={"target_records"},
    position="recipient", access="score", reference=SOURCE,
)
def surprise(view, question, auxiliary, rng) -> Scores:
    """Score a record by the probability of its class.

    Threat model: whoever may ask the model.
    """
    people, probabilities = asked(view, question)
    return Scores(true_class(people, probabilities))
'''
DEFENCE = '''
import numpy as np
from testbed.defences.registry import defence
from testbed.defences.updates import on_update

@defence()
def signs(*, seed: int):
    """Send signs alone."""
    return on_update(lambda update, rng: {k: np.sign(v) for k, v in update.items()}, seed, "signs")
'''
SCENARIO = '''
from testbed.harness.scenario import scenario
from scenarios.curious_server import curious_server

@scenario(question="And with three clients?")
def three(rounds: int = 2, seed: int = 0):
    """As the curious server, with three clients."""
    return curious_server.make(data="digits", clients=3, rounds=rounds, seed=seed)
'''
MODEL = """
import torch

def network():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)

def answers(x):
    return [[0.2 + 0.6 * (row[0] > 0), 0.8 - 0.6 * (row[0] > 0)] for row in x]
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "my_attacks.py").write_text(ATTACK)
    (folder / "my_defence.py").write_text(DEFENCE)
    (folder / "my_scenario.py").write_text(SCENARIO)
    (folder / "my_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return folder


def invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["testbed", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def result(folder: Path) -> dict[str, object]:
    return json.loads((folder / "share" / "result.json").read_text())


def test_a_folder_of_own_code_is_listed_and_found_like_the_packages_own(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TESTBED_CODE", str(mine))
    assert invoke(monkeypatch, "list", "--json") == 0
    listed = {(e["kind"], e["name"]) for e in json.loads(capsys.readouterr().out)}
    assert {("attack", "surprise"), ("attack", "read_by_hand"), ("defence", "signs"), ("scenario", "three")} <= listed
    assert "surprise" not in registry.REGISTRY.known  # a listing runs nobody's code
    assert invoke(monkeypatch, "describe", "surprise") == 0
    assert "whoever may ask the model" in capsys.readouterr().out
    assert "surprise" in {a.name for a in registry.attacks()}
    assert registry.find("read_by_hand").defaults == {"gain": 1.0}
    assert "signs" in {d.name for d in defences.defences()}
    assert scenarios.find("three").parse(["rounds=3"]) == {"rounds": 3}


def test_the_folder_is_named_by_an_option_as_well(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TESTBED_CODE", "")  # and taken back afterwards
    packaged = Path(registry.__file__).parent
    given = ["--code", str(mine), "--code", str(packaged), "list", "attacks", "--risk", "membership"]
    assert invoke(monkeypatch, *given) == 0
    told = capsys.readouterr().out
    assert "surprise" in told
    assert "read_by_hand" not in told


@pytest.mark.parametrize("name", ["mine/my_scenario.py", "mine/my_scenario.py:three", "mine.my_scenario:three"])
def test_a_scenario_runs_by_its_path_or_module(name: str, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke(monkeypatch, "run", name, "-s", "rounds=2", "--out", "out") == 0
    told = result(Path("out"))
    assert told["run"]["scenario"] == "three"
    assert told["run"]["params"] == {"rounds": 2}


def test_an_attack_and_a_defence_run_by_their_paths_in_a_scenario_that_takes_one(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["run", "curious_server", "-s", "data=heart", "-s", "rounds=10"]
    given += ["-s", "attack=mine/my_attacks.py:read_by_hand"]
    assert invoke(monkeypatch, *given, "--out", "plain") == 0
    assert invoke(monkeypatch, *given, "-s", "defence=mine/my_defence.py", "--out", "signed") == 0
    measured = {}
    for out in ("plain", "signed"):
        found = next(f for f in result(Path(out))["findings"] if f["primary"])
        assert found["attack"]["name"] == "read_by_hand"
        measured[out] = found["measure"]["value"]
    assert measured["plain"] == 1.0
    assert measured["signed"] < 1.0
    assert result(Path("signed"))["defences"][0]["name"] == "signs"
    # A report names no folder of the user's.
    params = result(Path("signed"))["run"]["params"]
    assert (params["attack"], params["defence"]) == ("my_attacks.py:read_by_hand", "my_defence.py")
    for file in Path("signed/share").iterdir():
        assert "mine/" not in file.read_text()


def test_an_attack_that_makes_another_claim_than_the_scenario_judges_is_refused(mine: Path) -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-023: The attack surprise does not fit"):
        run(scenarios.find("curious_server"), {"attack": "mine/my_attacks.py:surprise"})


def test_an_own_attack_reads_a_recorded_transcript(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke(monkeypatch, "run", "curious_server", "-s", "data=heart", "-s", "rounds=2", "--out", "recorded") == 0
    transcript = Path("recorded/evidence/true.transcript")
    truth = Path("recorded/evidence/truth.npz")
    given = ["replay", str(transcript), "--attack", "mine/my_attacks.py:read_by_hand", "-s", "gain=2"]
    assert invoke(monkeypatch, *given, "--truth", str(truth), "--out", "replayed") == 0
    assert result(Path("replayed"))["run"]["params"] == {"attack": "read_by_hand", "gain": 2.0}


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["a", "b", "c"])
    return frame.assign(label=(frame["a"] > 0).astype(int))


def test_a_model_and_an_api_are_audited_by_the_path_of_their_code(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("members", 1), ("controls", 2)):
        people(60, seed).to_csv(f"{name}.csv", index=False)
    tables = ["--members", "members.csv", "--controls", "controls.csv", "--data-class", "synthetic"]
    for way, name in (("--factory", "network"), ("--api", "answers")):
        out = name
        assert invoke(monkeypatch, "audit-model", way, f"mine/my_model.py:{name}", *tables, "--out", out) in (0, 1, 3)
        assert result(Path(out))["findings"]


def test_audit_model_runs_an_own_attack_that_lies_in_a_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CODE", str(mine))
    for name, seed in (("members", 1), ("controls", 2)):
        people(60, seed).to_csv(f"{name}.csv", index=False)
    given = ["--members", "members.csv", "--controls", "controls.csv", "--data-class", "synthetic", "--out", "out"]
    assert invoke(monkeypatch, "audit-model", "--api", "mine/my_model.py:answers", *given) in (0, 1, 3)
    own = [f for f in result(Path("out"))["findings"] if f["attack"]["name"] == "surprise"]
    assert own[0]["rule"] == "TB-MEMBERSHIP-390"
    assert not any(f["primary"] for f in own)  # it informs: nobody declared that it decides


def test_an_own_attack_on_a_model_runs_alone_by_its_path(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("members", 1), ("controls", 2)):
        people(60, seed).to_csv(f"{name}.csv", index=False)
    given = ["--members", "members.csv", "--controls", "controls.csv", "--data-class", "synthetic", "--out", "out"]
    given += ["--attack", "mine/my_attacks.py:surprise"]
    assert invoke(monkeypatch, "audit-model", "--api", "mine/my_model.py:answers", *given) == 3
    told = result(Path("out"))
    assert {f["attack"]["name"] for f in told["findings"]} == {"surprise"}
    assert told["run"]["params"]["attack"] == "surprise"  # the name, and nobody's folder
    assert told["decision"]["verdict"] == "review"


@pytest.mark.parametrize(
    ("name", "suite", "checks"),
    [("surprise", "tests/test_conformance.py", 8), ("signs", "tests/test_defences.py", 6)],
)
def test_the_conformance_suites_run_own_code_that_lies_in_a_folder(
    name: str, suite: str, checks: int, mine: Path
) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-k", name, "-p", "no:cacheprovider", suite]
    environment = {**os.environ, "TESTBED_CODE": str(mine)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= checks


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine/none.py", "TB-SCENARIO-022: There is no file 'mine/none.py'"),
        ("mine/my_scenario.py:four", "There is no scenario 'mine/my_scenario.py:four'"),
        ("mine/my_model.py", "my_model.py does not define one scenario alone. It defines none"),
        ("mine/broken.py", "'mine/broken.py' cannot be imported. Its import stopped with ZeroDivisionError in line 2"),
    ],
)
def test_own_code_that_cannot_be_used_is_told_by_its_place(name: str, said: str, mine: Path) -> None:
    (mine / "broken.py").write_text("x = 'Zanzibarwort'\ny = 1 / 0\n")
    with pytest.raises(UsageError) as told:
        scenarios.find(name)
    assert said in str(told.value)
    assert "Zanzibarwort" not in str(told.value)


def test_what_a_registry_has_against_own_code_is_told_in_its_words(mine: Path) -> None:
    registry.find("mine/my_attacks.py:surprise")
    (mine / "again.py").write_text(ATTACK.replace("def surprise", "def other"))
    with pytest.raises(UsageError, match="there are two attacks called read_by_hand"):
        registry.find("mine/again.py:other")


def test_a_file_named_like_a_library_is_still_loaded(mine: Path) -> None:
    (mine / "json.py").write_text(SCENARIO.replace("def three", "def named_like_a_library"))
    assert scenarios.find("mine/json.py").name == "named_like_a_library"


def test_a_file_of_the_package_is_not_loaded_a_second_time_by_its_path() -> None:
    path = Path(registry.__file__).parent / "membership" / "loss_threshold.py"
    assert registry.find(f"{path}:loss_threshold") is registry.find("loss_threshold")


def test_own_code_that_breaks_while_it_runs_is_told_as_such_and_its_values_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = "from testbed.harness.scenario import scenario\n\n\n@scenario(question='Does it break?')\n"
    scenario += "def breaks(seed: int = 0):\n    raise ZeroDivisionError('Zanzibarwort')\n"
    (tmp_path / "breaks.py").write_text(scenario)
    monkeypatch.setattr("sys.argv", ["testbed", "run", str(tmp_path / "breaks.py"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().err
    assert left.value.code == 6
    assert "TB-CODE-010" in said
    assert "line 6 of breaks.py" in said
    assert "Zanzibarwort" not in said
