"""The command `testbed audit-model`: its options, and which files make which subject."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.terminal import Json, Out, PolicyOption, Seed, conclude, folder_for, progress
from testbed.core.errors import UsageError


def audit_model(
    model: Annotated[
        Path | None, typer.Option(help="A scikit-learn estimator (joblib). Loading it runs its code: only your own.")
    ] = None,
    factory: Annotated[
        str | None, typer.Option(help="module:function, or file.py:function, that returns a torch module.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="That module's state_dict, written by torch.save.")] = None,
    api: Annotated[
        str | None,
        typer.Option(
            help="module:function, or file.py:function, that answers an array of records with a number a class."
        ),
    ] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Of an API: how many records may be asked about.")] = None,
    outputs: Annotated[
        str, typer.Option(help="Of a torch module or API: logits, probabilities, number, or auto.")
    ] = "auto",
    predictions: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet: id, arm (member or control), label, and p_0, p_1, ... or prediction."),
    ] = None,
    members: Annotated[Path | None, typer.Option(help="The people it was trained on, CSV or Parquet.")] = None,
    controls: Annotated[Path | None, typer.Option(help="People like them whom it was not trained on.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Further people, the attacker's own; with them a blind cell is possible.")
    ] = None,
    label: Annotated[str, typer.Option(help="The column with the class, or the number.")] = "label",
    person: Annotated[str | None, typer.Option(help="The column that tells people apart.")] = None,
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
    shadows: Annotated[int, typer.Option(min=4, help="Models that the attacker trains, an even number.")] = 16,
    name: Annotated[str, typer.Option(help="What the report calls the model.")] = "model",
    data_class: Annotated[str, typer.Option(help="real, public or synthetic.")] = "real",
    policy: PolicyOption = None,
    seed: Seed = 0,
    out: Out = None,
    json_: Json = False,
) -> None:
    """What does this model give away about the people it was trained on? Membership, and what it stores."""
    from testbed.core.executor import OnRay
    from testbed.data.tables import files
    from testbed.findings import policy as policy_
    from testbed.findings.assemble import as_data_class
    from testbed.harness.model import audit
    from testbed.report import store
    from testbed.subjects.predictors import estimator, load
    from testbed.subjects.predictors.api import Api
    from testbed.subjects.predictors.api import function as api_function
    from testbed.subjects.predictors.torch_module import torch_factory

    if sum(way is not None for way in (model, factory, api, predictions)) != 1:
        raise UsageError(
            "TB-SUBJECT-020",
            "There must be exactly one of --model, --factory, --api and --predictions.",
            "Each is a way to say which model is meant.",
            "Leave the others out.",
        )
    told = {"members": members, "controls": controls, "reference": reference, "person": person, "weights": weights}
    told |= {"epochs": epochs, "cache": cache, "ray": ray, "budget": budget, "secrets": secrets or None}
    told["label"] = label if label != "label" else None
    if predictions is not None and (idle := [f"--{name}" for name, value in told.items() if value is not None]):
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
    folder = folder_for(out)
    store.writable(folder)
    chosen = policy_.load(policy or policy_.BUILT_IN)
    as_data_class(data_class)
    if predictions is not None:
        frames = {"predictions": files.read_file(predictions, "predictions")}
        subject, person = load.from_predictions(frames["predictions"]), "id"
    else:
        if members is None or controls is None:
            raise UsageError(
                "TB-SUBJECT-021",
                "--members and --controls are both needed with a model.",
                "An attack counts only for what it does better on people who were used than on others.",
                "Hold people out before training (testbed split does it by person).",
            )
        paths = {"members": members, "controls": controls} | ({"reference": reference} if reference else {})
        frames = {role: files.read_file(path, role, person) for role, path in paths.items()}
        if model is not None:
            subject = load.from_estimator(estimator.estimator(model), frames, label, person)
        elif api is not None:
            subject = load.from_api(Api(api_function(api), budget), outputs, frames, label, person)
        else:
            from testbed.models.ensemble import Training  # needs torch, as do these models

            assert factory is not None
            rules = Training(epochs, batch_size, learning_rate, optimizer, momentum, weight_decay) if epochs else None
            spread = OnRay(ray) if ray else None
            build = torch_factory(factory)
            subject = load.from_factory(build, weights, outputs, frames, label, person, rules, cache, progress, spread)
    result, evidence, people = audit.audit_model(
        subject,
        list(frames.values()),
        name=name,
        person=person,
        data_class=data_class,
        shadows=shadows,
        secrets=[s.strip() for s in secrets.split(",") if s.strip()],
        policy=chosen,
        seed=seed,
        progress=progress,
    )
    store.write(folder, result, evidence, people, checked=True)
    conclude(result, folder, json_)
