"""The command `testbed audit-model`: which files make which subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from testbed.cli import model_options as options
from testbed.cli.own_output import others_to_stderr
from testbed.cli.terminal import AttackOption, DecidingPolicy, Json, Out, Seed, choices, conclude, folder_for, progress
from testbed.cli.typed import command_line
from testbed.core.errors import UsageError
from testbed.findings import terms

if TYPE_CHECKING:
    import pandas as pd

    from testbed.report.inputs import Given
    from testbed.subjects.predictors.subject import Subject

SHADOWS, QUICK_SHADOWS = 16, 4
PATHS = (
    "model",
    "weights",
    "predictions",
    "shadow_predictions",
    "members",
    "controls",
    "reference",
    "forgotten",
    "cache",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: the value of each option, and the names of those that stood on the command line."""

    value: dict[str, Any]
    given: tuple[str, ...]

    @staticmethod
    def of(context: typer.Context) -> Asked:
        given = [k for k in context.params if getattr(context.get_parameter_source(k), "name", "") == "COMMANDLINE"]
        paths = {k: Path(v) for k, v in context.params.items() if k in PATHS and v is not None}
        return Asked({**context.params, **paths}, tuple(given))

    @property
    def shadows(self) -> int:
        return self.value["shadows"] or (QUICK_SHADOWS if self.value["quick"] else SHADOWS)

    def file(self, name: str, role: str) -> pd.DataFrame:
        """One table. What its reader guessed or left out is printed."""
        from testbed.data.tables import files

        told: dict[str, Any] = {"encoding": self.value["encoding"], "say": progress}
        return files.read_file(self.value[name], role, self.value["person"], **told)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Each table by its role. Raises `UsageError` without members or controls."""
        if self.value["members"] is None or self.value["controls"] is None:
            raise UsageError(
                "TB-SUBJECT-021",
                "--members and --controls are both needed with a model.",
                "An attack counts only for what it does better on people who were used than on others.",
                "Hold people out before training (testbed split does it by person).",
            )
        roles = [role for role in ("members", "controls", "reference", "forgotten") if self.value[role] is not None]
        return {role: self.file(role, role) for role in roles}

    def rules(self) -> dict[str, Any]:
        """How more torch modules like the audited one are trained, as the last arguments of `load.from_factory`."""
        from testbed.core.executor import OnRay
        from testbed.models import ensemble

        options.check_training(self.given, self.value["optimizer"])
        names = ("epochs", "batch_size", "learning_rate", "optimizer", "momentum", "weight_decay")
        rules = ensemble.Training(*(self.value[n] for n in names)) if self.value["epochs"] else None
        spread = OnRay(self.value["ray"]) if self.value["ray"] else None
        return {"training": rules, "cache": self.value["cache"], "progress": progress, "spread": spread}


def audit_model(
    context: typer.Context,
    model: options.ModelFile = None,
    trusted: options.Trusted = False,
    factory: options.Factory = None,
    weights: options.Weights = None,
    api: options.ApiOption = None,
    budget: options.Budget = None,
    outputs: options.Outputs = "auto",
    predictions: options.Predictions = None,
    shadow_predictions: options.ShadowPredictions = None,
    members: options.Members = None,
    controls: options.Controls = None,
    reference: options.Reference = None,
    forgotten: options.Forgotten = None,
    label: options.Label = "label",
    event: options.Event = None,
    person: options.Person = None,
    sample_weights: options.SampleWeights = None,
    encoding: options.Encoding = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = 32,
    learning_rate: options.LearningRate = 0.1,
    optimizer: options.Optimizer = "sgd",
    momentum: options.Momentum = 0.0,
    weight_decay: options.WeightDecay = 0.0,
    cache: options.Cache = None,
    ray: options.RayOption = None,
    secrets: options.Secrets = "",
    attack: AttackOption = None,
    defence: options.DefenceOption = "none",
    shadows: options.Shadows = None,
    quick: options.Quick = False,
    name: Annotated[str, typer.Option(help="What the report calls the model.")] = "model",
    data_class: Annotated[
        str, typer.Option(metavar=choices(get_args(terms.DataClass)), help="Are these real people?")
    ] = "real",
    policy: DecidingPolicy = None,
    seed: Seed = 0,
    out: Out = None,
    json_: Json = False,
) -> None:
    """What does this model give away about the people it was trained on? Membership, and what it stores."""
    from testbed.findings import policy as policy_
    from testbed.findings.assemble import as_data_class
    from testbed.harness.model import audit
    from testbed.harness.model.defended import behind, chosen_defences
    from testbed.report import store
    from testbed.report.inputs import proven

    asked = Asked.of(context)
    check(asked)
    folder = folder_for(out)
    store.writable(folder)
    chosen = policy_.load(policy or policy_.BUILT_IN)
    as_data_class(data_class)
    with others_to_stderr():
        subject, frames = subject_and_tables(asked)
        subject = behind(subject, chosen_defences(defence, data_class), seed)
        result, evidence, people = audit.audit_model(
            subject,
            list(frames.values()),
            name=name,
            person="id" if predictions else person,
            data_class=data_class,
            shadows=asked.shadows,
            quick=quick,
            secrets=[s.strip() for s in secrets.split(",") if s.strip()],
            attack=attack,
            policy=chosen,
            seed=seed,
            progress=progress,
        )
    result = proven(result, given(asked, frames), people, command_line())
    store.write(folder, result, evidence, people, checked=True)
    conclude(result, folder, json_)


def given(asked: Asked, frames: Mapping[str, pd.DataFrame]) -> dict[str, Given]:
    """What was audited, for the report: the tables by role, and the model's file."""
    from testbed.report.inputs import Given

    paths = {role: asked.value.get(role) for role in (*frames, "model", "weights")}
    named = {role: role if path is None else Path(path).name for role, path in paths.items()}
    files = {role: Path(path) for role in ("model", "weights") if (path := paths[role]) and Path(path).is_file()}
    return {role: Given(named[role], content) for role, content in {**frames, **files}.items()}


