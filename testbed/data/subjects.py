"""Models under audit, read from files: a scikit-learn estimator, a torch module, or a table of predictions."""

from __future__ import annotations

import importlib
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from testbed.attacks.kit import keyed_rng
from testbed.core import Act, Array, Cohort, Predictor, Recipe, Unavailable
from testbed.errors import InputError, UsageError

ARMS = ("member", "control")


def predictions(frame: pd.DataFrame) -> tuple[Predictor, Cohort, Cohort]:
    """The model that a table `id,arm,label,p_0..p_k` tells of, its members and its controls.

    A record is known by its row alone, so that nothing but these predictions can be asked. Raises `InputError` for a
    table that does not hold probabilities of two arms.
    """
    names = sorted(
        (c for c in frame.columns if str(c).startswith("p_")), key=lambda c: int(c[2:]) if c[2:].isdigit() else -1
    )
    if (
        not {"id", "arm", "label"} <= set(frame.columns)
        or names != [f"p_{i}" for i in range(len(names))]
        or len(names) < 2
    ):
        raise InputError(
            "TB-SUBJECT-001",
            "The predictions have other columns than they must.",
            "They are read by name: id, arm, label, and the probability of each class as p_0, p_1, ...",
            "Rename them; a model with one output p has p_0 = 1 - p and p_1 = p.",
        )
    values = np.asarray(frame[names].apply(pd.to_numeric, errors="coerce"), dtype=np.float64)
    probabilities(values)
    arm = frame["arm"].astype(str).str.strip()
    if set(arm) != set(ARMS):
        raise InputError(
            "TB-SUBJECT-002",
            "The column arm must say member or control, and both must occur.",
            "Without both there is nobody to tell apart.",
            "Add predictions for people of the same kind who were not in the training data, as arm control.",
        )
    persons = frame["id"].astype(str).to_numpy()
    member = (arm == "member").to_numpy()
    disjoint(persons[member], persons[~member])
    labels = classes(frame["label"], len(names))
    # Files list one arm after the other: a record's number must not tell where in the file it stood.
    number = keyed_rng(0, "numbers of predictions").permutation(len(frame))
    by_number = values[np.argsort(number)]
    x = number.astype(np.float32)[:, None]
    model = Predictor(lambda people: by_number[people.x[:, 0].astype(int)], len(names))
    groups = [Cohort(x[m], labels[m], persons[m]) for m in (member, ~member)]
    return model, groups[0], groups[1]


def probabilities(values: Array) -> None:
    """Raises `InputError` unless each row (n, classes) holds probabilities that sum to one."""
    if not np.isfinite(values).all():
        raise InputError(
            "TB-SUBJECT-003",
            "Some predictions are missing or not finite.",
            "A score cannot be made of them, and leaving records out would change the answer.",
            "Give a probability for every class of every record.",
        )
    if (values < 0).any() or (values > 1).any() or (np.abs(values.sum(1) - 1) > 1e-3).any():
        raise InputError(
            "TB-SUBJECT-004",
            "The predictions are no probabilities: they leave [0, 1], or do not sum to one in each row.",
            "Logits and margins would be read as confidence that the model does not have.",
            "Apply softmax (or a sigmoid, with p_0 = 1 - p_1) first.",
        )


def classes(values: Any, count: int) -> Array:
    """Class numbers (n,) from 0 to count - 1. Raises `InputError` for others, or if there is one class only."""
    numbers = np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)
    if (
        not np.isfinite(numbers).all()
        or (numbers != np.round(numbers)).any()
        or numbers.min() < 0
        or numbers.max() >= count
    ):
        raise InputError(
            "TB-SUBJECT-005",
            f"Some labels are no class numbers from 0 to {count - 1}.",
            "The label says which of the probabilities is that of the truth.",
            "Number the classes as the model's outputs are numbered.",
        )
    if len(np.unique(numbers)) < 2:
        raise InputError(
            "TB-SUBJECT-006",
            "All records have the same label.",
            "A model of one class knows nothing that could be told from it.",
            "Give records of every class.",
        )
    return numbers.astype(np.int64)


def disjoint(members: Array, controls: Array) -> None:
    """Raises `InputError` if a person stands in both arms."""
    if len(set(members.tolist()) & set(controls.tolist())):
        raise InputError(
            "TB-SUBJECT-007",
            "Some people are both members and controls.",
            "A person who was used cannot say how often those who were not are accused.",
            "Remove them from the controls; if ids are reused, make them unique.",
        )


