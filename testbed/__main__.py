"""`python -m testbed`, where the command is not on the path."""

from testbed.cli.commands import main

main()
