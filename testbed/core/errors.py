"""Errors, each with an id, what happened, why, and how to fix it.

Documents and scripts may refer to the id. No message holds a value of a record: it names a column by its name, and
never names a row.

    TestbedError                  exit code
    ├── UsageError                    2     the command, a parameter or a policy file is wrong
    │   └── ThreatError               2     an attack needs what the threat model does not grant
    ├── InputError                    4     a table, a transcript or a model cannot be used as it is
    ├── RunError                      6     a federation or a generator failed while it ran
    └── DisclosureError               7     the gate found something that must not be shared
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    REVIEW = 3
    INPUT = 4
    NOTHING_RAN = 5
    INTERNAL = 6
    DISCLOSURE = 7
    INTERRUPTED = 130


class TestbedError(Exception):
    """The base of all errors: a stable `id`, `what` happened, `why`, and how to `fix` it."""

    __test__ = False  # pytest takes names that start with Test for test classes
    exit_code = Exit.INTERNAL

    def __init__(self, id: str, what: str, why: str, fix: str) -> None:
        super().__init__(f"{id}: {what} {why} {fix}")
        self.id, self.what, self.why, self.fix = id, what, why, fix


class UsageError(TestbedError):
    exit_code = Exit.USAGE


class ThreatError(UsageError):
    pass


class InputError(TestbedError):
    exit_code = Exit.INPUT


class RunError(TestbedError):
    exit_code = Exit.INTERNAL


class DisclosureError(TestbedError):
    exit_code = Exit.DISCLOSURE


def perhaps(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the known names most similar to it, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 3, 0.5)
    return f"Perhaps: {', '.join(close)}." if close else f"Known: {', '.join(names)}."


EXTRA_OF = {
    "anonymeter": "anonymeter",
    "catboost": "models",
    "cloudpickle": "federated",
    "cryptography": "sign",
    "flwr": "federated",
    "httpx": "federated",
    "lightgbm": "models",
    "onnxruntime": "models",
    "opacus": "federated",
    "opendp": "private",
    "openpyxl": "files",
    "pyreadstat": "files",
    "ray": "federated",
    "safetensors": "federated",
    "sdv": "synthesis",
    "skops": "models",
    "starlette": "serve",
    "torch": "federated",
    "uvicorn": "serve",
    "weasyprint": "pdf",
    "xgboost": "trees",
}
"""The optional dependency (extra) that installs each package."""


ALONG = {"federated": ("sign", "serve")}
"""By extra, the extras whose packages it brings along: Flower needs cryptography, a range needs its pages."""


def missing_extra(missing: ModuleNotFoundError) -> UsageError | None:
    """The error that says which extra to install, or None if the missing package belongs to none."""
    extra = EXTRA_OF.get((missing.name or "").split(".")[0])
    if extra is None:
        return None
    return UsageError(
        "TB-EXTRA-001",
        "This command needs a part of the testbed that is not installed.",
        f"It belongs to the optional dependency {extra!r}.",
        f"Install leakage-testbed[{extra}].",
    )
