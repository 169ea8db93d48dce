"""A user's own code, named `module:function`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.core.errors import UsageError


def function(name: str, id: str, fix: str) -> Callable[..., Any]:
    """The function of that name, importable from the current folder as from anywhere else. Raises `UsageError`.

    The folder stays importable, since a function may import what lies beside it when it is called.
    """
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), attribute)
        why = "It is not callable."
    except Exception as error:  # whatever a module that is somebody else's may raise
        found, why = None, f"Its import stopped with {type(error).__name__}."
    if not callable(found):
        raise UsageError(
            id,
            f"There is no function {name!r}.",
            f"{why} It is looked for in the current folder and on PYTHONPATH, as module:function.",
            fix,
        )
    return found
