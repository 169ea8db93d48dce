"""The command line, with one file for each group of commands. `testbed.cli:main` is the console script."""

from __future__ import annotations

from testbed.cli.commands import app as app
from testbed.cli.commands import main as main
