"""The command `testbed serve`: a folder of results as pages, for this machine alone."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.terminal import progress, say
from testbed.core.shown import shown

LARGEST_PORT = 65535


def serve(
    folder: Annotated[Path, typer.Argument(help="A folder of results.")] = Path("runs"),
    port: Annotated[
        int, typer.Option(min=0, max=LARGEST_PORT, show_default="a free one", help="The port to listen on.")
    ] = 0,
) -> None:
    """Show a folder of results as pages on this machine: list, filter, compare two, open a report. Ctrl-C ends it."""
    from testbed.report import serving
    from testbed.report.server import Results

    with contextlib.suppress(KeyboardInterrupt):  # the usual end, and no interrupted work
        made = Results(folder)
        with serving.listening(port) as at:
            say(f"http://{serving.LOOPBACK}:{at.getsockname()[1]}/{made.token}/")
            progress(f"results of {shown(folder)}, for whoever on this machine has this address; Ctrl-C ends it")
            serving.answer(made.application(), at)
    progress("ended")
