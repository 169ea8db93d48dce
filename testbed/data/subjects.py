"""Models under audit, read from files: a scikit-learn estimator, a torch module, or a table of predictions."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Act, Array, Cohort, Predictor, Recipe
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
    x = np.arange(len(frame), dtype=np.float32)[:, None]
    model = Predictor(lambda people: values[people.x[:, 0].astype(int)], len(names))
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
        if missing := [c for c in [*names, label, *([person] if person else [])] if c not in frame.columns]:
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
                "The model is given the columns as they are.",
                "Encode and impute them as before training.",
            )
        place = {v: i for i, v in enumerate(known)}
        y = np.array([place.get(v, -1) for v in frame[label].tolist()])
        persons = frame[person].astype(str) if person else pd.Series([f"{role} {i}" for i in range(len(frame))])
        made[role] = Cohort(x.astype(np.float32), classes(y, len(known)), persons.to_numpy())
    if person:
        disjoint(made["members"].persons, made["controls"].persons)
    shared = {r.tobytes() for r in made["members"].x} & {r.tobytes() for r in made["controls"].x}
    if len(shared) >= min(len(made["members"]), len(made["controls"])):
        raise InputError(
            "TB-SUBJECT-010",
            "Members and controls are the same records.",
            "Nothing could tell them apart, whatever the model keeps.",
            "Give as controls people who were not in the training data.",
        )
    return made


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
    if not hasattr(made, "predict_proba") or not hasattr(made, "classes_"):
        raise InputError(
            "TB-SUBJECT-012",
            "The model gives no class probabilities.",
            "Membership is read from the confidence of predictions (predict_proba).",
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
    except ValueError:
        raise bad from None
    probabilities(said)
    return said


def sklearn_recipe(made: Any) -> Recipe:
    """Trains a copy of the estimator, with its hyper-parameters, on the people given."""
    from sklearn.base import clone

    total = len(made.classes_)

    def recipe(people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        fresh: Any = clone(made)
        seeded = {
            k: int(rng.integers(2**31))
            for k in fresh.get_params()
            if k == "random_state" or k.endswith("__random_state")
        }
        fresh.set_params(**seeded)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a solver stopped early is the audited model's affair
            fresh.fit(people.x, people.y)
        seen = np.asarray(fresh.classes_, dtype=np.int64)

        def ask(asked: Cohort) -> Array:
            said = np.zeros((len(asked), total))
            said[:, seen] = fresh.predict_proba(asked.x)  # a class that was not drawn has probability 0
            return said

        return Predictor(ask, total)

    return recipe


# --- torch ----------------------------------------------------------------------------------------------


def torch_predictor(factory: str, weights: Path | None) -> Predictor:
    """The module that `module:function` makes, with these weights; outputs are logits, or probabilities as they are."""
    import torch

    module, _, function = factory.partition(":")
    try:
        made: Callable[[], Any] = getattr(importlib.import_module(module), function)
        network = made()
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

    def ask(people: Cohort) -> Array:
        with torch.no_grad():
            out = np.concatenate(
                [network(torch.tensor(people.x[i : i + 1024])).double().numpy() for i in range(0, len(people), 1024)]
            )
        return as_probabilities(out)

    probe = network(torch.zeros(1, *_input_shape(network)))
    return Predictor(ask, max(2, int(probe.shape[-1]) if probe.ndim > 1 else 2))


def as_probabilities(out: Array) -> Array:
    """Logits (n, classes), one logit (n,) or (n, 1), or probabilities as they are, as probabilities (n, classes)."""
    if out.ndim == 1 or out.shape[1] == 1:
        one = 1 / (1 + np.exp(-np.clip(out.reshape(-1), -700, 700)))
        return np.stack([1 - one, one], 1)
    if (out >= 0).all() and np.allclose(out.sum(1), 1, atol=1e-3):
        return out
    shifted = np.exp(out - out.max(1, keepdims=True))
    said = shifted / shifted.sum(1, keepdims=True)
    probabilities(said)
    return said


def _input_shape(network: Any) -> tuple[int, ...]:
    first = next((m for m in network.modules() if hasattr(m, "in_features")), None)
    if first is None:
        raise InputError(
            "TB-SUBJECT-016",
            "The model's input cannot be told.",
            "Tables are given to models whose first layer is fully connected.",
            "Give the model's predictions with --predictions.",
        )
    return (int(first.in_features),)
