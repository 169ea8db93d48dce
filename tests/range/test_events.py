"""The event log: what is changed in it is noticed, and what was interrupted does not count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.core.errors import InputError
from testbed.range.events import HEAD, LOG, LONGEST_FACT, Log, read

KEY = b"k" * 32


def three(folder: Path) -> Log:
    log = Log(folder, KEY, lambda: 5.0)
    for number in range(3):
        log.append("claim", "red", 1, number, {"answer": "no", "points": number})
    return log


def without_line(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join([lines[0], lines[2]])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"answer": "no"', '"answer": "yes"', 1),
        lambda text: text.replace('"points": 2', '"points": 9'),
        lambda text: text.replace('"team": 1', '"team": 2', 1),
        without_line,
        lambda text: "".join(reversed(text.splitlines(keepends=True))),
        lambda text: "".join(text.splitlines(keepends=True)[:1]),
        lambda text: text[:0],
        lambda text: text + "not an event\n",
        lambda text: text + text.splitlines(keepends=True)[-1],
    ],
    ids=["answer", "last line", "team", "line removed", "order", "end removed", "all removed", "added", "line twice"],
)
def test_a_changed_log_is_noticed(tmp_path: Path, change: Callable[[str], str]) -> None:
    log = three(tmp_path)
    text = log.path.read_text("utf-8")
    log.path.write_text(change(text), encoding="utf-8")
    for opened in (lambda: Log(tmp_path, KEY, lambda: 6.0), lambda: read(tmp_path, KEY)):
        with pytest.raises(InputError, match="TB-RANGE-001"):
            opened()


def test_a_log_that_was_written_again_with_another_key_is_noticed(tmp_path: Path) -> None:
    three(tmp_path)
    with pytest.raises(InputError, match="TB-RANGE-001"):
        read(tmp_path, b"x" * 32)


def test_an_interrupted_last_line_never_counted(tmp_path: Path) -> None:
    log = three(tmp_path)
    with log.path.open("ab") as file:
        file.write(b'{"seq": 4, "ts"')
    again = Log(tmp_path, KEY, lambda: 6.0)
    assert again.torn
    assert [e.seq for e in again.events] == [1, 2, 3]
    again.append("recovered", "scorer")
    assert [e.event for e in read(tmp_path, KEY)] == ["claim", "claim", "claim", "recovered"]


def test_a_scorer_that_was_stopped_before_it_wrote_the_head_goes_on(tmp_path: Path) -> None:
    log = three(tmp_path)
    before = (tmp_path / HEAD).read_text("utf-8")
    log.append("claim", "red", 1, 1, {"answer": "yes"})
    (tmp_path / HEAD).write_text(before, encoding="utf-8")
    assert len(Log(tmp_path, KEY, lambda: 6.0).events) == 4


def test_a_clock_that_is_set_back_changes_no_order(tmp_path: Path) -> None:
    times = iter([10.0, 3.0])
    log = Log(tmp_path, KEY, lambda: next(times))
    log.append("start", "white")
    log.append("claim", "red")
    assert [(e.seq, e.event) for e in read(tmp_path, KEY)] == [(1, "start"), (2, "claim")]


def test_a_log_is_its_owners_alone_and_takes_no_long_text(tmp_path: Path) -> None:
    log = Log(tmp_path, KEY, lambda: 1.0)
    log.append("claim", "red", facts={"code": "x" * 10_000})
    assert (tmp_path / LOG).stat().st_mode & 0o777 == 0o600
    assert log.events[0].facts["code"] == "x" * LONGEST_FACT
