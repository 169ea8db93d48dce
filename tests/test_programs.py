"""What is started as a program can be started: a name that no longer exists fails only when it is used."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = re.compile(r'"-m",\s*"(testbed[\w.]*)"')


def no_program(name: str) -> bool:
    """Can Python not run this module as a program: is it missing, or a package without a __main__?"""
    path = ROOT / name.replace(".", "/")
    return not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file())


def test_what_is_started_as_a_program_is_one() -> None:
    files = [p for folder in ("testbed", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")]
    named = {name for path in files for name in PROGRAM.findall(path.read_text(encoding="utf-8"))}
    assert named
    assert not [name for name in sorted(named) if no_program(name)]
    assert no_program("testbed.cli")  # a package, as the board once named it
