"""Subjects of an audit, made from an estimator, a torch module, a function, or a table of predictions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from testbed.core import Array, Cohort, Predictor, Recipe, Split, Unavailable
from testbed.core.errors import InputError, UsageError
from testbed.core.private_files import writable
from testbed.subjects.predictors import (
    answers,
    copies,
    elsewhere,
    estimator,
    forms,
    outcome_tables,
    precision,
    torch_weights,
)
from testbed.subjects.predictors import people as subjects
from testbed.subjects.predictors.api import Api, api_predictor
from testbed.subjects.predictors.columns import Coding
from testbed.subjects.predictors.encoders import text_inputs
from testbed.subjects.predictors.fingerprint import fingerprint, of_network
from testbed.subjects.predictors.foreign import OnnxModel
from testbed.subjects.predictors.model_files import Loaded, check_answers
from testbed.subjects.predictors.people import together
from testbed.subjects.predictors.regression import Predict, Scale, as_regressor, inputs_and_truth, one_each
from testbed.subjects.predictors.subject import Kept, Subject
from testbed.subjects.predictors.torch_module import (
    TorchRecipe,
    eta,
    materialised,
    torch_outputs,
    torch_predictor,
    trained,
)

if TYPE_CHECKING:
    from testbed.core.executor import Spread
    from testbed.models.ensemble import Training

Frames = dict[str, pd.DataFrame]
FEW = 200
"""People on whom it is tried whether a column has an influence."""
NOT_KEPT = "not used, because the model uses code that is in no installed package and may change"


def from_predictions(frame: pd.DataFrame, shadows: pd.DataFrame | None = None) -> Subject:
    """A model known only by a table of predictions; see `testbed.subjects.predictors.people.predictions`.

    `shadows` are the answers of shadow models that were trained elsewhere (`elsewhere.shadow_predictions`).
    """
    frame, shadows, written = precision.on_one_grid(frame, shadows)
    frame, notes = answers.completed(frame)
    if shadows is not None:
        shadows, _ = answers.completed(shadows)
    model, people = subjects.predictions(frame)
    recipe = None if shadows is None else elsewhere.of_predictions(frame, people, shadows)
    return Subject(model, people, recipe, described=False, notes={**notes, **written})


def from_estimator(
    made: Any,
    frames: Frames,
    label: str | Sequence[str],
    person: str | None,
    weights: str | None = None,
    trains: bool = True,
    cache: Kept | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Subject:
    """A scikit-learn classifier or regressor with the tables `members`, `controls` and, if given, `reference`.

    It is asked about tables as it was trained on them, in the form that fits it (`forms.fitted`). `weights` is the
    column of the weights that training gave to records. `label` names two columns if the model predicts the time to an
    event: the time, and the event. `trains` is False for a file that does not say how such a model is trained. The
    folder of `cache` keeps the answers of shadow models, and evidence under its digest of the model's file. Raises
    `InputError` if the label, the weight or the person column is one of the model's inputs.
    """
    check_answers(made)
    outcome_tables.fits(made, label)
    labels = [label] if isinstance(label, str) else list(label)
    trained_on = estimator.input_names(made, [str(c) for c in frames["members"].columns])
    beside = {*labels, person, weights}
    ignored = [n for n in trained_on or () if n in beside]
    features = [n for n in trained_on or _inputs(frames, labels, person) if n not in beside]
    wanted = [*features, *labels, *([person] if person else []), *([weights] if weights else [])]
    for role, frame in frames.items():
        subjects.exist(frame, role, wanted)
    if isinstance(made, OnnxModel):
        made.learn_classes(frames["members"][features])
    native, texts = estimator.native_categories(made, features), text_inputs(made, features)
    coding = Coding.of(frames, features, native, texts).weighing(weights)
    if ignored and trained_on:
        values = tuple((n, frames["members"][n].iloc[0]) for n in ignored)
        coding = replace(coding, ignored=values, order=tuple(trained_on))
    classes = list(made.classes_) if isinstance(label, str) and estimator.classifies(made) else None
    influences = _influences(frames["members"], trained_on or [])
    try:
        fitted = forms.fitted(made, coding, frames, classes, label, person, trained_on is not None)
    except InputError as refused:
        raise influences if ignored else refused from None
    if ignored and not _ignores(made, fitted, frames["members"]):
        raise influences
    again = copies.searched(made)
    folder = cache and cache.folder
    how: dict[str, Any] = {"weighs": weights is not None, "cache": folder, "progress": eta(progress)}
    start = fitted.given(coding.encoded(frames["members"][:1]))
    trains = trains and copies.retrainable(made) and copies.retrainable(again, start)
    notes = {"given_as": str(fitted.form)} if not fitted.plain else {}
    keeps = None if cache is None else _kept(cache, made, again, fitted, trains)
    if cache is not None and keeps is None:
        notes["cache"] = NOT_KEPT
    model, people, predicts = _asked_about(made, fitted, frames, classes, label, person)
    return Subject(
        model,
        people,
        estimator.SklearnRecipe(again, given=fitted.given, **predicts, **how) if trains else None,
        made,
        coding.features,
        unordered=coding.unordered,
        given=fitted.given,
        notes=notes,
        kept=keeps if keeps is not None and keeps.model else None,
    )


def _asked_about(
    made: Any,
    fitted: Coding,
    frames: Frames,
    classes: list[Any] | None,
    label: str | Sequence[str],
    person: str | None,
) -> tuple[Predictor, Split, dict[str, Any]]:
    """The estimator as attackers see it, the people, and what it predicts, in the words of `SklearnRecipe`."""
    if not isinstance(label, str):
        people, outcome = outcome_tables.outcomes(made, frames, label, person, fitted)
        answers = estimator.told(estimator.Asked(made, fitted.given), outcome, together(people))
        return outcome.view(answers), people, {"outcome": outcome}
    if classes is not None:
        people = subjects.cohorts(frames, label, classes, person, fitted)
        return estimator.sklearn_predictor(made, fitted.given), people, {}
    people, scale = subjects.numeric_cohorts(frames, label, person, fitted)
    predict = estimator.sklearn_numbers(made, fitted.given)
    scale = _measured(scale, predict, people)
    return as_regressor(predict, scale), people, {"scale": scale}


def _kept(cache: Kept, made: Any, again: Any, coding: Coding, trains: bool) -> Kept | None:
    """What names what is kept about an estimator, or None if its code may change without a new version.

    The file stands for what it has learnt: two objects that were read from one file need not have the same bytes.
    `again` is what is trained again, if it is; for a search of parameters it is the model that was found.
    """
    writable(cache.folder)
    try:
        fresh = copies.untrained(again) if trains else None
    except Exception:  # a foreign estimator may raise anything
        return None
    own = fingerprint(fresh, type(made), coding)
    return None if own is None else Kept(cache.folder, cache.model and f"{cache.model} {own}")


def from_factory(
    build: Callable[[], Any],
    weights: Path | None,
    outputs: str,
    frames: Frames,
    label: str,
    person: str | None,
    training: Training | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
    spread: Spread | None = None,
) -> Subject:
    """A torch module that `build` makes, with these weights.

    With `training`, a recipe can train more such modules, in parallel by `spread`, and store them in `cache`. Its
    parameters are the module and its tables, and how more such modules are trained.
    """
    features = _inputs(frames, [label], person)
    build = materialised(build, len(features))
    if weights is None:
        trained(build)
    scale: Scale | None = None
    if outputs == "number":
        people, scale = subjects.numeric_cohorts(frames, label, person)
        answer = torch_outputs(build, weights)

        def predict(x: Array) -> Array:
            return one_each(answer(x))

        scale = _measured(scale, predict, people)
        model, kind = as_regressor(predict, scale), "number"
    else:
        x = subjects.numbers(frames["members"], "members", [*features], [label])
        model, kind = torch_predictor(build, weights, x, outputs)
        people = subjects.cohorts(frames, label, list(range(model.classes)), person)
    recipe = None
    if training is not None:
        recipe = TorchRecipe(build, training, kind, model.classes, cache, eta(progress), scale, spread)
    keeps = None if cache is None else _kept_network(cache, build, weights, model, people, (training, kind))
    return replace(_subject(model, people, recipe, build(), features), kept=keeps)


def _kept_network(
    cache: Path, build: Callable[[], Any], weights: Path | None, model: Predictor, people: Split, how: tuple[Any, ...]
) -> Kept:
    """What names the kept evidence about a torch module. `how` says how more such modules are trained."""
    writable(cache)
    network = build()
    if weights is not None:
        torch_weights.put(network, weights)
    assert isinstance(people.members, Cohort)
    return Kept(cache, of_network(network, [np.asarray(model.ask(people.members))], *how))


def from_file(
    loaded: Loaded,
    outputs: str,
    frames: Frames,
    label: str | Sequence[str],
    person: str | None,
    weights: str | None = None,
    training: dict[str, Any] | None = None,
) -> Subject:
    """A model from a file (`model_files.read`). `training` are the last arguments of `from_factory`.

    For an estimator, only its `cache` and `progress` are used.
    """
    if not loaded.network:
        kept = {k: v for k, v in (training or {}).items() if k in ("cache", "progress")}
        if kept.get("cache") is not None:
            kept["cache"] = Kept(kept["cache"], loaded.digest)
        return from_estimator(loaded.made, frames, label, person, weights, loaded.trains, **kept)
    if not isinstance(label, str):
        outcome_tables.fits(loaded.made, label)
    assert isinstance(label, str)
    if isinstance(loaded.made, OnnxModel):
        return replace(from_api(Api(loaded.made), outputs, frames, label, person), asked=None)
    told = training if loaded.trains else None
    return from_factory(lambda: copy.deepcopy(loaded.made), None, outputs, frames, label, person, **(told or {}))


def from_api(api: Api, outputs: str, frames: Frames, label: str, person: str | None) -> Subject:
    """A function behind a query counter. Raises `UsageError` if its budget does not cover members and controls."""
    features = _inputs(frames, [label], person)
    try:
        roles = [role for role in ("members", "controls", "forgotten") if role in frames]
        api.afford(np.concatenate([subjects.numbers(frames[role], role, [*features], [label]) for role in roles]))
        if outputs == "number":
            people, scale = subjects.numeric_cohorts(frames, label, person)

            def predict(x: Array) -> Array:
                return one_each(api(x))

            model = as_regressor(predict, _measured(scale, predict, people))
        else:
            x = subjects.numbers(frames["members"], "members", [*features], [label])
            model = api_predictor(api, x, outputs)
            people = subjects.cohorts(frames, label, list(range(model.classes)), person)
    except Unavailable:
        raise UsageError(
            "TB-SUBJECT-027",
            "The query budget does not cover the members and controls.",
            "The audit asks about each of their records at least once.",
            "Raise --budget, or give fewer members and controls.",
        ) from None
    return _subject(model, people, None, None, features, asked=lambda: api.asked)


def _subject(
    model: Predictor,
    people: Split,
    recipe: Recipe | None,
    inside: Any,
    features: tuple[str, ...],
    asked: Callable[[], int] | None = None,
) -> Subject:
    return Subject(model, people, recipe, inside, features, asked)


def _influences(members: pd.DataFrame, trained_on: list[str]) -> InputError:
    return InputError(
        "TB-SUBJECT-031",
        "The label, the weight, or the person's column is one of the model's inputs, and changes its answers.",
        "The label is what the model predicts. With another column, every score would be wrong.",
        f"Name with --label a column that is not an input: {_left(members, tuple(trained_on))}. Or fit the model again "
        "without it.",
    )


def _ignores(made: Any, coding: Coding, members: pd.DataFrame) -> bool:
    """Whether the model gives the same answers for two different values of the columns that it should ignore."""
    people = coding.encoded(members[:FEW])
    different = ((n, members[n][members[n] != value].iloc[:1].to_list()) for n, value in coding.ignored)
    other = replace(coding, ignored=tuple((n, values[0]) for n, values in different if values))
    if len(other.ignored) < len(coding.ignored):  # a column of one value changes nothing
        return True
    ask = made.predict_proba if estimator.classifies(made) else made.predict
    one, two = (estimator.Asked(made, given).answered(people, ask) for given in (coding.given, other.given))
    return bool(np.array_equal(one, two))


def _left(frame: pd.DataFrame, features: tuple[str, ...]) -> str:
    return ", ".join([str(c) for c in frame.columns if str(c) not in features][:12]) or "none is left"


def _inputs(frames: Frames, labels: Sequence[str], person: str | None) -> tuple[str, ...]:
    return tuple(str(c) for c in frames["members"].columns if c not in (*labels, person))


def _measured(scale: Scale, predict: Predict, people: Split) -> Scale:
    """The scale with the model's usual error over members and controls together, so that it reveals no membership."""
    x, truth = inputs_and_truth(together(people))
    return scale.measured(predict(x), truth)
