"""The command `testbed evaluate`: its options, the reading of its tables, and mistakes that are seen at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import click
import typer

from testbed.cli import project
from testbed.cli.planned import print_plan
from testbed.cli.terminal import AttackOption, DecidingPolicy, Json, Out, Seed, choices, conclude, folder_for, progress
from testbed.cli.typed import command_line
from testbed.findings import terms
from testbed.harness.release.meta_file import MetaFile

Original = Annotated[
    Path | None,
    typer.Option(show_default="needed", help="The original table, a file or a folder (docs/evaluate.md)."),
]
Synthetic = Annotated[Path | None, typer.Option(show_default="needed", help="The synthetic table to be released.")]
Control = Annotated[
    Path | None, typer.Option(help="People like the original's, held out before synthesising (testbed split).")
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(show_default="every column", help="Columns that the attacker predicts, a,b. May be repeated."),
]
Link = Annotated[
    list[str] | None,
    typer.Option(help="Two sets of columns to link, a,b:c,d. May be repeated; the first pair decides."),
]
PersonOption = Annotated[str | None, typer.Option(help="The column that identifies people.")]
MetaOption = Annotated[
    Path | None, typer.Option(help="A YAML file with the kinds of columns and more (docs/evaluate.md).")
]
DataClass = Annotated[
    str | None,
    typer.Option(show_default="real", metavar=choices(get_args(terms.DataClass)), help="Are these real people?"),
]
Instrument = Annotated[
    str, typer.Option(metavar=choices(("testbed", "anonymeter")), help="With anonymeter, its own figures are added.")
]
Attacks = Annotated[int | None, typer.Option(show_default="2000 people, 6000 predicates", help="Guesses per attack.")]
RayOption = Annotated[
    str | None, typer.Option(help="Search the rows on the Ray cluster at this host:port, or on a local one.")
]
PlanOption = Annotated[
    str | None,
    typer.Option(
        metavar="N,M,K",
        help="Run nothing; print what N people in the original, M released rows and K held out would catch.",
    ),
]


def evaluate(
    original: Original = None,
    synthetic: Synthetic = None,
    control: Control = None,
    secrets: Secrets = None,
    link: Link = None,
    person: PersonOption = None,
    meta: MetaOption = None,
    data_class: DataClass = None,
    instrument: Instrument = "testbed",
    attack: AttackOption = None,
    attacks: Attacks = None,
    ray: RayOption = None,
    policy: DecidingPolicy = None,
    plan: PlanOption = None,
    seed: Seed = 0,
    out: Out = None,
    json_: Json = False,
) -> None:
    """May this synthetic table be released? All risks are measured against a control."""
    if plan is not None:
        print_plan(plan, policy, json_)
        return
    control = _own_control(control)
    if original is None or synthetic is None:
        raise typer.BadParameter("It is missing.", param_hint="--original" if original is None else "--synthetic")
    from testbed.core.executor import over
    from testbed.data.datasets import load
    from testbed.findings import policy as policy_
    from testbed.harness.release import evaluate as evaluation
    from testbed.harness.release import evaluations, examine, mistakes
    from testbed.report import store as results
    from testbed.report.inputs import Given, proven

    folder = folder_for(out)
    results.writable(folder)
    spread = over(ray)
    told = MetaFile.read(meta) if meta else MetaFile()
    chosen = policy_.load(policy or policy_.BUILT_IN)
    examine.check_instrument(instrument)
    paths = {"original": original, "synthetic": synthetic} | ({"control": control} if control else {})
    mistakes.of_paths(paths, progress)
    read = _read(paths, told, person or told.person)
    mistakes.of_tables(read["frames"], person or told.person, progress)
    if (data_class or told.data_class or "real") == "real":
        _typed(read, told, chosen, person or told.person)
    named = _named(read, secrets or told.secrets, link or told.link)
    for note in read["notes"]:
        progress(note)
    done = evaluation.evaluate(
        read["frames"]["original"],
        read["frames"]["synthetic"],
        read["frames"].get("control"),
        name=told.name or "synthetic table",
        person=person or told.person,
        kinds=read["linked"].kinds(told.columns) if read["linked"] else told.columns,
        maps=told.map,
        data_class=data_class or told.data_class or "real",
        licence=told.licence,
        attacks=attacks,
        attack=attack,
        policy=chosen,
        seed=seed,
        instrument=instrument,
        spread=spread,
        progress=progress,
        raw=read["raw"],
        notes=read["notes"],
        **named,
    )
    done = done.counted(load.cache_folder())
    for warning in evaluations.warnings(done.result.disclosure):
        progress(f"warning: {warning}")
    given = {role: Given(path.name, read["frames"][role]) for role, path in paths.items()}
    result = proven(done.result, given, done.people, command_line())
    results.write(folder, result, done.evidence, done.people, checked=True)
    conclude(result, folder, json_)


def _typed(read: dict[str, Any], told: MetaFile, policy: Any, person: str | None) -> None:
    """Raises `DisclosureError` before the work if a text that goes into the report tells of a person."""
    from testbed.core.disclosure import People
    from testbed.report import gate

    frames = [f for role, f in read["frames"].items() if role != "synthetic"] + list(read["raw"])
    texts = {"name in the meta file": told.name, "licence in the meta file": told.licence, "policy's id": policy.id}
    texts |= {
        "policy's basis": policy.basis,
        "policy's waivers": "\n".join(f"{w.name}\n{w.reason}" for w in policy.waivers),
    }
    gate.typed({k: v for k, v in texts.items() if v}, People(frames, person), policy.min_cell)


def _own_control(control: Path | None) -> Path | None:
    """The control, unless it is the project's and the original is another one: they belong together."""
    if settings := project.current().told():
        used = [f"{name} ({settings[name]})" for name in settings if project.from_project(name)]
        progress(f"from the project: {', '.join(used) or 'nothing'}")
    apart = not project.from_project("original") or project.current().apart()
    if control is None or not project.from_project("control") or not apart:
        return control
    progress(
        "warning: the project's control is not used, because it belongs to another original; name one with --control"
    )
    click.get_current_context().params["control"] = None
    return None


def _read(paths: Mapping[str, Path], told: MetaFile, person: str | None) -> dict[str, Any]:
    """The tables by role, the linked tables behind them with their link, and notes of the readers."""
    from testbed.data.tables import columnar, files, linked

    if any(path.is_dir() and not columnar.is_one_table(path) for path in paths.values()):
        several = linked.read_folders(paths, person)
        return {"frames": several.frames, "raw": several.raw, "linked": several, "notes": []}
    notes: list[str] = []
    read = partial(files.read_file, encoding=told.encoding, say=notes.append)
    frames = {role: read(path, role, person) for role, path in paths.items()}
    return {"frames": frames, "raw": [], "linked": None, "notes": notes}


def _named(read: dict[str, Any], secrets: Any, link: Any) -> dict[str, Any]:
    """The secrets and the links, read against the original's columns."""
    from testbed.data.tables import linked
    from testbed.harness.release import column_names

    columns = [str(c) for c in read["frames"]["original"].columns]
    links = column_names.links(link, columns)
    if read["linked"] is not None:
        links = linked.chosen_links(links, read["linked"])
    return {"secrets": column_names.secrets(secrets, columns), "links": links}
