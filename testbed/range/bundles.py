# pyright: strict
"""An exercise in one file, for a host without a network: its images, compose files and pages, with a checksum for each.

    SHA256SUMS        the checksum of each other file, as `sha256sum -c` reads it; the bundle's fingerprint is its own
    bundle.json       what the bundle holds: exercise, version, engine, images
    START.md          how to start without a network
    compose.yml       the base of compose files; and NAME.yml, that of this exercise
    exercise/         the exercise as it ships: its file, briefs and solutions
    images.tar        the images, as `docker save` writes them

A bundle holds no secret of an instance: those are made when it is started.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from testbed.core.errors import InputError, RunError, UsageError
from testbed.range import composed, containers
from testbed.range import exercise as exercises

SUMS, FACTS, START = "SHA256SUMS", "bundle.json", "START.md"
BASE, IMAGES, PAGES = "compose.yml", "images.tar", "exercise"
NAMED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$")
LINE = re.compile(r"^([0-9a-f]{64})  (\S+)$")
LONGEST_SUMS, BLOCK = 1 << 20, 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)
DEFAULTS = re.compile(r"\$\{(\w+):-([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on its way out or in: where it lies, its exercise, and its fingerprint."""

    place: Path
    exercise: str
    fingerprint: str


def save(file: Path, exercise: str) -> Bundle:
    """Writes the bundle of an exercise. Raises `UsageError` if an image was not built, or the file is there already."""
    if file.exists():
        raise UsageError(
            "TB-RANGE-070", f"{file} is there already.", "A bundle is never overwritten.", "Give another name."
        )
    made = composed.compose(base := composed.read(containers.base()), exercises.load(exercise))
    engine = _tool(containers.engine())
    names = sorted({_filled(str(s["image"])) for s in made["services"].values()})
    images = {name: _id(engine, name) for name in names}
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".bundle-") as temporary:
        folder = Path(temporary)
        for page in exercises.folder(exercise).iterdir():
            if page.is_file() and page.name.endswith(exercises.SUFFIXES):
                (folder / PAGES).mkdir(exist_ok=True)
                (folder / PAGES / page.name).write_text(page.read_text("utf-8"), encoding="utf-8")
        (folder / BASE).write_text(composed.text(_without_builds(base)), encoding="utf-8")
        (folder / f"{exercise}.yml").write_text(composed.text(_without_builds(made)), encoding="utf-8")
        (folder / START).write_text(PAGE.replace("{exercise}", exercise), encoding="utf-8")
        facts = {
            "exercise": exercise,
            "testbed": metadata.version("leakage-testbed"),
            "engine": engine,
            "images": images,
        }
        (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        several = ["--multi-image-archive"] if engine == "podman" else []
        _run(engine, "save", *several, "-o", str(folder / IMAGES), *names)
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        sums = "".join(f"{_digest(folder / name)}  {name}\n" for name in files)
        (folder / SUMS).write_text(sums, encoding="utf-8")
        part = folder / "part"
        with tarfile.open(part, "w") as out:
            for name in (SUMS, *files):
                out.add(folder / name, name, filter=_plain)
        part.replace(file)
    return Bundle(file, exercise, hashlib.sha256(sums.encode()).hexdigest())


def load(file: Path, to: Path, fingerprint: str | None = None) -> Bundle:
    """Checks a bundle, lays its files into the new folder `to`, and gives its images to the engine.

    Nothing is kept of a damaged bundle. Raises `InputError` for one, and for another fingerprint than the given one.
    """
    if to.exists():
        raise UsageError(
            "TB-RANGE-071", f"{to} is there already.", "A bundle gets a folder of its own.", "Give another --to."
        )
    engine = _tool(containers.engine())
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".bundle-") as temporary:
        folder = Path(temporary) / "new"
        folder.mkdir(mode=0o700)
        found = _unpacked(file, folder, fingerprint)
        facts: Mapping[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        _run(engine, "load", "-i", str(folder / IMAGES))
        for name, told in facts["images"].items():
            if _id(engine, name) != told and facts["engine"] == engine:
                raise _failed(f"{engine} load", f"Its image {name} is another one than that of the bundle.")
        (folder / IMAGES).unlink()
        folder.rename(to)
    return Bundle(to, str(facts["exercise"]), found)


def _unpacked(file: Path, folder: Path, fingerprint: str | None) -> str:
    """Writes each file of a bundle whose checksum is right into `folder`, and returns the bundle's fingerprint."""
    try:
        with tarfile.open(file, "r:") as bundle:
            members = iter(bundle)
            sums, found = _sums(bundle, next(members, None))
            if fingerprint is not None and found != fingerprint.strip().lower():
                raise InputError(
                    "TB-RANGE-073",
                    "This is another bundle than the one that was meant.",
                    f"Its fingerprint is {found}.",
                    "Compare it with what testbed range bundle save printed, and copy the bundle again.",
                )
            left = dict(sums)
            for member in members:
                wanted, content = left.pop(member.name, None), bundle.extractfile(member) if member.isreg() else None
                if wanted is None or content is None:
                    raise _damaged("It holds something that its list of checksums does not name.")
                if _copied(content, folder / member.name) != wanted:
                    raise _damaged(f"The file {member.name} is not as it was when the bundle was saved.")
    except (tarfile.TarError, OSError, EOFError) as error:
        if not file.is_file():
            told = UsageError("TB-RANGE-074", f"There is no bundle {file}.", "The file is missing.", "Check the path.")
            raise told from None
        if getattr(error, "errno", None) in FULL:
            raise _failed("Unpacking the bundle", os.strerror(errno.ENOSPC)) from None
        raise _damaged("It cannot be read to its end.") from None
    if left:
        raise _damaged(f"The file {min(left)} is missing.")
    if missing := {FACTS, START, BASE, IMAGES} - sums.keys():
        raise _damaged(f"The file {min(missing)} is missing.")
    return found


def _sums(bundle: tarfile.TarFile, first: tarfile.TarInfo | None) -> tuple[dict[str, str], str]:
    """The checksums by file, and the fingerprint."""
    content = bundle.extractfile(first) if first is not None and first.name == SUMS and first.isreg() else None
    if first is None or content is None or first.size > LONGEST_SUMS:
        raise _damaged("It does not begin with its list of checksums.")
    read = content.read()
    lines = [LINE.match(line) for line in read.decode("utf-8", "replace").splitlines()]
    told = {m[2]: m[1] for m in lines if m is not None and NAMED.match(m[2])}
    if not lines or len(told) != len(lines):
        raise _damaged("Its list of checksums cannot be read.")
    return told, hashlib.sha256(read).hexdigest()


def _copied(content: IO[bytes], to: Path) -> str:
    """Writes the content and returns its SHA-256."""
    digest = hashlib.sha256()
    to.parent.mkdir(mode=0o700, exist_ok=True)
    with to.open("xb") as out:
        for block in _blocks(content):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        for block in _blocks(content):
            digest.update(block)
    return digest.hexdigest()


def _blocks(content: IO[bytes]) -> Iterator[bytes]:
    while block := content.read(BLOCK):
        yield block


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry without its owner and time, so that equal files make equal bundles."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o644
    return entry


def _without_builds(made: Mapping[str, Any]) -> composed.Compose:
    """A compose file for a host that has the images and not what they are built from."""
    told: composed.Compose = json.loads(json.dumps(made))
    parts = [*told["services"].values(), *told.get(composed.TEMPLATE, {}).values()]
    for service in (p for p in parts if "image" in p):
        service.pop("build", None)
        service["image"] = _filled(str(service["image"]))
    return {k: v for k, v in told.items() if k == composed.TEMPLATE or not k.startswith("x-")}


def _filled(name: str) -> str:
    """A name with variables of the environment, or with what stands there for those that are not set."""
    return DEFAULTS.sub(lambda m: os.environ.get(m[1]) or m[2], name)


def _tool(engine: str) -> str:
    """The command that handles images for this way to compose."""
    return engine.removesuffix("-compose")


def _id(engine: str, image: str) -> str:
    """The engine's own name for the content of an image. Raises `UsageError` if there is no such image."""
    done = _heard(engine, "image", "inspect", "--format", "{{.Id}}", image)
    if done.returncode != 0:
        raise UsageError(
            "TB-RANGE-072",
            f"There is no image {image}.",
            "A bundle holds all images of its exercise.",
            "Build them: docker compose -f docker/compose.yml build (docker/README.md).",
        )
    return done.stdout.strip().removeprefix("sha256:")


def _heard(engine: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([engine, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _run(engine: str, *arguments: str) -> None:
    done = _heard(engine, *arguments)
    if done.returncode != 0:
        raise _failed(f"{engine} {arguments[0]}", (done.stderr.strip().splitlines() or ["It said nothing."])[-1][:300])


def _failed(what: str, why: str) -> RunError:
    return RunError("TB-RANGE-075", f"{what} failed.", why, "See whether a disk is full, and try again.")


def _damaged(why: str) -> InputError:
    return InputError(
        "TB-RANGE-076",
        "This bundle is damaged, and nothing of it was kept.",
        why,
        "Copy it again, and compare the fingerprint with what testbed range bundle save printed.",
    )


def commands(bundle: Bundle) -> Sequence[str]:
    """What to type next on a host where the testbed is installed."""
    return (
        f"export TESTBED_COMPOSE={bundle.place.resolve() / BASE}",
        f"testbed range up {bundle.exercise} --runtime containers",
    )


PAGE = """# {exercise}, without a network

With the testbed installed, `testbed range bundle load FILE --to FOLDER` checks this bundle, loads the images and prints
the two commands that start the exercise.

Without it, Docker with its compose plugin is enough:

    tar -xf FILE
    sha256sum -c SHA256SUMS
    docker load -i images.tar
    docker compose -f {exercise}.yml -p game up -d --wait
    docker compose -p game exec range testbed range status game
    docker compose -p game exec range cat /range/game/white/token /range/game/red-1/token /range/game/blue-1/token

`sha256sum -c` must say OK for each file. Compare `sha256sum SHA256SUMS` with the fingerprint that was printed when the
bundle was saved: whoever can change the files can change the list too.

Teams come in by `docker compose -p game exec red bash` and `exec blue bash`, or by the pages at http://127.0.0.1:8088
with their desk's token. The briefs and the solutions are in exercise/.

    docker compose -p game exec range testbed range inject game round     # the next round
    docker compose -p game exec range testbed range score game
    docker compose -p game down -v                                        # the end; all volumes are deleted
"""
