"""A run's folder: only what the testbed wrote is ever deleted, and a reader sees the old result or the new one."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.core.errors import UsageError
from testbed.report import folder
from tests.cli.test_cli import invoke

SHAPE = {"schema": "testbed.result/1", "findings": [], "decision": {}}


def put(out: Path, run: str) -> Path | None:
    share = {"result.json": json.dumps({**SHAPE, "run": {"id": run}}).encode(), "report.html": run.encode()}
    return folder.put(out, share, {f"{run}.npz": run.encode(), "true.transcript": run.encode()})


def seen(out: Path) -> set[str]:
    """The runs of which something lies in the folder; one where it is whole."""
    runs = {json.loads((out / "share/result.json").read_text())["run"]["id"]}
    runs |= {(out / "share/report.html").read_text(), (out / "evidence/true.transcript").read_text()}
    return runs | {p.stem for p in (out / "evidence").glob("*.npz")}


def beside(out: Path) -> set[str]:
    return {p.name for p in out.parent.iterdir()} - {out.name}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    made = tmp_path / "parent" / "run"
    put(made, "old")
    return made


def test_an_earlier_run_is_replaced_and_leaves_nothing(out: Path) -> None:
    (out / ".DS_Store").write_text("x")
    out.chmod(0o750)
    folder.check(out)
    assert put(out, "new") is None
    assert seen(out) == {"new"}
    assert beside(out) == set()
    assert stat.S_IMODE((out / "evidence").stat().st_mode) == 0o700
    assert stat.S_IMODE(out.stat().st_mode) == 0o750


STRANGERS = ["signed_decision.pdf", "share/notes.txt", "evidence/notes.txt", "evidence/mine.npz", "share/old/x", "a/b"]


@pytest.mark.parametrize("name", STRANGERS)
def test_what_the_testbed_did_not_write_is_refused_before_the_work(name: str, out: Path) -> None:
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(UsageError, match="TB-OUT-005"):
        folder.check(out)
    assert (out / name).read_text() == "mine"
    assert seen(out) >= {"old"}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_put_there_during_the_work_is_kept(name: str, out: Path) -> None:
    folder.check(out)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    kept = put(out, "new")
    assert {"new"} <= seen(out) <= {"new", "mine"}
    found = [p for p in out.parent.rglob(Path(name).name) if p.is_file()]
    assert [p.read_text() for p in found] == ["mine"]
    assert kept is None or (kept.name.startswith("run.kept-") and kept in found[0].parents)


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "share is a link"])
def test_links_are_not_followed(kind: str, out: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "result.json").write_bytes((out / "share/result.json").read_bytes())
    if kind == "share is a link":
        (out / "share").rename(tmp_path / "moved")
        (out / "share").symlink_to(elsewhere)
    else:
        (out / "evidence/x.npz").symlink_to(elsewhere / "result.json" if "file" in kind else elsewhere)
    with pytest.raises(UsageError, match="TB-OUT-005"):
        folder.check(out)
    put(out, "new")
    assert (elsewhere / "result.json").exists()


@pytest.mark.parametrize(
    "content", ["{}", "[]", "null", "{", '{"schema": "x"}', '{"schema": "testbed.result/1"}', "[" * 9999]
)
def test_a_folder_with_another_result_json_is_no_earlier_run(content: str, tmp_path: Path) -> None:
    (tmp_path / "o/share").mkdir(parents=True)
    (tmp_path / "o/share/result.json").write_text(content)
    with pytest.raises(UsageError, match="TB-OUT-001"):
        folder.check(tmp_path / "o")


def test_the_folder_of_an_earlier_version_is_known_without_its_list(out: Path) -> None:
    (out / "evidence" / folder.LIST).unlink()
    folder.check(out)
    put(out, "new")
    assert seen(out) == {"new"}
    assert beside(out) == set()


def test_a_link_to_a_folder_is_written_where_it_leads(out: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(out)
    folder.check(link)
    put(link, "new")
    assert link.is_symlink()
    assert seen(out) == {"new"}


def mounted(monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
    """As of a mount point: neither it nor its content can be given another name beside it."""
    real = folder._exchange  # pyright: ignore[reportPrivateUsage]

    def busy(one: Path, other: Path) -> bool:
        if out in (one, other):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return real(one, other)

    monkeypatch.setattr(folder, "_exchange", busy)


@pytest.mark.parametrize("empty", [True, False])
def test_a_mount_point_is_written_within(empty: bool, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if empty:
        out = out.with_name("volume")
        (out / "lost+found").mkdir(parents=True)
    mounted(monkeypatch, out)
    folder.check(out)
    assert put(out, "new") is None
    assert seen(out) == {"new"}
    assert {p.name for p in out.iterdir()} == {"share", "evidence", *(["lost+found"] if empty else [])}


def test_a_parent_that_cannot_be_written_is_no_hindrance(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.mkdir

    def refused(path: Path, *rest: object, **more: object) -> None:
        if path.parent == out.parent:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refused)
    folder.check(out)
    put(out, "new")
    assert seen(out) == {"new"}
    with pytest.raises(UsageError, match="TB-OUT-002"):
        folder.check(out.with_name("another"))


class KilledError(BaseException):
    pass


def killing(monkeypatch: pytest.MonkeyPatch, step: int, error: type[BaseException], for_good: bool) -> None:
    """From the step-th renaming on, or there alone, it is not done."""
    real, count = os.rename, 0

    def rename(*places: Path) -> None:
        nonlocal count
        count += 1
        if count == step or (for_good and count > step):
            raise error(errno.EIO, "killed")
        real(*places)

    monkeypatch.setattr(os, "rename", rename)


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("for_good", [True, False])
@pytest.mark.parametrize("error", [OSError, KilledError])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_at_any_renaming_one_whole_result_is_left(
    step: int, error: type[BaseException], for_good: bool, exchange: bool, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        killing(patched, step, error, for_good)
        if not exchange:
            patched.setattr(folder, "_exchange", lambda *_: False)
        with contextlib.suppress(UsageError, KilledError):
            put(out, "new")
    if exchange or not for_good:
        assert len(seen(out)) == 1  # at once
    folder.check(out)  # as the next run does first
    assert len(seen(out)) == 1
    put(out, "next")
    assert seen(out) == {"next"}
    assert beside(out) == set()


def _killed(out: Path, when: float) -> None:
    threading.Timer(when, lambda: os._exit(9)).start()
    for i in range(10_000):
        put(out, f"run{i}")


def test_killed_at_any_time_one_whole_result_is_left(out: Path) -> None:
    for i in range(6):
        process = multiprocessing.get_context("fork").Process(target=_killed, args=(out, 0.02 + 0.013 * i))
        process.start()
        process.join()
        assert len(seen(out)) == 1
    put(out, "last")
    assert seen(out) == {"last"}
    assert beside(out) == set()


def _writer(out: Path, name: str) -> None:
    for i in range(15):
        put(out, f"{name}{i}")


def test_of_several_writers_none_loses_its_work_and_no_reader_misses_the_folder(out: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_writer, args=(out, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    while any(w.is_alive() for w in writers):
        assert out.is_dir()
    for writer in writers:
        writer.join()
    assert [w.exitcode for w in writers] == [0, 0, 0]
    assert len(seen(out)) == 1
    folder.check(out)
    assert beside(out) == set()


def test_what_another_run_is_writing_is_not_swept(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., int] = Path.write_bytes

    def slow(path: Path, content: bytes) -> int:
        folder.check(out)  # another run begins
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", slow)
    put(out, "new")
    assert seen(out) == {"new"}


def test_a_folder_that_only_looks_like_one_left_behind_is_not_swept(out: Path) -> None:
    theirs = out.with_name(".run.new-0123abcd")
    (theirs / "share").mkdir(parents=True)
    (theirs / "share/thesis.txt").write_text("mine")
    folder.check(out)
    assert (theirs / "share/thesis.txt").read_text() == "mine"


def test_a_run_again_is_refused_before_its_work(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "signed_decision.pdf").write_text("signed")
    monkeypatch.setattr("testbed.harness.run.run", lambda *_, **__: pytest.fail("worked"))
    assert invoke(monkeypatch, "run", "curious_server", "--out", str(out)) == 2
    told = capsys.readouterr().err
    assert "TB-OUT-005" in told
    assert "signed_decision.pdf" in told
    assert "fix:" in told
    assert (out / "signed_decision.pdf").read_text() == "signed"


def test_a_resume_folder_loses_finished_parts_alone(tmp_path: Path) -> None:
    store = tmp_path / ".run.resume"
    store.mkdir()
    (store / f"{'0a' * 16}.transcript").write_text("ours")
    folder.forget(store)
    assert not store.exists()
    store.mkdir()
    (store / f"{'0a' * 16}.transcript").write_text("ours")
    (store / "lab.transcript").write_text("mine")
    folder.forget(store)
    assert [p.name for p in store.iterdir()] == ["lab.transcript"]


@pytest.mark.parametrize(("name", "id"), [("x.pdf", "TB-OUT-006"), ("thesis.html", "TB-OUT-008")])
def test_a_report_overwrites_no_other_file_and_is_called_what_it_is(
    name: str, id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.html").write_text("<p>mine")
    result = Path(__file__).parents[2] / "docs" / "result.example.json"
    assert invoke(monkeypatch, "report", str(result), "--out", str(tmp_path / name)) == 2
    assert id in capsys.readouterr().err
    assert (tmp_path / "thesis.html").read_text() == "<p>mine"
    for _ in range(2):  # its own is written anew
        assert invoke(monkeypatch, "report", str(result), "--out", str(tmp_path / "r.html")) == 0
