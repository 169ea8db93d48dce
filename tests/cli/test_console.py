"""The frame of every command: how it ends when somebody ends it, what it says, and what its help shows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import click
import pytest
import typer

from testbed.cli import app, catalogue, console, terminal
from testbed.findings import policy, terms
from testbed.harness.scenario import Scenario
from tests.cli.test_cli import invoke

ENGINES = next(f.default for f in fields(Scenario) if f.name == "engines")

COMMAND = """
import os, signal, time, typer
from testbed.cli import console
app = typer.Typer()
@app.command()
def work():
    {work}
console.run(app)
"""


def ended(work: str) -> subprocess.CompletedProcess[str]:
    script = COMMAND.replace("{work}", work)
    script = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{script}"  # as in a terminal
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)


def test_a_batch_systems_kill_ends_a_command_with_the_hint_to_resume() -> None:
    for name in ("SIGTERM", "SIGINT"):
        done = ended(f"os.kill(os.getpid(), signal.{name}); time.sleep(50)")
        assert done.returncode == 130
        assert "interrupted; " in done.stderr
        assert "Traceback" not in done.stderr


def test_a_process_that_a_command_started_ends_by_the_signal_and_says_nothing() -> None:
    work = "child = os.fork() or time.sleep(50); os.kill(child, 15); print(os.waitstatus_to_exitcode(os.wait()[1]))"
    done = ended(f"time.sleep(0); {work}")
    assert done.stdout == "-15\n"
    assert done.stderr == ""


def test_every_command_is_quiet_if_it_is_asked_to_be_and_the_next_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, "runs", str(tmp_path), "--quiet") == 0
    terminal.progress("warning: the control is small")
    assert capsys.readouterr().err == "warning: the control is small\n"
    assert invoke(monkeypatch, "runs", str(tmp_path)) == 0
    assert "no result" in capsys.readouterr().err
    assert invoke(monkeypatch, "runs", str(tmp_path / "none"), "--quiet") == 2
    assert "TB-RUNS-001" in capsys.readouterr().err  # errors are said
    for name, command in leaves(console.explained(typer.main.get_command(app))):
        assert "--quiet" in {o for p in command.params for o in p.opts}, name


def leaves(command: click.Command, name: str = "testbed") -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [pair for n, c in command.commands.items() for pair in leaves(c, f"{name} {n}")]


def test_the_help_shows_choices_as_choices_and_defaults_that_are_true() -> None:
    shown = {
        (name.removeprefix("testbed "), p.name): (p.metavar, getattr(p, "show_default", None))
        for name, command in leaves(typer.main.get_command(app))
        for p in command.params
    }
    classes = f"[{'|'.join(get_args(terms.DataClass))}]"
    assert shown["evaluate", "data_class"][0] == shown["audit-model", "data_class"][0] == classes
    assert shown["run", "engine"][0] == shown["sweep", "engine"][0] == f"[{'|'.join(ENGINES)}]"
    for command in ("evaluate", "audit-model", "check"):
        assert shown[command, "policy"][1] == policy.BUILT_IN
    for command in ("run", "replay", "sweep", "compare"):
        assert "no verdict" in str(shown[command, "policy"][1])
    assert shown["list", "kind"][0] == f"[{'|'.join(catalogue.KINDS)}]"
