"""What Ray leaves to the garbage collector is closed where Ray was used, and nothing else is forgiven."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LEAVING = """
import gc, os, pytest, socket, subprocess, sys, tempfile
from testbed.core.executor import swept

class Kept:  # in a circle, as Ray's own are, so that the collector alone finds it
    def __init__(self, value):
        self.value, self.me = value, self

def leave(*values):
    for value in values:
        Kept(value)

@pytest.fixture(autouse=True)
def by_hand():
    gc.disable()
    yield
    gc.enable()
"""
CASE = """
def test_{number}_uses_ray():
    {body}

def test_{number}_next():  # the one that an unlucky moment would turn red
    gc.collect()
"""
WITHIN = "with swept(): leave({what})"
BEFORE = "leave({what})\n    with swept(): pass"
AFTER = "with swept(): pass\n    leave({what})"
SILENT = "open(os.devnull, 'w')"
SLEEPS = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(2)'])"
CASES = (
    (WITHIN, SILENT, None),
    (WITHIN, f"{SILENT}, {SILENT}, {SLEEPS}", None),
    (WITHIN, "open(os.devnull)", "uses_ray"),  # a file that is read is none of Ray's
    (WITHIN, "open('notes.txt', 'w')", "uses_ray"),
    (WITHIN, "open('null', 'w')", "uses_ray"),
    (WITHIN, "socket.socket()", "uses_ray"),
    (WITHIN, "tempfile.TemporaryDirectory()", "uses_ray"),
    (BEFORE, SILENT, "uses_ray"),  # what another left before is no part of Ray's
    (BEFORE, SLEEPS, "uses_ray"),
    (AFTER, SILENT, "next"),
)


def test_only_what_ray_leaves_is_forgiven_and_only_where_ray_ran(tmp_path: Path) -> None:
    text = "".join(CASE.format(number=i, body=body.format(what=what)) for i, (body, what, _) in enumerate(CASES))
    done = outcome(LEAVING + text, tmp_path)
    red = set(re.findall(r"^FAILED test_it.py::test_(\w+)", done.stdout, re.MULTILINE))
    assert red == {f"{i}_{where}" for i, (_, _, where) in enumerate(CASES) if where}, done.stdout


def outcome(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What pytest says of a file of tests, warnings being errors."""
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_it.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


RAY = """
def double(shared, job):
    return 2 * job

def test_first():
    from testbed.core.executor import OnRay

    assert sorted(OnRay("local")(double, 1, [1, 2])) == [(0, 2), (1, 4)]

def test_second():
    import gc

    gc.collect()
"""


@pytest.mark.slow
def test_a_local_ray_leaves_nothing_to_the_next_test(tmp_path: Path) -> None:
    done = outcome(RAY, tmp_path)
    assert done.returncode == 0, done.stdout
