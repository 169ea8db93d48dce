"""The commands `testbed policy`: list, show, explain and diff."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from testbed.cli.terminal import say
from testbed.core.shown import shown

Named = Annotated[str, typer.Argument(help="A policy file, or the name of a built-in one.")]

policy_app = typer.Typer(help="Policies: the built-in ones, all of them examples, and your own.", no_args_is_help=True)


@policy_app.command("list")
def policy_list() -> None:
    """List the built-in policies."""
    from testbed.findings import policy

    say("\n".join(policy.built_in()))


@policy_app.command("show")
def policy_show(name: Annotated[str, typer.Argument(help="A built-in policy.")]) -> None:
    """Print a built-in policy's file, as a start for your own."""
    from testbed.findings import policy

    say(policy.text_of(name), end="")


@policy_app.command("explain")
def policy_explain(name: Named) -> None:
    """Say in words what a policy decides: each limit, what has none, and the waivers."""
    from testbed.findings import policy, policy_words

    for line in policy_words.explained(policy.load(name), datetime.now(UTC).date()):
        say(shown(line))


@policy_app.command("diff")
def policy_diff(one: Named, other: Named) -> None:
    """Say what the second policy decides otherwise than the first, and which is stricter."""
    from testbed.findings import policy, policy_words

    for line in policy_words.differences(policy.load(one), policy.load(other)):
        say(shown(line))
