"""A project's settings: who wins, what is refused, and that a report says what was used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from testbed.cli import project
from testbed.core.errors import UsageError
from tests.cli.test_cli import files, invoke
from tests.conftest import ROOT

__all__ = ["files"]

WHOLE = """
policy = "ours.yaml"
runs = "results"
[tables]
original = "o.csv"
control = "c.csv"
synthetic = "s.csv"
[roles]
person = "patient"
secrets = ["diagnosis", "income"]
link = "age:sex"
"""


def written(folder: Path, text: str) -> Path:
    (folder / project.FILE).write_text(text, "utf-8")
    return folder


def test_the_file_gives_tables_roles_policy_and_the_folder_of_runs(tmp_path: Path) -> None:
    found = project.read({}, written(tmp_path, WHOLE))
    assert found.runs == tmp_path / "results"
    assert found.values["original"] == tmp_path / "o.csv"
    assert found.values["policy"] == str(tmp_path / "ours.yaml")
    assert found.values["secrets"] == ["diagnosis", "income"]
    assert found.values["link"] == ["age:sex"]
    assert set(found.told().values()) == {"testbed.toml"}
    assert project.read({}, tmp_path / "none") == project.Project()


def test_the_environment_wins_over_the_file_and_names_another_one(tmp_path: Path) -> None:
    written(tmp_path, WHOLE)
    given = {"TESTBED_POLICY": "example-contract", "TESTBED_SECRETS": "age group,sex", "TESTBED_RUNS": ""}
    found = project.read(given, tmp_path)
    assert found.values["policy"] == "example-contract"
    assert found.values["secrets"] == ["age group,sex"]
    assert found.told()["policy"] == "TESTBED_POLICY"
    assert found.told()["runs"] == "testbed.toml"  # an empty variable says nothing
    (tmp_path / "other.toml").write_text('policy = "example-contract"')
    assert project.read({"TESTBED_PROJECT": str(tmp_path / "other.toml")}, tmp_path).told() == {"policy": "other.toml"}


@pytest.mark.parametrize(
    ("text", "id", "said"),
    [
        ('polcy = "x"', "TB-PROJECT-003", "Perhaps: policy"),
        ('[table]\noriginal = "o.csv"', "TB-PROJECT-003", "Perhaps: tables"),
        ('[tables]\norignal = "o.csv"', "TB-PROJECT-003", "Perhaps: original"),
        ('[roles]\npersons = "id"', "TB-PROJECT-003", "Perhaps: person"),
        ('original = "o.csv"', "TB-PROJECT-003", "in the section [tables]"),
        ('[tables]\npolicy = "x"', "TB-PROJECT-003", "at the top"),
        ("policy = 3", "TB-PROJECT-004", "must be a text"),
        ('runs = ""', "TB-PROJECT-004", "must be a text"),
        ("[roles]\nsecrets = [1]", "TB-PROJECT-004", "list of texts"),
        ("tables = 1", "TB-PROJECT-003", "unknown setting: tables"),
        ("policy = ", "TB-PROJECT-002", "TOML says"),
    ],
)
def test_what_is_not_known_is_refused_with_the_nearest_known_one(tmp_path: Path, text: str, id: str, said: str) -> None:
    with pytest.raises(UsageError, match=id) as told:
        project.read({}, written(tmp_path, text))
    assert said in str(told.value)


def test_a_misspelt_variable_is_refused_and_those_of_other_rooms_are_not(tmp_path: Path) -> None:
    for wrong, right in (("TESTBED_POLCY", "POLICY"), ("TESTBED_ORIGNAL", "ORIGINAL"), ("TESTBED_PROJET", "PROJECT")):
        with pytest.raises(UsageError, match=f"TB-PROJECT-005.*TESTBED_{right}"):
            project.read({wrong: "x"}, tmp_path)
    with pytest.raises(UsageError, match="TB-PROJECT-001"):
        project.read({"TESTBED_PROJECT": "none.toml"}, tmp_path)
    sources = "".join(p.read_text("utf-8") for p in (ROOT / "testbed").rglob("*.py"))
    ours = {f"TESTBED_{name.upper()}" for name in project.SETTINGS} | {project.NAMED}
    others = set(re.findall(r"\bTESTBED_[A-Z_]+\b", sources)) - ours
    assert len(others) > 10
    project.read(dict.fromkeys(others, "x"), tmp_path)


def test_an_evaluation_without_tables_uses_the_projects_and_the_report_says_so(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = "".join(f'{role} = "{files / name}"\n' for role, name in (("original", "o.csv"), ("synthetic", "s.csv")))
    written(tmp_path, f'policy = "example-contract"\nruns = "results"\n[tables]\n{tables}control = "{files / "c.csv"}"')
    assert invoke(monkeypatch, "evaluate", "--attacks", "60") in (0, 3)
    told = capsys.readouterr()
    assert "original (testbed.toml)" in told.err
    run = next((tmp_path / "results").iterdir())
    result = json.loads((run / "share" / "result.json").read_text("utf-8"))
    assert result["decision"]["policy"]["id"].startswith("example-contract")
    command = result["proof"]["command"]
    for option in ("--original o.csv", "--synthetic s.csv", "--control c.csv", "--policy example-contract"):
        assert option in command
    assert {i["role"] for i in result["proof"]["inputs"]} == {"original", "synthetic", "control"}
    assert invoke(monkeypatch, "runs") == 0  # the project's folder
    assert run.name in capsys.readouterr().out
    assert invoke(monkeypatch, "check", str(run), "--policy", "example-open-release", "--json") in (0, 1, 3)
    assert json.loads(capsys.readouterr().out)["decision"]["policy"]["id"].startswith("example-open-release")
    # The project's control belongs to its original. Another original is judged without it.
    other = ["evaluate", "--attacks", "60", "--original", str(files / "c.csv"), "--out", str(tmp_path / "other")]
    assert invoke(monkeypatch, *other) == 3
    assert "control is not used" in capsys.readouterr().err
    result = json.loads((tmp_path / "other" / "share" / "result.json").read_text("utf-8"))
    assert {i["role"] for i in result["proof"]["inputs"]} == {"original", "synthetic"}
    assert "--control" not in result["proof"]["command"]


def test_a_broken_file_stops_only_what_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(written(tmp_path, "polcy = 1"))
    assert invoke(monkeypatch, "runs", ".") == 2
    assert "TB-PROJECT-003" in capsys.readouterr().err
    assert invoke(monkeypatch, "policy", "list") == 0
    assert invoke(monkeypatch, "runs", "--help") == 0


def test_every_command_that_reads_a_project_exists() -> None:
    import typer

    from testbed.cli.commands import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(project.USING) <= set(commands)
    for command, given in project.Project(None, dict.fromkeys(project.SETTINGS, "x")).defaults().items():
        assert set(given) <= {p.name for p in commands[command].params}, command
