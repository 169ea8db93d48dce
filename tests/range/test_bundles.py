"""An exercise as one file: what it holds, and that a damaged one is refused, whatever is damaged."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from testbed.cli.range_ import range_app
from testbed.core.errors import InputError, RunError, UsageError
from testbed.range import bundles

ENGINE = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$*" in *"$FAILS"*) echo "no such thing" >&2; exit 9;; esac
case "$1" in
  image) printf 'sha256:%s\\n' "id-of-$5";;
  save) printf 'images %s\\n' "$*" > "$3";;
esac
"""
FOUR = ["localhost/testbed:blue", "localhost/testbed:range", "localhost/testbed:red", "localhost/testbed:scorer"]
Parts = list[tuple[tarfile.TarInfo, bytes]]


def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but a docker that writes down what it is asked."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").write_text(ENGINE, encoding="utf-8")
    (tools / "docker").chmod((tools / "docker").stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FAILS", "none of them")
    return tmp_path / "calls"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return machine(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> bundles.Bundle:
    place = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as monkeypatch:
        machine(place, monkeypatch)
        return bundles.save(place / "out" / "heist.tar", "gradient-heist")


@pytest.fixture
def saved(once: bundles.Bundle, calls: Path, tmp_path: Path) -> bundles.Bundle:
    (tmp_path / "out").mkdir()
    shutil.copyfile(once.place, tmp_path / "out" / "heist.tar")
    shutil.copyfile(once.place.parent.parent / "calls", calls)
    return replace(once, place=tmp_path / "out" / "heist.tar")


def parts(file: Path) -> Parts:
    with tarfile.open(file) as bundle:
        return [(m, bundle.extractfile(m).read()) for m in bundle.getmembers()]  # pyright: ignore[reportOptionalMemberAccess]


def written(file: Path, content: Parts) -> Path:
    with tarfile.open(file, "w") as out:
        for member, data in content:
            member.size = len(data) if member.isreg() else 0
            out.addfile(member, io.BytesIO(data))
    return file


def test_a_bundle_holds_images_compose_files_and_pages_and_is_loaded_again(
    saved: bundles.Bundle, calls: Path, tmp_path: Path
) -> None:
    assert "save -o " in calls.read_text("utf-8")
    assert calls.read_text("utf-8").strip().endswith(" ".join(FOUR))
    assert [p.name for p in saved.place.parent.iterdir()] == ["heist.tar"]
    made = bundles.load(saved.place, tmp_path / "there", saved.fingerprint.upper())
    assert made.fingerprint == saved.fingerprint
    assert f"load -i {tmp_path}" in calls.read_text("utf-8")
    there = {p.relative_to(made.place).as_posix() for p in made.place.rglob("*") if p.is_file()}
    pages = {f"exercise/{name}" for name in ("exercise.yaml", "brief-red.md", "brief-blue.md", "instructor.md")}
    assert there == {"START.md", "bundle.json", "compose.yml", "gradient-heist.yml", *pages}
    compose = yaml.safe_load((made.place / "gradient-heist.yml").read_text("utf-8"))
    assert {"red", "link", "hospital-north"} <= compose["services"].keys()
    assert not any("build" in service for service in compose["services"].values())
    assert {service["image"] for service in compose["services"].values()} == set(FOUR)
    assert json.loads((made.place / "bundle.json").read_text("utf-8"))["images"] == {n: f"id-of-{n}" for n in FOUR}
    assert "docker compose -f gradient-heist.yml -p game up" in (made.place / "START.md").read_text("utf-8")


def test_the_checksums_are_those_of_sha256sum(saved: bundles.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    folder = saved.place.parent / "by-hand"
    with tarfile.open(saved.place) as bundle:
        bundle.extractall(folder, filter="data")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest() == saved.fingerprint


def flipped(place: int) -> Callable[[Parts], Parts]:
    def change(content: Parts) -> Parts:
        member, data = content[place]
        return [*content[:place], (member, bytes([data[0] ^ 1]) + data[1:]), *content[place + 1 :]]

    return change


def added(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Callable[[Parts], Parts]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return lambda content: [*content, (member, b"x" if kind == tarfile.REGTYPE else b"")]


def listed(name: str) -> Callable[[Parts], Parts]:
    """The bundle of somebody who lists a file of this name, with its right checksum."""

    def change(content: Parts) -> Parts:
        (first, sums), *rest = content
        more = f"{hashlib.sha256(b'x').hexdigest()}  {name}\n".encode()
        return added(name)([(first, sums + more), *rest])

    return change


DAMAGES: dict[str, Callable[[Parts], Parts]] = {
    **{f"file {place} changed": flipped(place) for place in range(10)},
    **{f"file {place} gone": lambda content, p=place: content[:p] + content[p + 1 :] for place in range(10)},
    "two in another order": lambda content: [content[1], content[0], *content[2:]],
    "one twice": lambda content: [*content, content[-1]],
    "one more": added("more.txt"),
    "a link": added("link", tarfile.SYMTYPE, "/etc/passwd"),
    "a way out": added("../out"),
    "a way out that is listed": listed("../out"),
    "a whole path that is listed": listed("/tmp/out"),
    "a deep way out that is listed": listed("exercise/../../out"),
    "a folder": added("folder", tarfile.DIRTYPE),
    "empty": lambda content: content[:0],
    "checksums of nothing": lambda content: [(content[0][0], b"")],
    "checksums that are none": lambda content: [(content[0][0], b"\xff\xfe nothing\n"), *content[1:]],
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_bundle_is_refused_and_nothing_of_it_is_kept(
    damage: str, saved: bundles.Bundle, calls: Path, tmp_path: Path
) -> None:
    content = parts(saved.place)
    assert len(content) == 10
    place = tmp_path / "far" / "there"
    place.parent.mkdir()
    with pytest.raises(InputError, match=r"TB-RANGE-076.*damaged, and nothing of it was kept"):
        bundles.load(written(tmp_path / "damaged.tar", DAMAGES[damage](content)), place)
    assert list(place.parent.iterdir()) == []
    assert not (tmp_path / "out" / "out").exists()
    assert "load" not in calls.read_text("utf-8").replace("localhost", "")


def test_a_bundle_that_is_cut_anywhere_is_refused(saved: bundles.Bundle, calls: Path, tmp_path: Path) -> None:
    whole = saved.place.read_bytes()
    end = max(m.offset_data + m.size for m, _ in parts(saved.place))
    for length in (0, 1, 511, 512, 700, 5000, end // 2, end - 600, end - 1):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError, match="TB-RANGE-076"):
            bundles.load(cut, tmp_path / "there")
    (tmp_path / "noise.tar").write_bytes(hashlib.sha256(b"noise").digest() * 1000)
    with pytest.raises(InputError, match="TB-RANGE-076"):
        bundles.load(tmp_path / "noise.tar", tmp_path / "there")
    assert not (tmp_path / "there").exists()
    assert " load" not in calls.read_text("utf-8")


def test_a_bundle_that_was_changed_with_its_checksums_has_another_fingerprint(
    saved: bundles.Bundle, tmp_path: Path
) -> None:
    (first, sums), *rest = parts(saved.place)
    place = next(i for i, (m, _) in enumerate(rest) if m.name == "START.md")
    old, new = hashlib.sha256(rest[place][1]).hexdigest(), hashlib.sha256(b"other").hexdigest()
    rest[place] = (rest[place][0], b"other")
    changed = written(tmp_path / "changed.tar", [(first, sums.replace(old.encode(), new.encode())), *rest])
    with pytest.raises(InputError, match="TB-RANGE-073"):
        bundles.load(changed, tmp_path / "there", saved.fingerprint)
    assert bundles.load(changed, tmp_path / "there").fingerprint != saved.fingerprint


def test_what_cannot_be_saved_or_loaded_is_said_before_anything_is_written(
    saved: bundles.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="TB-RANGE-070"):
        bundles.save(saved.place, "gradient-heist")
    with pytest.raises(UsageError, match="TB-RANGE-071"):
        bundles.load(saved.place, tmp_path)
    with pytest.raises(UsageError, match="TB-RANGE-074"):
        bundles.load(tmp_path / "nothing.tar", tmp_path / "there")
    with pytest.raises(UsageError, match="TB-RANGE-002"):
        bundles.save(tmp_path / "new.tar", "gradient-hiest")
    for fails, error, kind in (
        ("inspect", "TB-RANGE-072.*testbed:blue", UsageError),
        ("save", "TB-RANGE-075.*no such thing", RunError),
    ):
        monkeypatch.setenv("FAILS", fails)
        with pytest.raises(kind, match=error):
            bundles.save(tmp_path / "new" / "new.tar", "gradient-heist")
    assert not list(tmp_path.glob("new/*"))
    monkeypatch.setenv("FAILS", "load")
    with pytest.raises(RunError, match="TB-RANGE-075"):
        bundles.load(saved.place, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_the_commands_say_what_to_compare_and_what_to_type_next(calls: Path, tmp_path: Path) -> None:
    file, there = str(tmp_path / "trees.tar"), str(tmp_path / "there")
    made = CliRunner().invoke(range_app, ["bundle", "save", file, "--exercise", "trees"])
    assert made.exit_code == 0, made.output
    told = made.output.split("fingerprint ")[1].strip()
    done = CliRunner().invoke(range_app, ["bundle", "load", file, "--to", there, "--fingerprint", told])
    assert done.exit_code == 0, done.output
    assert f"export TESTBED_COMPOSE={there}/compose.yml" in done.output.replace("\n", "").replace("export", "export", 1)
    assert "testbed range up trees --runtime containers" in done.output
