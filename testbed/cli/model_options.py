"""The options of `testbed audit-model` in groups, and which of them act on which kind of model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from testbed.core.errors import UsageError

MODEL, PEOPLE, TRAINING, ATTACKER = (
    "The model (one of --model, --factory, --api, --predictions)",
    "The people",
    "How a torch module was trained",
    "The attacker",
)

ModelFile = Annotated[
    Path | None,
    typer.Option(
        help="A file: joblib, pickle, skops, ONNX, XGBoost, LightGBM, CatBoost, TorchScript, torch.export.",
        rich_help_panel=MODEL,
    ),
]
Trusted = Annotated[
    bool,
    typer.Option(
        "--trusted",
        help="Loading pickles, joblib and torch modules runs their code: you trust it.",
        rich_help_panel=MODEL,
    ),
]
Factory = Annotated[
    str | None,
    typer.Option(help="module:function, or file.py:function, that returns a torch module.", rich_help_panel=MODEL),
]
Weights = Annotated[
    Path | None,
    typer.Option(help="Its weights: a state_dict, a checkpoint that holds one, or safetensors.", rich_help_panel=MODEL),
]
ApiOption = Annotated[
    str | None,
    typer.Option(
        help="module:function, or file.py:function, that answers an array of records with a number a class.",
        rich_help_panel=MODEL,
    ),
]
Budget = Annotated[
    int | None, typer.Option(min=1, help="Of an API: how many records may be asked about.", rich_help_panel=MODEL)
]
Outputs = Annotated[
    Literal["auto", "logits", "probabilities", "number"],
    typer.Option(help="The kind of the outputs of a torch module, an ONNX network or an API.", rich_help_panel=MODEL),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        help="CSV or Parquet: id, arm (member or control), label, and p_0, p_1, ... or prediction.",
        rich_help_panel=MODEL,
    ),
]
ShadowPredictions = Annotated[
    Path | None,
    typer.Option(
        help="Beside --predictions: answers of shadow models trained elsewhere: id, shadow, used, and p_0, p_1, ...",
        rich_help_panel=MODEL,
    ),
]
Members = Annotated[
    Path | None, typer.Option(help="The people it was trained on, CSV or Parquet.", rich_help_panel=PEOPLE)
]
Controls = Annotated[
    Path | None, typer.Option(help="People like them whom it was not trained on.", rich_help_panel=PEOPLE)
]
Reference = Annotated[
    Path | None,
    typer.Option(
        help="Further people, the attacker's own; with them a blind cell is possible.", rich_help_panel=PEOPLE
    ),
]
Forgotten = Annotated[
    Path | None,
    typer.Option(
        help="People it was trained on once, and whom it should have forgotten: do they still show?",
        rich_help_panel=PEOPLE,
    ),
]
Label = Annotated[
    str,
    typer.Option(
        help="The column with the class, the number, or the time. Several labels: by commas.",
        rich_help_panel=PEOPLE,
    ),
]
Event = Annotated[
    str | None,
    typer.Option(
        help="Of a model of survival times: the column with 1 if the event happened at the time in --label, else 0.",
        rich_help_panel=PEOPLE,
    ),
]
Person = Annotated[str | None, typer.Option(help="The column that identifies people.", rich_help_panel=PEOPLE)]
SampleWeights = Annotated[
    str | None,
    typer.Option(
        help="The column of the weights with which a scikit-learn estimator was trained.", rich_help_panel=PEOPLE
    ),
]
Encoding = Annotated[
    str | None, typer.Option(help="The encoding of text files, such as cp1250.", rich_help_panel=PEOPLE)
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="How long; with it, more such modules are trained.", rich_help_panel=TRAINING)
]
BatchSize = Annotated[int, typer.Option(min=1, help="The batch size.", rich_help_panel=TRAINING)]
LearningRate = Annotated[float, typer.Option(help="The learning rate.", rich_help_panel=TRAINING)]
Optimizer = Annotated[Literal["sgd", "adam", "adamw"], typer.Option(help="The optimiser.", rich_help_panel=TRAINING)]
Momentum = Annotated[float, typer.Option(help="The momentum, of sgd.", rich_help_panel=TRAINING)]
WeightDecay = Annotated[float, typer.Option(help="The weight decay.", rich_help_panel=TRAINING)]
Cache = Annotated[
    Path | None, typer.Option(help="A folder that keeps shadow models, or their answers.", rich_help_panel=ATTACKER)
]
RayOption = Annotated[
    str | None,
    typer.Option(help="Train them on the Ray cluster at this host:port, or on a local one.", rich_help_panel=TRAINING),
]
Secrets = Annotated[
    str,
    typer.Option(
        help="Inputs that are secret, by commas; else those with the fewest values.", rich_help_panel=ATTACKER
    ),
]
DefenceOption = Annotated[
    str,
    typer.Option(
        help="Defences of its answers, put before it for this audit: round:1, top1, temperature:4, memguard, "
        "query_budget:1000. Attackers know them.",
        rich_help_panel=ATTACKER,
    ),
]
Shadows = Annotated[
    int | None,
    typer.Option(
        min=4, help="Models that the attacker trains, an even number.", show_default="16", rich_help_panel=ATTACKER
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="4 shadow models, and only the attacks that may decide. For a first look.",
        rich_help_panel=ATTACKER,
    ),
]

PEOPLE_OF = frozenset({"members", "controls", "reference", "forgotten", "label", "person", "secrets"})
RULES = frozenset({"epochs", "batch_size", "learning_rate", "optimizer", "momentum", "weight_decay", "cache", "ray"})
ALWAYS = frozenset({"attack", "defence", "name", "data_class", "policy", "seed", "out", "json_", "encoding", "quick"})
ACTS = {
    "a file of an estimator": PEOPLE_OF | {"model", "trusted", "sample_weights", "shadows", "cache", "event"},
    "a file of a network": PEOPLE_OF | RULES | {"model", "trusted", "outputs", "shadows"},
    "a file of a network that does not say how it is trained": PEOPLE_OF | {"model", "trusted", "outputs"},
    "--factory": PEOPLE_OF | RULES | {"factory", "weights", "outputs", "shadows"},
    "--api": PEOPLE_OF | {"api", "budget", "outputs"},
    "--predictions": {"predictions", "shadow_predictions"},
}
"""The options that act on each kind of model, beside those that always act."""
WHY = {
    "--predictions": "That table holds all there is: who was used, the label, and what the model said.",
    "--api": "An interface answers, and is not trained again.",
    "a file of an estimator": "An estimator knows its parameters and the kind of its answers.",
}


def outcome(label: str, event: str | None, columns: Iterable[str]) -> str | tuple[str, ...]:
    """The columns of the outcome: one, a time and an event, or one for each of several labels (`a,b,c`)."""
    if event is not None:
        return label, event
    several = tuple(part.strip() for part in label.split(","))
    return several if len(several) > 1 and label not in set(columns) else label


def check_idle(kind: str, given: Iterable[str]) -> None:
    """Raises `UsageError` if one of the options given on the command line does not act on this kind of model."""
    idle = [_option(name) for name in given if name not in ACTS[kind] | ALWAYS]
    if not idle:
        return
    raise UsageError(
        "TB-SUBJECT-035",
        f"{' and '.join(idle)} {'say' if len(idle) > 1 else 'says'} nothing beside {kind}.",
        WHY.get(kind, "An option that does nothing would be taken for one that does."),
        "Leave out what does not concern it."
        + (
            " Name its columns id (the person), arm, label and p_0, p_1, ... or prediction."
            if kind == "--predictions"
            else ""
        ),
    )


def check_training(given: Iterable[str], optimizer: str) -> None:
    """Raises `UsageError` for rules of training without --epochs: no model is then trained. Also for a momentum that
    the optimizer does not have."""
    given = list(given)
    rules = [_option(name) for name in given if name in (RULES | {"shadows"}) - {"epochs"}]
    if rules and "epochs" not in given:
        raise UsageError(
            "TB-SUBJECT-053",
            f"{' and '.join(rules)} {'say' if len(rules) > 1 else 'says'} nothing without --epochs.",
            "Only with the length of training are more such modules trained.",
            "Add --epochs, or leave the others out.",
        )
    if "momentum" in given and optimizer != "sgd":
        raise UsageError(
            "TB-SUBJECT-065",
            f"--momentum says nothing beside --optimizer {optimizer}.",
            "It is the momentum of sgd.",
            "Leave it out, or name the optimizer of the audited model.",
        )


def check_attack(given: Iterable[str], attack: str | None, quick: bool) -> None:
    """Raises `UsageError` for an option that acts on none of the attacks that are run.

    A named attack runs alone. `quick` runs no attack that only informs, unless one is named.
    """
    idle: set[str] = set()
    if attack is not None:
        from testbed.attacks.registry import find
        from testbed.core import Guesses

        named = find(attack)
        trains = "recipe" in named.needs | named.uses
        idle = {"forgotten"} | (set() if trains else {"shadows", "shadow_predictions"})
        idle |= set() if named.claim is Guesses else {"secrets"}
    elif quick:
        idle = {"secrets"}
    if options := [_option(name) for name in given if name in idle]:
        raise UsageError(
            "TB-SUBJECT-066",
            f"{' and '.join(options)} {'say' if len(options) > 1 else 'says'} nothing beside "
            f"{'--quick' if attack is None else f'--attack {attack}'}.",
            "No attack that is run then uses it." if len(options) == 1 else "No attack that is run then uses them.",
            f"Leave out {' and '.join(options)}, or {'--quick' if attack is None else '--attack'}.",
        )


def check_retrained(given: Iterable[str], trains: bool) -> None:
    """Raises `UsageError` for a number of shadow models if no models like the audited one can be trained."""
    if not trains and "shadows" in given:
        raise UsageError(
            "TB-SUBJECT-067",
            "--shadows says nothing about this model.",
            "Its file does not hold what is needed to train more models like it, so no shadow model is trained.",
            "Leave it out, or give the estimator itself: docs/models.md says which files hold one.",
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
