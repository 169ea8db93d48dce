"""Text of users is shown as it is written, and obeyed by no terminal and no report; a closed pipe is no verdict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from functools import cache
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
import typer
import yaml

from testbed.cli import app, console, demo, terminal
from testbed.core.errors import UsageError
from testbed.core.shown import shown
from testbed.findings.proof import sealed
from testbed.findings.schema import Result
from testbed.report import html, store
from tests.cli.test_cli import invoke
from tests.report import examples
from tests.started import Done, forked

HOSTILE = {
    "HR [/min]": "HR [/min]",
    "age [years]": "age [years]",
    "[/x]": "[/x]",
    "[bold green]PASS[/]": "[bold green]PASS[/]",
    "[link=http://e.example]x[/link]": "[link=http://e.example]x[/link]",
    "\\[red]": "\\[red]",
    ":pile_of_poo:": ":pile_of_poo:",
    "\x1b[2J": "\\x1b[2J",
    "a\x1b]0;title\x07ge": "a\\x1b]0;title\\x07ge",
    "\x9b2J": "\\x9b2J",
    "a\nPASS": "a\\x0aPASS",
    "a\rPASS": "a\\x0dPASS",
    "\u202egnp.exe": "\\u202egnp.exe",
    "a\u2066b\u2069": "a\\u2066b\\u2069",
    "ssn\u200bx": "ssn\\u200bx",
    "\udc80": "\\udc80",
    "\U000e0041": "\\U000e0041",
    "naïve Größe 年齢 می\u200cخواهم": "naïve Größe 年齢 می\u200cخواهم",
}
"""Names as a user may give them, and how they are shown."""
NAMES = [name for name in HOSTILE if name != "\udc80"]  # which no file can hold


def obeyed(text: str) -> list[str]:
    """The characters by which a text steers what shows it."""
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\u200c"]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_steers_is_shown_as_its_escape_and_all_else_as_it_is(name: str) -> None:
    assert shown(name) == HOSTILE[name]


def renamed(value: object, name: str) -> object:
    """A result's JSON in which every text that a user may have chosen is another."""
    if isinstance(value, list):
        return [renamed(v, name) for v in value]
    if not isinstance(value, dict):
        return value
    texts, ours = {"name", "target", "plain", "text", "id", "licence", "needs"}, {"tool", "taxonomy", "attack"}
    return {
        k: v if k in ours else name if k in texts and isinstance(v, str) else renamed(v, name) for k, v in value.items()
    }


@cache
def hostile(name: str) -> Result:
    return sealed(Result.model_validate(renamed(examples.federation().dump(), name)))


@pytest.mark.parametrize("name", NAMES)
def test_every_text_of_a_result_is_shown_literally_and_the_exit_code_is_the_verdicts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    file.write_text(store.to_json(hostile(name)), encoding="utf-8")
    policy = tmp_path / "p.yaml"
    policy.write_text(yaml.safe_dump({"id": name, "limits": {"reconstruction": 1.0, "membership": 1.0}}))
    code = invoke(monkeypatch, "check", str(file), "--policy", str(policy))
    printed = capsys.readouterr()
    assert code in (0, 1, 3)
    assert printed.out.split()[0] in {0: ("PASS",), 1: ("FAIL",), 3: ("REVIEW",)}[code]
    assert HOSTILE[name] in printed.out
    assert f"({HOSTILE[name]})" in printed.out.splitlines()[0]  # the policy's
    assert not obeyed(printed.out + printed.err)


@pytest.mark.parametrize("name", NAMES)
def test_a_report_shows_names_literally_and_obeys_none(name: str) -> None:
    text = html.render(hostile(name))
    assert not obeyed(text)
    assert HOSTILE[name] in text


def test_a_table_with_such_columns_ends_in_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ["HR [/min]", "age [years]", "a\x1b]0;title\x07ge", "\u202egnp"]
    for number, role in enumerate(("original", "control", "synthetic")):
        rng = np.random.default_rng(number)
        table = pd.DataFrame({c: rng.integers(18, 90, 120) for c in columns})
        table.assign(**{"[/x]": rng.choice(["I10", "E11"], 120)}).to_csv(tmp_path / f"{role}.csv", index=False)
    (tmp_path / "p.yaml").write_text(
        yaml.safe_dump({"id": "[link=x]\x1b[2J", "limits": {"attribute_inference": 0.5, "membership": 0.5}})
    )
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"name": "[/subject]", "licence": "[/licence]"}))
    files = [text for r in ("original", "control", "synthetic") for text in (f"--{r}", str(tmp_path / f"{r}.csv"))]
    more = ["--attacks", "40", "--policy", str(tmp_path / "p.yaml"), "--meta", str(tmp_path / "m.yaml")]
    code = invoke(monkeypatch, "evaluate", *files, *more, "--out", str(tmp_path / "[out]"))
    printed = capsys.readouterr()
    verdict = json.loads((tmp_path / "[out]/share/result.json").read_text())["decision"]["verdict"]
    assert code == {"pass": 0, "fail": 1, "review": 3}[verdict]
    assert printed.out.splitlines()[0] == f"{verdict.upper()}  [/subject]  ([link=x]\\x1b[2J)"
    assert "[out]/share/report.html" in printed.out.splitlines()[-2]
    assert not obeyed(printed.out + printed.err)
    assert invoke(monkeypatch, "report", str(tmp_path / "[out]")) == 0
    assert "[out]/share/report.html" in capsys.readouterr().out


