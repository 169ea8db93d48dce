"""The frame of every command: its streams, its help, its exit code, and its error messages."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
import threading
from typing import NoReturn, get_type_hints

import click
import typer
from typer.core import TyperArgument, TyperOption
from typer.models import ArgumentInfo

from testbed.cli.terminal import hush, unheard
from testbed.core import user_code
from testbed.core.errors import Exit, RunError, TestbedError, UsageError, missing_extra
from testbed.core.shown import shown

GO_ON = {
    "run": "to continue a run that had --out, give --resume and the same --out",
    "sweep": "give the same command again: finished cells are kept",
    "audit-model": "give the same command again: with --cache, models that were trained are kept",
}
"""How a command goes on after it was interrupted."""
AGAIN = "an earlier result is as it was; give the same command again"
"""What is said of all other commands."""
UNHEARD = 141
"""The exit code if a pipe was closed during the work or a help text. It is the shell's own code, not a verdict."""


def run(app: typer.Typer) -> NoReturn:
    """Run a command and leave with its exit code.

    An error of the testbed is explained in words. Any other error is internal. typer must raise errors and not leave,
    because it would leave with code 1 for a closed pipe, which is the code of a FAIL.
    """
    _streams()
    _ended_by_a_signal()
    try:
        code = explained(typer.main.get_command(app))(standalone_mode=False, obj=sys.argv[1:])
    except TestbedError as error:
        _leave(_told(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _leave(interrupted(), Exit.INTERRUPTED)
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
        if told := user_code.blamed(error):
            _leave(_told(told), told.exit_code)
        # A traceback may quote a record, so only the type of the error is shown.
        _leave(
            f"TB-INTERNAL-001  The testbed failed: {type(error).__name__}.\n"
            "  why: this is a defect of the testbed, not of your data\n"
            "  fix: please report it; TESTBED_DEBUG=1 shows where (do not share that output: it may quote data)\n",
            Exit.INTERNAL,
        )
    _leave(interrupted() if code == Exit.INTERRUPTED else "", code or Exit.PASS)


def interrupted() -> str:
    """What is said at the end of an interrupted command."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"\ninterrupted; {GO_ON.get(command, AGAIN)}\n"


def _not_ours(left: SystemExit) -> NoReturn:
    """Leave after an exit that no command asked for. Its own code would look like a verdict."""
    if isinstance(left.__context__, BrokenPipeError):  # how typer, and rich in a help text, report a closed pipe
        unheard(left.__context__)
        _leave("", UNHEARD)
    what = "A program that the testbed called ended the whole process."
    why = "Your own model, API or scenario called sys.exit, so nothing was decided."
    _leave(_told(RunError("TB-RUN-008", what, why, "Let it raise an error, or return.")), Exit.INTERNAL)


def explained(command: click.Command) -> click.Command:
    """The command with --quiet, and with the help of positional arguments, which typer 0.20 loses with click 8.4."""
    for part in command.commands.values() if isinstance(command, click.Group) else ():
        explained(part)
    if not isinstance(command, click.Group):
        command.params.append(_quiet())
    hints = get_type_hints(command.callback, include_extras=True) if command.callback else {}
    for parameter in command.params:
        if isinstance(parameter, TyperArgument) and parameter.help is None:
            told = getattr(hints.get(parameter.name or ""), "__metadata__", ())
            parameter.help = next((m.help for m in told if isinstance(m, ArgumentInfo)), None)
    return command


def _quiet() -> click.Option:
    """The option that every command has: no progress, and no other change."""

    def silenced(context: click.Context, parameter: click.Parameter, given: bool) -> None:
        hush(given)

    text = "Print no progress: only the outcome, warnings and errors."
    return TyperOption(param_decls=["--quiet"], is_flag=True, expose_value=False, callback=silenced, help=text)


def _ended_by_a_signal() -> None:
    """SIGTERM, by which batch systems and containers end a command, ends it as Ctrl-C does: with the hint to resume."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)
        _at_fork()


def _stop(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    raise KeyboardInterrupt


@functools.cache
def _at_fork() -> None:
    """A process that this one forks ends by the signal itself. Python would lose one that comes while it is forked."""
    terminating = {signal.SIGTERM}

    def in_child() -> None:
        if signal.getsignal(signal.SIGTERM) is _stop:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, terminating)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, terminating),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, terminating),
        after_in_child=in_child,
    )


def _streams() -> None:
    """Makes standard output and error take any text: a closed one goes nowhere, unknown letters are escaped."""
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
    """The parser's error on a command line, as an error of the testbed."""
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "testbed"
    # typer and click each propose the same names
    what = error.message if isinstance(error, click.exceptions.NoSuchCommand) else error.format_message()
    return UsageError("TB-CLI-005", what, "The command line cannot be read.", f"See {command} --help.")


def _told(error: TestbedError) -> str:
    return f"{shown(error.id)}  {shown(error.what)}\n  why: {shown(error.why)}\n  fix: {shown(error.fix)}\n"
