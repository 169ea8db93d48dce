"""The frame of every command: how it ends when somebody ends it."""

from __future__ import annotations

import subprocess
import sys

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
        assert "--resume" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_process_that_a_command_started_ends_by_the_signal_and_says_nothing() -> None:
    work = "child = os.fork() or time.sleep(50); os.kill(child, 15); print(os.waitstatus_to_exitcode(os.wait()[1]))"
    done = ended(f"time.sleep(0); {work}")
    assert done.stdout == "-15\n"
    assert done.stderr == ""
