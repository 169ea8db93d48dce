"""The command line in a report: one that runs again, without anybody's folders."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from testbed.cli.typed import written


def test_paths_become_names_and_what_changes_no_result_is_left_out() -> None:
    typed = ["evaluate", "--original", "/home/anna/o.csv", "--out", "x", "--json", "--out=y", "--ray", "local"]
    assert written([*typed, "--seed", "3"]) == "testbed evaluate --original o.csv --seed 3"
    assert written(["run", "~/my scen.py", "-s", "data=../d/m.csv"]) == "testbed run 'my scen.py' -s data=m.csv"
    assert written(["replay", "t", "--model", "/x/my.py:net"]) == "testbed replay t --model my.py:net"


def test_a_path_that_exists_becomes_a_name_and_a_column_with_a_slash_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ward").mkdir()
    (tmp_path / "ward" / "o.csv").touch()
    command = written(["evaluate", "--original", "ward/o.csv", "--secrets", "HR [/min],mg/dl"])
    assert shlex.split(command)[2:] == ["--original", "o.csv", "--secrets", "HR [/min],mg/dl"]
