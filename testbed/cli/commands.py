"""The commands. Results go to standard output, progress to standard error; exit codes are documented."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli import console, project
from testbed.cli.audit_model import audit_model
from testbed.cli.catalogue import KINDS
from testbed.cli.compare import compare
from testbed.cli.describe_table import describe_table
from testbed.cli.evaluate import evaluate
from testbed.cli.policy_ import policy_app
from testbed.cli.proofs import bundle, check, export, report, verify
from testbed.cli.protect import protect
from testbed.cli.range_ import range_app
from testbed.cli.runs import runs
from testbed.cli.scan import scan
from testbed.cli.serve import serve
from testbed.cli.sweep import sweep
from testbed.cli.synthesise import synthesise
from testbed.cli.terminal import (
    EngineOption,
    Json,
    Out,
    PolicyOption,
    Seed,
    choices,
    conclude,
    folder_for,
    progress,
    say,
)
from testbed.cli.typed import command_line
from testbed.core import catalogue as known_names
from testbed.core import user_code
from testbed.core.errors import Exit
from testbed.core.shown import shown

app = typer.Typer(
    name="testbed",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        say(metadata.version("leakage-testbed"))
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
    code: Annotated[
        list[Path] | None,
        typer.Option(help=f"Folder or file with your own attacks, defences and scenarios; or set {user_code.FOLDERS}."),
    ] = None,
) -> None:
    """What does this federation, this model or this synthetic table give away about the people in it, and to whom?"""
    if code:
        os.environ[user_code.FOLDERS] = os.pathsep.join(map(str, code))
    project.begin(context)


app.command()(evaluate)
app.command("audit-model")(audit_model)


@app.command()
def split(
    original: Annotated[Path, typer.Option(help="The whole table, CSV or Parquet, or a folder of linked tables.")],
    out: Annotated[Path, typer.Option(help="Folder for original.* and control.*, or for folders of these names.")],
    person: Annotated[str | None, typer.Option(help="The column that identifies people.")] = None,
    fraction: Annotated[float, typer.Option(help="The share of people held out as the control.")] = 0.5,
    seed: Seed = 0,
) -> None:
    """Hold out a control before synthesising, by person. Synthesise from original.* only."""
    import pandas as pd

    from testbed.data import splits
    from testbed.data.tables import columnar, files, linked

    if original.is_dir() and not columnar.is_one_table(original):
        for path in linked.split_folder(original, out, person, fraction, seed):
            say(shown(path))
        return
    parquet = original.suffix.lower() in files.PARQUET or (original.is_dir() and not files.of_text_parts(original))
    targets = {part: out / f"{part}{'.parquet' if parquet else '.csv'}" for part in ("original", "control")}
    for target in targets.values():
        files.writable(target)
    frame = files.read_file(original, "original", person, say=progress)
    splits.check_person(frame, person)
    rows = pd.DataFrame({"row": range(len(frame)), "person": range(len(frame)) if person is None else frame[person]})
    drawn = splits.split_people(rows, {"control": fraction, "original": 1 - fraction}, "person", seed)
    # Cells are copied as text: no leading zero is lost, and no category called None becomes a missing value.
    whole, separator = files.read_text(original) if files.is_text(original) else (frame, ",")
    parts = {part: whole.iloc[table["row"].tolist()] for part, table in drawn.items()}
    for part, table in parts.items():
        files.write_table(targets[part], table, separator)
    for path in targets.values():
        say(shown(path))


app.command("describe-table")(describe_table)
app.command()(synthesise)
app.command()(protect)


app.command()(report)
app.command()(check)
app.command()(export)
app.command()(verify)
app.command()(bundle)
app.command()(runs)
app.command()(serve)
app.command()(scan)


@app.command()
def schema() -> None:
    """Print the JSON Schema of result.json."""
    from testbed.findings.schema import Result

    say(json.dumps(Result.model_json_schema(by_alias=True), indent=2))


@app.command("list")
def list_(
    kind: Annotated[
        str | None, typer.Argument(show_default="all", metavar=choices(KINDS), help="What is listed.")
    ] = None,
    risk: Annotated[str | None, typer.Option(help="Only attacks on this risk, such as membership.")] = None,
    position: Annotated[
        str | None, typer.Option(metavar=choices(("server", "client", "recipient")), help="Only from this position.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar=choices(("transcript", "model", "release")), help="Only on this subject.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List attacks, scenarios, defences and data sets."""
    from testbed.cli import catalogue

    entries = catalogue.entries(kind, {"risk": risk, "position": position, "subject": subject})
    if json_:
        say(json.dumps(entries, indent=2))
        return
    for entry in entries:
        say(shown(f"{entry['kind']:9} {entry['name']:28} {catalogue.one_line(entry)}"))


@app.command()
def describe(name: Annotated[str, typer.Argument(help="A scenario, an attack, a defence or a data set.")]) -> None:
    """Describe an entry: the attacker's position and knowledge, and the parameters."""
    from testbed.cli import catalogue

    say(shown(catalogue.describe(name), lines=True))


