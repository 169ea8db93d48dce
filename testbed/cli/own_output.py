"""Standard output that belongs to the command alone, whatever the libraries below it print."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Generator


@contextlib.contextmanager
def others_to_stderr() -> Generator[None]:
    """Within this block, all that is written to standard output goes to standard error, also by code in C.

    Models print while they are trained or asked (LightGBM, CatBoost, `verbose=True`), and `--json` must stay JSON.
    """
    sys.stdout.flush()
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as at_end:
        try:
            kept = os.dup(1)
            os.dup2(2, 1)
        except OSError:  # a process without standard output
            yield
            return
        at_end.callback(os.close, kept)
        at_end.callback(os.dup2, kept, 1)
        at_end.callback(_flush)
        yield


def _flush() -> None:
    """Writes what C code still holds back, before standard output is the command's again."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).fflush(None)