def cohorts(
    frames: dict[str, pd.DataFrame],
    label: str,
    known: list[Any],
    person: str | None,
    features: list[str] | None = None,
) -> dict[str, Cohort]:
    """The tables as a model takes them: the columns named in `features`, else all but `label` and `person`.

    `known` are the model's classes in the order of its outputs.
    """
    names = features or [c for c in frames["members"].columns if c not in (label, person)]
    made: dict[str, Cohort] = {}
    for role, frame in frames.items():
        x = numbers(frame, role, [*names], [label, *([person] if person else [])])
        place = {v: i for i, v in enumerate(known)}
        y = np.array([place.get(v, -1) for v in frame[label].tolist()])
        if (y < 0).any():
            raise InputError(
                "TB-SUBJECT-018",
                f"Some labels of the {role} are none of the model's classes.",
                "The label says which of the model's probabilities is that of the truth.",
                "Write labels as they were in training, or number them as the model's outputs are numbered.",
            )
        persons = frame[person].astype(str) if person else pd.Series([f"{role} {i}" for i in range(len(frame))])
        made[role] = Cohort(x, classes(y, len(known)), persons.to_numpy())
    for one, other in (("members", "controls"), ("members", "reference"), ("controls", "reference")):
        if other not in made:
            continue
        if person:
            disjoint(made[one].persons, made[other].persons)
        _apart(made[one], made[other], one, other)
    return made


def numbers(frame: pd.DataFrame, role: str, names: list[str], beside: list[str]) -> Array:
    """The named columns (n, features), float32. Raises `InputError` for missing columns and what is no number."""
    if missing := [c for c in [*names, *beside] if c not in frame.columns]:
        raise InputError(
            "TB-SUBJECT-008",
            f"The {role} lack columns: {', '.join(map(str, missing[:5]))}.",
            "All tables must have the columns that the model was trained on, the label among them.",
            "Write all tables by the same export; name the label with --label.",
        )
    x = np.asarray(frame[names].apply(pd.to_numeric, errors="coerce"), dtype=np.float64)
    if not np.isfinite(x).all():
        raise InputError(
            "TB-SUBJECT-009",
            f"The {role} hold values that are no numbers.",
            "The model is asked about columns of numbers, without gaps.",
            "Encode and impute them as before training; of a model that does it itself, give the --predictions.",
        )
    return x.astype(np.float32)


MOST_SHARED = 0.05


def _apart(one: Cohort, other: Cohort, first: str, second: str) -> None:
    """Raises `InputError` where more of the second group's rows stand in the first than its own rows repeat."""
    keys = [[row.tobytes() + bytes([int(c) % 256]) for row, c in zip(g.x, g.y, strict=True)] for g in (one, other)]
    held = Counter(keys[0])
    shared = float(np.mean([k in held for k in keys[1]]))
    repeated = float(np.mean([held[k] > 1 for k in keys[0]]))
    if shared > repeated + MOST_SHARED:
        raise InputError(
            "TB-SUBJECT-010",
            f"The {first} and the {second} are partly the same records.",
            "Whoever is in both cannot tell what the model keeps of those who were used alone.",
            f"Give as {second} people who are not among the {first}.",
        )


# --- scikit-learn ---------------------------------------------------------------------------------------


def estimator(path: Path) -> Any:
    """A fitted scikit-learn classifier from a joblib or pickle file, which runs code: only files one trusts."""
    import joblib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = joblib.load(path)
    except Exception:
        raise InputError(
            "TB-SUBJECT-011",
            f"The model file {path.name} cannot be loaded.",
            "It must be a fitted scikit-learn classifier written by joblib or pickle, with this version or a near one.",
            "Write it anew with joblib.dump, or give its predictions with --predictions.",
        ) from None
    if not hasattr(made, "predict_proba") or np.ndim(getattr(made, "classes_", [[]])) != 1:
        raise InputError(
            "TB-SUBJECT-012",
            "The model gives no class probabilities.",
            "Membership is read from the confidence of one prediction a record (predict_proba).",
            "Use a classifier with predict_proba; for an SVC that is probability=True.",
        )
    return made


def sklearn_predictor(made: Any) -> Predictor:
    return Predictor(lambda people: _asked(made, people.x), len(made.classes_))


def named(made: Any, x: Array) -> Any:
    """Records as the estimator was given them in training: with column names, if it knows any."""
    names = getattr(made, "feature_names_in_", None)
    return x if names is None else pd.DataFrame(x, columns=names)