@app.command()
def run(
    name: Annotated[
        str, typer.Argument(help="A scenario (see testbed list scenarios), or your own: file.py, module:function.")
    ],
    s: Annotated[
        list[str] | None, typer.Option("-s", help="A parameter, key=value. The option may be repeated.")
    ] = None,
    seed: Seed = 0,
    engine: EngineOption = None,
    replicates: Annotated[int, typer.Option(help="Runs with different seeds; 5 or more give intervals over runs.")] = 1,
    policy: PolicyOption = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run in the same --out.")] = False,
    out: Out = None,
    json_: Json = False,
) -> None:
    """Run a scenario. There is a verdict only with --policy."""
    from testbed.harness import scenario

    params = scenario.parse(name, s or [])
    registered = scenario.find(name)

    from testbed.findings import policy as policy_
    from testbed.harness.run import run as run_scenario
    from testbed.report import folder as folders
    from testbed.report import store as results
    from testbed.report.inputs import of_scenario, proven

    folder = folder_for(out)
    results.writable(folder)
    # Without --out a run cannot be resumed, because its folder has a new name each time. So nothing is kept.
    store = folder.with_name(f".{folder.name}.resume") if out else None
    if store and not resume:
        folders.forget(store)
    done = run_scenario(
        registered,
        params,
        seed=seed,
        engine=engine,
        policy=policy_.load(policy) if policy else None,
        replicates=replicates,
        store=store,
        progress=progress,
    )
    result = proven(done.result, of_scenario(params), done.outcome.people, command_line())
    results.write(folder, result, done.outcome.evidence, done.outcome.people, done.outcome.files, checked=True)
    if store:
        folders.forget(store)
    conclude(result, folder, json_)


app.command()(sweep)
app.command()(compare)


@app.command()
def replay(
    transcript: Annotated[Path, typer.Argument(help="A recorded transcript.")],
    attack: Annotated[str, typer.Option(help="The attack that reads it, or your own: file.py:name, module:function.")],
    s: Annotated[list[str] | None, typer.Option("-s", help="A parameter of the attack, key=value.")] = None,
    truth: Annotated[Path | None, typer.Option(help="The file truth.npz. Without it nothing is judged.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The model of a foreign transcript: module:factory or file.py:factory.")
    ] = None,
    shape: Annotated[str | None, typer.Option(help="A record's shape, such as 3,32,32, for a foreign model.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="A foreign app's loss: cross_entropy (usual), nll, bce, bce_with_logits, mse, or file.py:function."
        ),
    ] = None,
    range_: Annotated[
        str | None, typer.Option("--range", help="The range of a foreign app's records, such as --range=-1,1.")
    ] = None,
    answers: Annotated[
        str | None,
        typer.Option(
            metavar=choices(("weights", "gradients", "differences")), help="What a foreign app's clients send back."
        ),
    ] = None,
    records: Annotated[
        list[str] | None,
        typer.Option(help="Records of a foreign app: CLIENT=FILE, or ROUND.CLIENT=FILE; see docs/transcript.md."),
    ] = None,
    controls: Annotated[
        Path | None, typer.Option(help="Records of people on whom no client trained. Goes with --records.")
    ] = None,
    auxiliary: Annotated[
        Path | None, typer.Option(help="Records of still other people, which the attacker may hold.")
    ] = None,
    knows: Annotated[
        list[str] | None, typer.Option(help="What the attacker knows besides, such as labels. Goes with --records.")
    ] = None,
    policy: PolicyOption = None,
    seed: Seed = 0,
    out: Out = None,
    json_: Json = False,
) -> None:
    """Attack a recorded federation. Without a truth the claim goes to evidence/ and the exit code is 3.

    A run of the testbed has its truth in a file (--truth). Of your own app, give the records (--records, --controls).
    """
    if not user_code.named(attack):
        known_names.known("attack", attack)  # a misspelt name is an error before anything is loaded

    from testbed.findings import policy as policy_
    from testbed.harness.federation import answered, foreign, owned
    from testbed.harness.federation import replay as replay_
    from testbed.report import store as results
    from testbed.report.inputs import Given, proven

    folder = folder_for(out)
    results.writable(folder)
    done = replay_.replay(
        transcript,
        attack,
        pairs=s or [],
        truth_path=truth,
        owned=owned.given(records or [], controls, auxiliary, knows or []),
        foreign=foreign.Foreign(
            model,
            foreign.shape_of(shape) if shape else (),
            loss,
            foreign.range_of(range_) if range_ else None,
            answered.kind_named(answers) if answers else None,
        ),
        policy=policy_.load(policy) if policy else None,
        seed=seed,
        progress=progress,
    )
    files = {"transcript": transcript, "truth": truth, "controls": controls, "auxiliary": auxiliary}
    given = {role: Given(path.name, path) for role, path in files.items() if path is not None and path.is_file()}
    result = proven(done.result, given, None, command_line())
    results.write(folder, result, done.outcome.evidence, None, done.outcome.files, checked=True)
    conclude(result, folder, json_, unmeasured=Exit.REVIEW)


@app.command()
def doctor(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Self-test of this machine: a planted leak must FAIL, and a clean set must PASS."""
    from testbed.cli import doctor as doctor_

    examined = doctor_.examine(progress)
    say(json.dumps(examined.facts, indent=2) if json_ else doctor_.text(examined))
    raise typer.Exit(Exit.PASS if examined.healthy else Exit.INTERNAL)


app.add_typer(policy_app, name="policy")

data_app = typer.Typer(help="Real data sets that ship inside package wheels.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("list")
def data_list(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the registered data sets, with licence and provenance."""
    list_("data", json_=json_)


@data_app.command("fetch")
def data_fetch(names: Annotated[list[str], typer.Argument(help="Names, or all.")]) -> None:
    """Download, check and cache data sets, and the weights (efficientnet-lite0) that judge pictures."""
    from testbed import data
    from testbed.data.datasets import weights

    for name in [*(d.name for d in data.datasets()), weights.NAME] if names == ["all"] else names:
        if name == weights.NAME:
            say(f"{name}: {weights.fetch() or 'fetched, but the cache cannot be written'}")
            continue
        say(f"{name}: {data.fetch(name) or 'ships with scikit-learn; nothing to fetch'}")


app.add_typer(range_app, name="range")


def main() -> None:
    """The console script."""
    console.run(app)


if __name__ == "__main__":
    main()
