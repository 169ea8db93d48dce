"""The frame of every command: its streams, its help, and the exit code and words with which it ends."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import NoReturn, get_type_hints

import click
import typer
from typer.core import TyperArgument
from typer.models import ArgumentInfo

from testbed.cli.terminal import unheard
from testbed.core import user_code
from testbed.core.errors import Exit, RunError, TestbedError, UsageError, missing_extra
from testbed.core.shown import shown

INTERRUPTED = "interrupted; a testbed run that was given --out goes on with --resume and the same --out"
UNHEARD = 141
"""The exit code where a pipe was closed within the work or a help text: a shell's own, and no verdict's."""


def run(app: typer.Typer) -> NoReturn:
    """Run a command and leave with its exit code: an error of the testbed is told in words, and any other is internal.

    typer is asked to raise, not to leave: it would leave with 1, a FAIL's code, for a closed pipe."""
    _streams()
    try:
        code = explained(typer.main.get_command(app))(standalone_mode=False)
    except TestbedError as error:
        _leave(_told(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _leave(f"\n{INTERRUPTED}\n", Exit.INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        _leave(error.format_message() + "\n", Exit.USAGE)
    except click.ClickException as error:
        _leave(_told(_mistyped(error)), Exit.USAGE)
    except SystemExit as left:
        _not_ours(left)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
            _leave(_told(missing), missing.exit_code)
        if os.environ.get("TESTBED_DEBUG"):
            raise
        if where := user_code.where_it_broke(error):
            what = f"Your own code stopped with {type(error).__name__}."
            why = f"It broke in {where}, or in what that line called with what it was given."
            told = RunError("TB-CODE-010", what, why, "Correct it; TESTBED_DEBUG=1 shows the whole traceback.")
            _leave(_told(told), told.exit_code)
        # A traceback may quote a record, so only the kind of the error is told.
        _leave(
            f"TB-INTERNAL-001  The testbed broke: {type(error).__name__}.\n"
            "  why: this is a defect of the testbed, not of your data\n"
            "  fix: please report it; TESTBED_DEBUG=1 shows where (do not share that output: it may quote data)\n",
            Exit.INTERNAL,
        )
    _leave(f"\n{INTERRUPTED}\n" if code == Exit.INTERRUPTED else "", code or Exit.PASS)


def _not_ours(left: SystemExit) -> NoReturn:
    """Leave after an exit that no command asked for; its code would read as a verdict."""
    if isinstance(left.__context__, BrokenPipeError):  # as typer and, in a help text, rich tell of a closed pipe
        unheard(left.__context__)
        _leave("", UNHEARD)
    what = "A program that the testbed called ended the whole process."
    why = "A model, an API or a scenario of your own left by sys.exit, and nothing was decided."
    _leave(_told(RunError("TB-RUN-008", what, why, "Let it raise an error, or return.")), Exit.INTERNAL)


def explained(command: click.Command) -> click.Command:
    """The command with the help of its positional arguments, which typer 0.20 loses with click 8.4 and later."""
    for part in command.commands.values() if isinstance(command, click.Group) else ():
        explained(part)
    hints = get_type_hints(command.callback, include_extras=True) if command.callback else {}
    for parameter in command.params:
        if isinstance(parameter, TyperArgument) and parameter.help is None:
            told = getattr(hints.get(parameter.name or ""), "__metadata__", ())
            parameter.help = next((m.help for m in told if isinstance(m, ArgumentInfo)), None)
    return command


def _streams() -> None:
    """Standard output and error that take any text: one that is closed to nowhere, one of few letters escaped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave(text: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
    raise SystemExit(int(code)) from None


def _mistyped(error: click.ClickException) -> UsageError:
    """What the parser says of a command line, as an error of the testbed."""
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "testbed"
    # typer and click each propose the same names
    what = error.message if isinstance(error, click.exceptions.NoSuchCommand) else error.format_message()
    return UsageError("TB-CLI-005", what, "The command line cannot be read.", f"See {command} --help.")


def _told(error: TestbedError) -> str:
    return f"{shown(error.id)}  {shown(error.what)}\n  why: {shown(error.why)}\n  fix: {shown(error.fix)}\n"
