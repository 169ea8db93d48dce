"""A user's own code, named `module:function`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def function(name: str) -> Callable[..., Any] | None:
    """The function of that name, importable from the current folder as from anywhere else; None where there is none."""
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception:  # whatever a module that is somebody else's may raise
        return None
    finally:
        if here in sys.path:
            sys.path.remove(here)
    return found if callable(found) else None
