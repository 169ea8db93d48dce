"""testbed range: an exercise with teams, from its start to its debriefing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from testbed.cli.terminal import choices, progress, say
from testbed.core.errors import UsageError, perhaps
from testbed.core.shown import shown

RUNTIMES = ("processes", "containers")
OF_THIS_MACHINE = frozenset({"up", "status", "down", "reset", "compose", "bundle"})
"""The commands that are not run inside a container: they start and stop them."""


class InContainers(TyperGroup):
    """The commands of testbed range. Where an instance is in containers, a command runs in the one that it is for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name not in OF_THIS_MACHINE and "--help" not in rest:
            from testbed.range import containers

            if (code := containers.forwarded(name, rest)) is not None:
                raise typer.Exit(code)
        return name, command, rest


range_app = typer.Typer(
    cls=InContainers,
    help="A cyber-range exercise: a red team attacks a federation, a blue team defends it, and a scorer counts.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(help="The instance.")]
Team = Annotated[int, typer.Option(min=1, help="The team's number.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@range_app.command("up")
def up(
    exercise: Annotated[
        str, typer.Argument(help="An exercise such as gradient-heist, your own folder, or an instance.")
    ],
    name: Annotated[str | None, typer.Option(show_default="the exercise's", help="The instance's name.")] = None,
    teams: Annotated[
        int | None, typer.Option(min=1, max=20, show_default="1", help="Teams, each with a federation of its own.")
    ] = None,
    runtime: Annotated[
        str, typer.Option(metavar=choices(RUNTIMES), help="Containers need Docker or Podman.")
    ] = "processes",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the pages, in containers.")] = 8088,
) -> None:
    """Start an exercise, or start the scorer of an instance again."""
    from testbed.range import containers, play

    if runtime not in RUNTIMES:
        raise UsageError(
            "TB-RANGE-024",
            f"There is no runtime {runtime!r}.",
            "An exercise runs as processes on this machine, or in containers.",
            f"Did you mean one of these? {perhaps(runtime, RUNTIMES)}",
        )
    if runtime == "containers" or containers.find(name or exercise) is not None:
        for line in containers.status(containers.up(exercise, name, teams, port)):
            say(shown(line))
        return
    made = play.up(exercise, name, teams, progress)
    for line in play.status(made):
        say(shown(line))


@range_app.command("status")
def status(name: Annotated[str | None, typer.Argument(show_default="all", help="The instance.")] = None) -> None:
    """Say what runs, where, and which round each team is in."""
    from testbed.range import containers, instance, play

    for one in [name] if name else [*instance.names(), *containers.names()]:
        project = containers.find(one)
        for line in containers.status(project) if project else play.status(instance.find(one)):
            say(shown(line))


@range_app.command("score")
def score(name: Name, json_: JsonOption = False) -> None:
    """Print the score, with the ledger of each team."""
    from testbed.range import desk, instance, play

    text = desk.Desk(instance.find(name), "white").score()
    say(text, end="") if json_ else say(shown(play.scoreboard(json.loads(text)), lines=True))


@range_app.command("rescore")
def rescore(name: Name, json_: JsonOption = False) -> None:
    """Judge every claim again from the log and the truth, and print the score. The scorer need not run."""
    from testbed.range import instance, play, scorer

    text = scorer.rescored(instance.find(name))
    say(text, end="") if json_ else say(shown(play.scoreboard(json.loads(text)), lines=True))


@range_app.command("attack")
def attack(
    name: Name,
    attack: Annotated[str, typer.Argument(help="An attack on transcripts; see testbed list attacks.")],
    round_: Annotated[int, typer.Option("--round", min=1, help="The round, or the candidate release.")],
    team: Team = 1,
    columns: Annotated[
        str, typer.Option(show_default="all", help="Columns of a release that are compared, separated by commas.")
    ] = "",
) -> None:
    """Red: run an attack on a round that was seen. Pictures, or scores of the named people, go to loot/."""
    from testbed.range import instance, loot

    compared = [c.strip() for c in columns.split(",") if c.strip()]
    for path in loot.attack(instance.find(name), team, round_, attack, compared):
        say(shown(path))


@range_app.command("claim")
def claim(
    name: Name,
    kind: Annotated[
        str, typer.Argument(help="flag, reconstruction, membership or count; blue: detection or decision.")
    ],
    what: Annotated[
        str, typer.Argument(help="The flag; the file of loot/ (.npz, .csv); the technique; release or hold.")
    ],
    team: Team = 1,
    round_: Annotated[int | None, typer.Option("--round", min=1, help="The round. A file of loot/ says it.")] = None,
    hospital: Annotated[str | None, typer.Option(help="The hospital of a reconstruction.")] = None,
    item: Annotated[int, typer.Option(min=0, help="Which picture of the file, from 0 on.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="The report behind a decision: a folder of testbed evaluate.")
    ] = None,
) -> None:
    """Claim something before the scorer, which answers yes or no. Wrong claims cost points."""
    from testbed.range import instance, loot

    say(
        "yes" if loot.claim(instance.find(name), team, kind, what, loot.Where(round_, hospital, item, report)) else "no"
    )


@range_app.command("defend")
def defend(
    name: Name,
    defence: Annotated[str, typer.Argument(help="Defences as in topk:0.1+gaussian:0.5, or none.")],
    guards: Annotated[str, typer.Option(help="Guards, separated by commas; see testbed list guards.")] = "",
    team: Team = 1,
) -> None:
    """Blue: switch defences and guards from the next round on."""
    from testbed.range import instance, play

    play.defend(instance.find(name), team, defence, tuple(filter(None, map(str.strip, guards.split(",")))))
    say("from the next round on")


@range_app.command("inject")
def inject(
    name: Name,
    what: Annotated[
        str, typer.Argument(metavar=choices(("round", "swap-model", "drop", "hint")), help="What happens.")
    ],
    value: Annotated[str | None, typer.Argument(help="The attack of swap-model, or the hospital to drop.")] = None,
    team: Annotated[int | None, typer.Option(min=1, show_default="all", help="The team's number.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            show_default="in-process, or with hospitals in containers: deployment",
            help="in-process; or deployment: each hospital is a SuperNode, over real messages.",
        ),
    ] = None,
) -> None:
    """White: play the next round, let the coordinator change the model in it, drop a hospital, or give a hint."""
    from testbed.range import instance, play

    for line in play.inject(instance.find(name), what, value, team, progress, engine):
        say(shown(line))


@range_app.command("snapshot")
def snapshot(name: Name) -> None:
    """Keep the whole instance as one file."""
    from testbed.range import instance, snapshots

    say(shown(snapshots.snapshot(instance.find(name))))


@range_app.command("reset")
def reset(
    name: Name, to: Annotated[Path | None, typer.Option(help="A snapshot. Without it everything is new.")] = None
) -> None:
    """Start over: new people, new flags, new secrets, a newly trained model; or as it was in a snapshot."""
    from testbed.range import containers, instance, play, snapshots

    if (project := containers.find(name)) is not None:
        if to is not None:
            raise UsageError(
                "TB-RANGE-064",
                "An instance in containers is not reset to a snapshot.",
                "Its volumes cannot be exchanged while it runs.",
                "Leave --to out, and everything is new.",
            )
        for line in containers.status(containers.reset(project)):
            say(shown(line))
        return
    for line in play.status(snapshots.reset(instance.find(name), progress, to)):
        say(shown(line))


@range_app.command("down")
def down(name: Name, remove: Annotated[bool, typer.Option(help="Delete the instance's folder too.")] = False) -> None:
    """Stop the scorer. The folder stays, for rescore and report."""
    from testbed.range import containers, instance, play

    if (project := containers.find(name)) is not None:
        say("stopped" if containers.down(project, remove) else "the engine could not stop it")
        return
    say("stopped" if play.down(instance.find(name), remove) else "nothing ran")


@range_app.command("compose")
def compose(exercise: Annotated[str, typer.Argument(help="An exercise such as gradient-heist.")]) -> None:
    """Print the compose file of an exercise: what --runtime containers starts."""
    from testbed.range import composed, containers
    from testbed.range import exercise as exercises

    say(composed.text(composed.compose(composed.read(containers.base()), exercises.load(exercise))), end="")


bundle_app = typer.Typer(
    help="An exercise in containers as one file, for a host without a network.", no_args_is_help=True
)
range_app.add_typer(bundle_app, name="bundle")


@bundle_app.command("save")
def bundle_save(
    file: Annotated[Path, typer.Argument(help="The new file, such as heist.tar.")],
    exercise: Annotated[str, typer.Option(help="The exercise.")] = "gradient-heist",
) -> None:
    """Write images, compose files and pages into one file, with a checksum for each."""
    from testbed.range import bundles

    made = bundles.save(file, exercise)
    say(shown(f"{made.place}: {made.exercise}, {made.place.stat().st_size >> 20} MiB"))
    say(f"fingerprint {made.fingerprint}")


@bundle_app.command("load")
def bundle_load(
    file: Annotated[Path, typer.Argument(help="The file of bundle save.")],
    to: Annotated[Path, typer.Option(help="The new folder for compose files and pages.")],
    fingerprint: Annotated[
        str | None, typer.Option(show_default="not compared", help="What bundle save printed.")
    ] = None,
) -> None:
    """Check each checksum, give the images to Docker or Podman, and say how to start."""
    from testbed.range import bundles

    made = bundles.load(file, to, fingerprint)
    say(f"fingerprint {made.fingerprint}")
    for line in bundles.commands(made):
        say(shown(line))


@range_app.command("export")
def export(
    name: Name,
    to: Annotated[
        str,
        typer.Option(
            metavar=choices(("ctfd", "kypo", "ocr-sdl", "cacao")), help="The format; cacao is a playbook for blue."
        ),
    ],
    team: Team = 1,
    out: Annotated[Path | None, typer.Option(show_default="NAME/white/export", help="Folder for the files.")] = None,
) -> None:
    """White: write the exercise of a team for another platform. The files hold its flags and solutions."""
    from testbed.range import exports, instance

    for path in exports.write(instance.find(name), to, team, out):
        say(shown(path))


@range_app.command("report")
def report(
    name: Name,
    out: Annotated[
        Path | None, typer.Option(show_default="NAME/report", help="Folder for share/ and evidence/.")
    ] = None,
) -> None:
    """Write the after-action report: what happened, who scored for what, what was noticed."""
    from testbed.range import after_action, instance

    say(shown(after_action.write(instance.find(name), out)))
