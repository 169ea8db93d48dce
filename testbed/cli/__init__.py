"""The command line: one file a command group. `testbed.cli:main` is the console script."""

from __future__ import annotations

from testbed.cli.commands import app as app
from testbed.cli.commands import main as main
