"""Runs a scenario's file as a script."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.harness.scenario import Registered


def main(registered: Registered) -> None:
    """Run a scenario's file as a script: `python scenarios/NAME.py -s key=value`."""
    from testbed.cli import main as command_line

    sys.argv[1:1] = ["run", registered.name]
    command_line()
