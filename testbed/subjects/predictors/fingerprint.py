"""A fingerprint of a training: everything that decides what a copy of an estimator learns."""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TRAINED = 1
"""The version of the training code: raised when an equal estimator and equal data give another model."""
ALWAYS = ("numpy", "pandas", "scipy", "sklearn")
"""Packages that every training depends on."""


def fingerprint(*decides: Any) -> str | None:
    """A digest of these values, and of the versions of all packages that they use. None if it would not be complete.

    The values are an untrained estimator with its parameters and seeds, the records, their labels, and what makes of
    them what `fit` is given. Code that is not in an installed package may change without a new version, so trainings
    that use such code have no fingerprint, nor have values that cannot be pickled.
    """
    import joblib

    try:
        digest = joblib.hash(decides)
        modules = set(_modules(pickle.dumps(decides, protocol=2)))
    except Exception:  # an estimator, or a function among its parameters, may raise anything
        return None
    versions = _versions({m.partition(".")[0] for m in modules} | set(ALWAYS))
    if versions is None:
        return None
    text = (digest, TRAINED, metadata.version("leakage-testbed"), sys.version, platform.machine(), versions)
    return hashlib.sha256(repr(text).encode()).hexdigest()[:32]


def of_network(network: Any, answers: Iterable[Any], *decides: Any) -> str:
    """A digest of a torch module, of its answers, and of what else `decides`, such as the rules of training.

    The module counts by its description, its parameters and buffers, and by all code that is loaded and in no installed
    package: the user's own, which may change without a new version.
    """
    import torch

    packages = _versions(ALWAYS), torch.__version__, metadata.version("leakage-testbed")
    text = (repr(network), decides, packages, sys.version, platform.machine(), sorted(_own_code()))
    digest = hashlib.sha256(repr(text).encode())
    state = [(name, value.detach().cpu().numpy()) for name, value in network.state_dict().items()]
    for name, values in [*state, *(("answers", values) for values in answers)]:
        digest.update(f"{name} {values.dtype}{values.shape}".encode() + values.tobytes())
    return digest.hexdigest()[:32]


def _own_code() -> set[str]:
    """The digests of all modules loaded that neither Python, the testbed nor an installed package brings."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    brought = [Path(sysconfig.get_path(name)) for name in names] + [Path(__file__).parents[2]]
    files = {Path(file) for m in list(sys.modules.values()) if (file := getattr(m, "__file__", None))}
    own = [f for f in files if f.is_file() and not any(f.is_relative_to(place) for place in brought)]
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in own}


def _modules(pickled: bytes) -> Iterator[str]:
    """The modules of all classes and functions in a pickle of protocol 2."""
    for code, argument, _ in pickletools.genops(pickled):
        if code.name == "GLOBAL":
            yield str(argument).partition(" ")[0]


def _versions(packages: Iterable[str]) -> tuple[tuple[str, str], ...] | None:
    """Each package with its version, sorted. None if one of them is not installed, so that its code may change."""
    found: list[tuple[str, str]] = []
    for package in sorted(packages):
        if package in sys.stdlib_module_names or package in ("testbed", "__builtin__", "copy_reg"):
            continue
        names = _distributions(package)
        if not names or not _installed(package):
            return None
        found.append((package, ",".join(f"{name} {metadata.version(name)}" for name in names)))
    return tuple(found)


@cache
def _distributions(package: str) -> tuple[str, ...]:
    """The installed distributions that bring this package, sorted: those that declare it, or hold its files.

    As `importlib.metadata.packages_distributions` finds them, which reads the list of all files of all distributions.
    """
    held = re.compile(rf"^{re.escape(package)}(?:/[^,\n]*)?\.py,", re.MULTILINE)
    found: set[str] = set()
    for one in metadata.distributions():
        declared = (one.read_text("top_level.txt") or "").split()
        if package in declared or (not declared and held.search(one.read_text("RECORD") or "")):
            found.add(one.metadata["Name"])
    return tuple(sorted(found))


def _installed(package: str) -> bool:
    """Whether a package stands where packages are installed, and not in a folder where it is being written."""
    spec = find_spec(package)
    places = [Path(p) for p in (spec.submodule_search_locations or [spec.origin or ""])] if spec else []
    roots = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    return bool(places) and all(any(place.is_relative_to(root) for root in roots) for place in places)
