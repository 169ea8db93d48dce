# pyright: strict
"""One file to pass on: a zip of a run's share/ folder alone, with checksums; the same bytes from the same files."""

from __future__ import annotations

import hashlib
import io
import os
import re
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from testbed.core.errors import InputError, UsageError
from testbed.report import folder, signature

CHECKSUMS, SIGNATURE = "checksums.txt", "checksums.txt.sig"
"""The list of a bundle's files with their SHA-256, as `sha256sum -c` reads it, and its signature."""
COMPARED = ("comparison.json", "comparison.html", "comparison.csv")
"""The files of a comparison."""
LARGEST, MOST_FILES = 200 << 20, 100
"""A bundle with more bytes, all files together, or with more files is not read."""


def files_of(run: Path) -> dict[str, bytes]:
    """The files of share/ of a run or a comparison.

    Raises `UsageError` if the testbed did not write one of them, or there is none.
    """
    share = run / "share"
    known = folder.KNOWN["share"]
    if (share / COMPARED[0]).is_file() and not (share / "result.json").is_file():
        known = "|".join(map(re.escape, COMPARED))
    elif not (share / "result.json").is_file():
        raise UsageError(
            "TB-BUNDLE-001",
            "This is not the folder of a run or a comparison.",
            f"It has neither share/result.json nor share/{COMPARED[0]}.",
            "Name the folder that a command wrote with --out.",
        )
    entries = [p for p in sorted(share.iterdir()) if p.name not in folder.LITTER]
    for path in entries:
        if path.is_symlink() or not path.is_file() or not re.fullmatch(known, path.name):
            raise UsageError(
                "TB-BUNDLE-002",
                f"share/ holds {path.name}, which the testbed did not write.",
                "The disclosure gate did not check it, so it cannot be passed on with the rest.",
                "Move it elsewhere.",
            )
    return {path.name: path.read_bytes() for path in entries}


def packed(files: Mapping[str, bytes], key_file: Path | None = None) -> bytes:
    """The bundle of these files; signed, if there is a key. Equal files give equal bytes."""
    listed = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()
    whole = {**files, CHECKSUMS: listed}
    if key_file is not None:
        whole[SIGNATURE] = signature.sign(listed, key_file)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(whole):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, whole[name])
    return buffer.getvalue()


def writable(out: Path) -> None:
    """Raises `UsageError` unless a bundle may be written to `out`: a .zip file that is new, or a bundle."""
    if out.suffix.lower() != ".zip":
        raise UsageError(
            "TB-BUNDLE-003",
            f"A bundle is a zip file, but the name {out.name} does not end in .zip.",
            "Other programs would read the file as something else.",
            "End the name in .zip.",
        )
    if not out.exists():
        return
    try:
        with zipfile.ZipFile(out) as archive:
            ours = CHECKSUMS in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        ours = False
    if not ours:
        raise UsageError(
            "TB-BUNDLE-004", f"{out.name} exists and is not a bundle.", "It would be overwritten.", "Name another file."
        )


def write(out: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises `UsageError` if it cannot be written."""
    staging = out.with_name(f".{out.name}.new-{uuid.uuid4().hex[:8]}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with staging.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            staging.replace(out)
        finally:
            staging.unlink(missing_ok=True)
    except OSError as error:
        raise folder.unwritable(error) from None


def unpacked(path: Path) -> dict[str, bytes]:
    """The files of a bundle. Raises `InputError` for a file that is none, or one too large or with folders in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > LARGEST:
                raise _no_bundle("It is larger than a bundle can be.")
            if len(set(names)) < len(names) or any(not re.fullmatch(r"[\w.-]+", name) for name in names):
                raise _no_bundle("It holds folders, or two files of one name.")
            return {entry.filename: _content(archive, entry) for entry in entries}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error):
        raise _no_bundle("It cannot be read as a zip file.") from None


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise _no_bundle("A file in it is larger than it says.")
    return content


def _no_bundle(why: str) -> InputError:
    return InputError("TB-BUNDLE-005", "The file is not a bundle of this testbed.", why, "Ask for the file again.")


def checksums(files: Mapping[str, bytes]) -> str | None:
    """What is wrong with a bundle's checksums; None if each file has its own, and there is no other file."""
    if CHECKSUMS not in files:
        return f"{CHECKSUMS} is missing"
    lines = files[CHECKSUMS].decode("utf-8", "replace").splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    held = {name: hashlib.sha256(c).hexdigest() for name, c in files.items() if name not in (CHECKSUMS, SIGNATURE)}
    for name in sorted(held.keys() | listed.keys()):
        if name not in held:
            return f"{name} is missing"
        if name not in listed:
            return f"{name} is not listed"
        if held[name] != listed[name]:
            return f"{name} was altered"
    return None
