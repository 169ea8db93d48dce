"""The command `testbed audit-model`: its options, and which files make which subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.own_output import others_to_stderr
from testbed.cli.terminal import AttackOption, Json, Out, PolicyOption, Seed, conclude, folder_for, progress
from testbed.core.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from testbed.subjects.predictors.subject import Subject

ApiOption = Annotated[
    str | None,
    typer.Option(help="module:function, or file.py:function, that answers an array of records with a number a class."),
]
PredictionsOption = Annotated[
    Path | None,
    typer.Option(help="CSV or Parquet: id, arm (member or control), label, and p_0, p_1, ... or prediction."),
]


@dataclass(frozen=True, slots=True)
class Way:
    """Which model is meant, in one of four ways, and what it says when it is asked."""

    model: Path | None
    factory: str | None
    weights: Path | None
    api: str | None
    budget: int | None
    outputs: str
    predictions: Path | None


@dataclass(frozen=True, slots=True)
class Tables:
    """The files of the people, and the columns that are no inputs of the model."""

    members: Path | None
    controls: Path | None
    reference: Path | None
    label: str
    person: str | None
    weights: str | None = None
    encoding: str | None = None

    def read(self) -> dict[str, pd.DataFrame]:
        """Each table by its role. Raises `UsageError` without members or controls."""
        if self.members is None or self.controls is None:
            raise UsageError(
                "TB-SUBJECT-021",
                "--members and --controls are both needed with a model.",
                "An attack counts only for what it does better on people who were used than on others.",
                "Hold people out before training (testbed split does it by person).",
            )
        paths = {"members": self.members, "controls": self.controls}
        paths |= {"reference": self.reference} if self.reference else {}
        return {role: self.file(path, role) for role, path in paths.items()}

    def file(self, path: Path, role: str) -> pd.DataFrame:
        """One table. What its reader guessed or left out is printed."""
        from testbed.data.tables import files

        return files.read_file(path, role, self.person, encoding=self.encoding, say=progress)


@dataclass(frozen=True, slots=True)
class Training:
    """How a torch module was trained, if `epochs` say so, and where more such modules are trained and kept."""

    epochs: int | None
    batch_size: int
    learning_rate: float
    optimizer: str
    momentum: float
    weight_decay: float
    cache: Path | None
    ray: str | None


def audit_model(
    model: Annotated[
        Path | None, typer.Option(help="A scikit-learn estimator (joblib). Loading it runs its code: only your own.")
    ] = None,
    factory: Annotated[
        str | None, typer.Option(help="module:function, or file.py:function, that returns a torch module.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="That module's state_dict, written by torch.save.")] = None,
    api: ApiOption = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Of an API: how many records may be asked about.")] = None,
    outputs: Annotated[
        str, typer.Option(help="Of a torch module or API: logits, probabilities, number, or auto.")
    ] = "auto",
    predictions: PredictionsOption = None,
    members: Annotated[Path | None, typer.Option(help="The people it was trained on, CSV or Parquet.")] = None,
    controls: Annotated[Path | None, typer.Option(help="People like them whom it was not trained on.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Further people, the attacker's own; with them a blind cell is possible.")
    ] = None,
    label: Annotated[str, typer.Option(help="The column with the class, or the number.")] = "label",
    person: Annotated[str | None, typer.Option(help="The column that identifies people.")] = None,
    sample_weights: Annotated[
        str | None, typer.Option(help="The column of the weights with which a scikit-learn estimator was trained.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="The encoding of text files, such as cp1250.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of a torch module: how it was trained, so that more can be.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="The training's batch size.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Its learning rate.")] = 0.1,
    optimizer: Annotated[str, typer.Option(help="Its optimiser: sgd, adam or adamw.")] = "sgd",
    momentum: Annotated[float, typer.Option(help="Its momentum, of sgd.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="Its weight decay.")] = 0.0,
    cache: Annotated[Path | None, typer.Option(help="A folder that keeps shadow models, to go on later.")] = None,
    ray: Annotated[
        str | None, typer.Option(help="Train them on the Ray cluster at this host:port, or on a local one.")
    ] = None,
    secrets: Annotated[
        str, typer.Option(help="Inputs that are secret, by commas; else those with the fewest values.")
    ] = "",
    attack: AttackOption = None,
    shadows: Annotated[int, typer.Option(min=4, help="Models that the attacker trains, an even number.")] = 16,
    name: Annotated[str, typer.Option(help="What the report calls the model.")] = "model",
    data_class: Annotated[str, typer.Option(help="real, public or synthetic.")] = "real",
    policy: PolicyOption = None,
    seed: Seed = 0,
    out: Out = None,
    json_: Json = False,
) -> None:
    """What does this model give away about the people it was trained on? Membership, and what it stores."""
    from testbed.findings import policy as policy_
    from testbed.findings.assemble import as_data_class
    from testbed.harness.model import audit
    from testbed.report import store

    way = Way(model, factory, weights, api, budget, outputs, predictions)
    tables = Tables(members, controls, reference, label, person, sample_weights, encoding)
    training = Training(epochs, batch_size, learning_rate, optimizer, momentum, weight_decay, cache, ray)
    check(way, tables, training, secrets, shadows)
    folder = folder_for(out)
    store.writable(folder)
    chosen = policy_.load(policy or policy_.BUILT_IN)
    as_data_class(data_class)
    with others_to_stderr():
        subject, frames = subject_and_tables(way, tables, training)
        result, evidence, people = audit.audit_model(
            subject,
            list(frames.values()),
            name=name,
            person="id" if predictions else person,
            data_class=data_class,
            shadows=shadows,
            secrets=[s.strip() for s in secrets.split(",") if s.strip()],
            attack=attack,
            policy=chosen,
            seed=seed,
            progress=progress,
        )
    store.write(folder, result, evidence, people, checked=True)
    conclude(result, folder, json_)


def check(way: Way, tables: Tables, training: Training, secrets: str, shadows: int) -> None:
    """Raises `UsageError` for options that do not go together."""
    if sum(given is not None for given in (way.model, way.factory, way.api, way.predictions)) != 1:
        raise UsageError(
            "TB-SUBJECT-020",
            "There must be exactly one of --model, --factory, --api and --predictions.",
            "Each is a way to say which model is meant.",
            "Leave the others out.",
        )
    told: dict[str, object] = {"members": tables.members, "controls": tables.controls, "reference": tables.reference}
    told |= {"person": tables.person, "weights": way.weights, "epochs": training.epochs, "cache": training.cache}
    told |= {"ray": training.ray, "budget": way.budget, "secrets": secrets or None}
    told["label"] = tables.label if tables.label != "label" else None
    if way.predictions is not None and (idle := [f"--{name}" for name, value in told.items() if value is not None]):
        raise UsageError(
            "TB-SUBJECT-035",
            f"{' and '.join(idle)} {'say' if len(idle) > 1 else 'says'} nothing beside --predictions.",
            "That table holds all there is: who was used, the label, and what the model said.",
            "Leave out what does not concern it; name its columns id, arm, label and p_0, p_1, ... or prediction.",
        )
    if shadows % 2:
        raise UsageError(
            "TB-SUBJECT-023",
            "--shadows must be even.",
            "Models are trained in pairs, on the two halves of all people.",
            "Use the next even number.",
        )


def subject_and_tables(way: Way, tables: Tables, training: Training) -> tuple[Subject, dict[str, pd.DataFrame]]:
    """The audited model with its people, and the tables behind them, which nothing may be quoted from."""
    from testbed.subjects.predictors import estimator, load
    from testbed.subjects.predictors.api import Api
    from testbed.subjects.predictors.api import function as api_function

    if way.predictions is not None:
        frames = {"predictions": tables.file(way.predictions, "predictions")}
        return load.from_predictions(frames["predictions"]), frames
    frames = tables.read()
    if way.model is not None:
        made = estimator.estimator(way.model)
        return load.from_estimator(made, frames, tables.label, tables.person, tables.weights), frames
    if way.api is not None:
        asked = Api(api_function(way.api), way.budget)
        return load.from_api(asked, way.outputs, frames, tables.label, tables.person), frames
    return _torch_subject(way, tables, training, frames), frames


def _torch_subject(way: Way, tables: Tables, training: Training, frames: dict[str, pd.DataFrame]) -> Subject:
    from testbed.core.executor import OnRay
    from testbed.models import ensemble  # needs torch, as do these models
    from testbed.subjects.predictors import load
    from testbed.subjects.predictors.torch_module import torch_factory

    assert way.factory is not None
    rules = None
    if training.epochs:
        rules = ensemble.Training(
            training.epochs,
            training.batch_size,
            training.learning_rate,
            training.optimizer,
            training.momentum,
            training.weight_decay,
        )
    return load.from_factory(
        torch_factory(way.factory),
        way.weights,
        way.outputs,
        frames,
        tables.label,
        tables.person,
        rules,
        training.cache,
        progress,
        OnRay(training.ray) if training.ray else None,
    )