def test_a_model_with_such_a_name_ends_in_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    p = rng.random(400).round(3)
    arms = np.repeat(["member", "control"], 200)
    frame = pd.DataFrame({"id": range(400), "arm": arms, "label": rng.integers(0, 2, 400), "p_0": p, "p_1": 1 - p})
    frame.to_csv(tmp_path / "p.csv", index=False)
    given = ["--predictions", str(tmp_path / "p.csv"), "--name", "[/x]\x1b[2J", "--out", str(tmp_path / "out")]
    code = invoke(monkeypatch, "audit-model", *given)
    assert code in (0, 1, 3)
    printed = capsys.readouterr()
    assert "[/x]\\x1b[2J" in printed.out.splitlines()[0]
    assert not obeyed(printed.out + printed.err)


@pytest.mark.parametrize("name", ["[/x]", "HR [/min]", "\x1b[2J", "\u202ex", "a\x07"])
@pytest.mark.parametrize(
    "command",
    [
        ["run", "{}"],
        ["run", "curious_server", "-s", "{}=1"],
        ["run", "curious_server", "-s", "clients={}"],
        ["run", "curious_server", "-s", "defence={}"],
        ["run", "curious_server", "--policy", "{}"],
        ["describe", "{}"],
        ["list", "{}"],
        ["policy", "show", "{}"],
        ["data", "fetch", "{}"],
        ["report", "{}"],
        ["evaluate", "--original", "{}", "--synthetic", "x.csv"],
        ["evaluate", "--seed", "{}"],
        ["split", "--original", "{}", "--out", "x"],
        ["{}"],
        ["run", "--{}"],
    ],
)
def test_an_error_shows_what_was_typed_literally(
    command: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *(part.format(name) for part in command)) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("TB-")
    assert not obeyed(printed)


def test_paths_and_progress_are_shown_literally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"x": range(40)}).to_csv(tmp_path / "all.csv", index=False)
    out = tmp_path / "[/x]\x1b[2J"
    assert invoke(monkeypatch, "split", "--original", str(tmp_path / "all.csv"), "--out", str(out)) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"{tmp_path}/[/x]\\x1b[2J/{part}.csv" for part in ("original", "control")]
    terminal.progress("attribute inference [/x]\x1b[2J")
    assert capsys.readouterr().err == "attribute inference [/x]\\x1b[2J\n"


CLOSED = {
    "reader leaves": "{} | true",
    "both leave": "{} 2>&1 | true",
    "disk full": "{} > /dev/full",
    "closed": "{} >&- 2>&-",
    "few letters": "{} > /dev/null",
}


@pytest.mark.parametrize("how", CLOSED)
def test_the_exit_code_is_the_verdicts_whoever_reads(how: str, tmp_path: Path) -> None:
    file, policy = tmp_path / "result.json", tmp_path / "p.yaml"
    file.write_text(store.to_json(hostile(NAMES[-1])), encoding="utf-8")
    policy.write_text(yaml.safe_dump({"id": NAMES[-1], "limits": {"reconstruction": 1.0}}))
    letters = "export PYTHONIOENCODING=ascii;" if how == "few letters" else ""
    codes: list[int] = []
    for options in (f"check {file} --policy {policy}", "data list"):
        command = f"( {letters} sleep 0.1; exec {sys.executable} -m testbed {options} )"
        command = CLOSED[how].format(command) + "; exit ${PIPESTATUS[0]}"
        codes.append(subprocess.run(["bash", "-c", command], check=False, capture_output=True).returncode)
    assert codes == [3, 0]  # above a limit of 1 lies nothing, and some of it could not be measured


def test_whoever_is_called_and_exits_makes_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in (0, 1, 3):
        app = typer.Typer()
        app.command()(lambda code=code: sys.exit(code))
        monkeypatch.setattr("sys.argv", ["testbed"])
        with pytest.raises(SystemExit) as left:
            console.run(app)
        assert left.value.code == 6
        assert "TB-RUN-008" in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("testbed.report.store.load", interrupted)
    assert invoke(monkeypatch, "check", "x") == 130
    assert "give the same command again" in capsys.readouterr().err


def test_every_option_that_a_hint_names_is_one_of_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {" ".join(path): command for path, command in named(typer.main.get_command(app)) if len(path) == 1}
    for name, command in known.items():
        monkeypatch.setattr("sys.argv", ["testbed", "--quiet", name, "--out", "x"])
        options = {o for p in command.params for o in p.opts}
        assert set(re.findall(r"--[a-z-]+", console.interrupted())) <= options
    assert {"--resume", "--out"} <= set(console.GO_ON["run"].replace(",", "").split())


def named(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    return [found for name, part in command.commands.items() for found in named(part, (*path, name))]


def commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    return [p for name, part in command.commands.items() for p in commands(part, (*path, name))]


COMMANDS = commands(typer.main.get_command(app))


@cache
def helped() -> dict[tuple[str, ...], Done]:
    environment = {"COLUMNS": "400", "TERMINAL_WIDTH": "400", "PATH": "/usr/bin:/bin"}
    return dict(zip(COMMANDS, forked([[*path, "--help"] for path in COMMANDS], environment=environment), strict=True))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_parameters_help_is_shown(path: tuple[str, ...]) -> None:
    found = typer.main.get_command(app)
    for name in path:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    told = {p.name: getattr(p, "help", None) for p in console.explained(found).params}
    done = helped()[path]
    assert done.code == 0
    for name, text in told.items():
        assert text, name
        assert text in done.out
    for parameter in found.params:
        if isinstance(default := getattr(parameter, "show_default", None), str):
            assert default in done.out


def test_a_misspelt_command_is_answered_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, "evalute") == 2
    assert capsys.readouterr().err.count("Did you mean") == 1


def test_the_demonstration_and_errors_hold_users_text_as_it_is() -> None:
    assert demo.shown is shown
    assert UsageError("TB-X-001", "[/x]\x1b", "", "").what == "[/x]\x1b"  # it is made visible where it is told