def check(asked: Asked) -> None:
    """Raises `UsageError` for options that do not go together."""
    ways = [way for way in ("model", "factory", "api", "predictions") if asked.value[way] is not None]
    if len(ways) != 1:
        raise UsageError(
            "TB-SUBJECT-020",
            "There must be exactly one of --model, --factory, --api and --predictions.",
            "Each is a way to say which model is meant.",
            "Leave the others out." if ways else "Give one of them; for a saved model --model FILE.",
        )
    if ways != ["model"]:  # which options act on a file depends on what it holds
        options.check_idle(f"--{ways[0]}", asked.given)
    options.check_attack(asked.given, asked.value["attack"], asked.value["quick"])
    if asked.shadows % 2:
        raise UsageError(
            "TB-SUBJECT-023",
            "--shadows must be even.",
            "Models are trained in pairs, on the two halves of all people.",
            "Use the next even number.",
        )


def subject_and_tables(asked: Asked) -> tuple[Subject, dict[str, pd.DataFrame]]:
    """The audited model with its people, and the tables behind them, which nothing may be quoted from."""
    from testbed.subjects.predictors import load
    from testbed.subjects.predictors.api import Api
    from testbed.subjects.predictors.api import function as api_function

    value = asked.value
    if value["predictions"] is not None:
        frames = {"predictions": asked.file("predictions", "predictions")}
        shadows = asked.file("shadow_predictions", "shadow predictions") if value["shadow_predictions"] else None
        return load.from_predictions(frames["predictions"], shadows), frames
    named = (value["label"], value["person"])
    if value["model"] is not None:
        from testbed.subjects.predictors import model_files

        loaded = model_files.read(value["model"], value["trusted"], progress)
        trains = "" if loaded.trains else " that does not say how it is trained"
        options.check_idle(f"a file of {f'a network{trains}' if loaded.network else 'an estimator'}", asked.given)
        kept = {"cache": asked.value["cache"], "progress": progress}
        rules = (asked.rules() if loaded.trains else None) if loaded.network else kept
        frames = asked.tables()
        outcome = options.outcome(value["label"], value["event"], frames["members"].columns), value["person"]
        subject = load.from_file(loaded, value["outputs"], frames, *outcome, value["sample_weights"], rules)
        options.check_retrained(asked.given, subject.recipe is not None)
        return subject, frames
    frames = asked.tables()
    if value["api"] is not None:
        function = Api(api_function(value["api"]), value["budget"])
        return load.from_api(function, value["outputs"], frames, *named), frames
    from testbed.subjects.predictors.torch_module import torch_factory  # needs torch, as do these models

    build, rules = torch_factory(value["factory"]), asked.rules()
    return load.from_factory(build, value["weights"], value["outputs"], frames, *named, **rules), frames