def _asked(made: Any, x: Array) -> Array:
    bad = InputError(
        "TB-SUBJECT-013",
        "The model does not take these records.",
        "They have other columns than it was trained on.",
        "Give the columns of training, and name the label with --label.",
    )
    if getattr(made, "n_features_in_", x.shape[1]) != x.shape[1]:
        raise bad
    try:
        said = np.asarray(made.predict_proba(named(made, x)), dtype=np.float64)
    except Exception:  # whatever a pickle of another version, or a step of a pipeline, may raise
        raise bad from None
    probabilities(said)
    return said


def sklearn_recipe(made: Any) -> Recipe:
    """Trains a copy of the estimator, with its hyper-parameters, on the people given."""
    from sklearn.base import clone

    total = len(made.classes_)

    def recipe(people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        fresh: Any = clone(made)
        seeds = [k for k in fresh.get_params() if k == "random_state" or k.endswith("__random_state")]
        fresh.set_params(**{k: int(rng.integers(2**31)) for k in seeds})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a solver stopped early is the audited model's affair
                fresh.fit(named(made, people.x), np.asarray(made.classes_)[people.y])
        except Exception:
            raise Unavailable("cannot_retrain", "a model that can be trained again on half of the people") from None
        seen = np.searchsorted(made.classes_, fresh.classes_)

        def ask(asked: Cohort) -> Array:
            said = np.zeros((len(asked), total))
            said[:, seen] = fresh.predict_proba(named(made, asked.x))  # a class that was not drawn has probability 0
            return said

        return Predictor(ask, total)

    return recipe


# --- torch ----------------------------------------------------------------------------------------------


def torch_predictor(factory: str, weights: Path | None, members: Array, outputs: str = "auto") -> Predictor:
    """The module that `module:function` makes, with these weights, asked about records (n, features).

    What its outputs are is decided once, on the `members`: probabilities if they are told to be or sum to one in each
    row, else logits. A single output within [0, 1] may be either, and is refused unless `outputs` says which.
    """
    import torch

    if outputs not in ("auto", "logits", "probabilities"):
        raise UsageError(
            "TB-SUBJECT-022", f"There are no outputs {outputs!r}.", "They say what the numbers are.", "Use logits."
        )
    module, _, function = factory.partition(":")
    try:
        made: Callable[[], Any] = getattr(importlib.import_module(module), function)
        network = made()
        assert isinstance(network, torch.nn.Module)
    except Exception:
        raise UsageError(
            "TB-SUBJECT-014",
            f"No model can be made by {factory!r}.",
            "It must be importable, as module:function, and return a torch module when called without arguments.",
            "Check the name, and that the module's folder is on PYTHONPATH.",
        ) from None
    if weights is not None:
        try:
            network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        except Exception:
            raise InputError(
                "TB-SUBJECT-015",
                f"The weights {weights.name} do not fit the model.",
                "They must be a state_dict of the same architecture, written by torch.save.",
                "Write them with torch.save(model.state_dict(), path).",
            ) from None
    network.eval()

    def said(x: Array) -> Array:
        try:
            with torch.no_grad():
                parts = [network(torch.tensor(x[i : i + 1024])).double().numpy() for i in range(0, len(x), 1024)]
            out = np.concatenate(parts)
            assert out.ndim in (1, 2)
        except Exception:
            raise InputError(
                "TB-SUBJECT-016",
                "The model does not take these records, or answers with something else than a number a class.",
                "It is given one row of the table's columns a record.",
                "Give the columns of training, and name the label with --label; or give the model's --predictions.",
            ) from None
        return out.reshape(len(x), -1)

    kind = outputs if outputs != "auto" else _kind(said(members))
    first = as_probabilities(said(members), kind)
    return Predictor(lambda people: as_probabilities(said(people.x), kind), first.shape[1])


def _kind(out: Array) -> str:
    within = bool((out >= 0).all() and (out <= 1).all())
    if out.shape[1] == 1 and within:
        raise InputError(
            "TB-SUBJECT-017",
            "The model's single output lies between 0 and 1 for everybody: a probability, or a logit.",
            "Read as the wrong one, every score would be wrong, and a leaking model could pass.",
            "Say --outputs probabilities or --outputs logits.",
        )
    return "probabilities" if within and np.allclose(out.sum(1), 1, atol=1e-3) else "logits"


def as_probabilities(out: Array, kind: str) -> Array:
    """Outputs (n, classes), or (n, 1) for the second of two classes, as probabilities (n, classes)."""
    if kind == "logits" and out.shape[1] == 1:
        out = np.concatenate([np.zeros_like(out), out], 1)
    elif out.shape[1] == 1:
        out = np.concatenate([1 - out, out], 1)
    if kind == "logits":
        shifted = np.exp(out - out.max(1, keepdims=True))
        out = shifted / shifted.sum(1, keepdims=True)
    probabilities(out)
    return out
