"""Models under audit, read from files, and more of their kind: a scikit-learn estimator, or a torch module."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from testbed.core import Act, Array, Cohort, Predictor, Unavailable
from testbed.data import own
from testbed.data.outputs import Outputs, as_probabilities, check_outputs, kind_of
from testbed.data.regression import CLASSES, Predict, Scale, as_predictor, inputs_and_truth, one_each
from testbed.data.subjects import probabilities
from testbed.errors import InputError, UsageError

if TYPE_CHECKING:
    from testbed.models.ensemble import Training
    from testbed.spread import Spread


def estimator(path: Path) -> Any:
    """A fitted scikit-learn estimator from a joblib or pickle file, which runs code: only files one trusts."""
    import joblib

    _there(path, "model")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = joblib.load(path)
    except Exception:
        raise InputError(
            "TB-SUBJECT-011",
            f"The model file {path.name} cannot be loaded.",
            "It must be a fitted scikit-learn estimator written by joblib or pickle, with this version or a near one.",
            "Write it anew with joblib.dump, or give its predictions with --predictions.",
        ) from None
    if not classifies(made) and not _is_regressor(made):
        raise InputError(
            "TB-SUBJECT-012",
            "The model gives no class probabilities, and is no regressor.",
            "Membership is read from the confidence (predict_proba) or the error of one prediction a record.",
            "Use a classifier with predict_proba; for an SVC that is probability=True.",
        )
    return made


def _there(path: Path, what: str) -> None:
    if not path.is_file():
        raise UsageError(
            "TB-SUBJECT-032", f"The {what} file does not exist.", f"Nothing is at {path}.", "Check the path."
        )


def classifies(made: Any) -> bool:
    """Does it give the probabilities of one set of classes, as scikit-learn's classifiers do?"""
    known = getattr(made, "classes_", None)
    return hasattr(made, "predict_proba") and known is not None and not any(np.ndim(c) for c in known)


def _is_regressor(made: Any) -> bool:
    from sklearn.base import is_regressor

    try:
        return bool(is_regressor(made))
    except (AttributeError, TypeError):  # it is no estimator at all
        return False


def sklearn_predictor(made: Any) -> Predictor:
    return Predictor(lambda people: _asked(made, people.x), len(made.classes_))


def sklearn_numbers(made: Any) -> Predict:
    """What a regressor predicts (n,) for inputs (n, features). Raises `InputError` for inputs that it does not take."""
    return lambda x: one_each(_answered(made, x, made.predict))


def named(made: Any, x: Array) -> Any:
    """Records as the estimator was given them in training: with column names, if it knows any."""
    names = getattr(made, "feature_names_in_", None)
    return x if names is None else pd.DataFrame(x, columns=names)


def _asked(made: Any, x: Array) -> Array:
    said = _answered(made, x, made.predict_proba)
    probabilities(said)
    return said


def _answered(made: Any, x: Array, ask: Callable[[Any], Any]) -> Array:
    bad = InputError(
        "TB-SUBJECT-013",
        "The model does not take these records.",
        "They have other columns, or other kinds of values, than it was trained on.",
        "Give the columns of training, and name the label with --label.",
    )
    if getattr(made, "n_features_in_", x.shape[1]) != x.shape[1]:
        raise bad
    try:
        return np.asarray(ask(named(made, x)), dtype=np.float64)
    except Exception:  # whatever a pickle of another version, or a step of a pipeline, may raise
        raise bad from None


def retrainable(made: Any) -> bool:
    """Are copies of this estimator new ones? A part that is frozen keeps what it has learnt of its people."""
    from sklearn.base import clone

    held = [made, *made.get_params().values()] if hasattr(made, "get_params") else []
    return not any(hasattr(part, "fit") and clone(part) is part for part in held if not isinstance(part, type))


def _unstopped(fresh: Any, trained: Any) -> Any:
    """Boosting that was stopped early on held-out people is trained anew for as many rounds, without such people."""
    best = getattr(trained, "best_iteration", None) if hasattr(fresh, "early_stopping_rounds") else None
    if best is None or fresh.early_stopping_rounds is None:
        return fresh
    return fresh.set_params(early_stopping_rounds=None, n_estimators=int(best) + 1)


NO_ANSWER = Unavailable("cannot_retrain", "models of half of the people that answer about all of them")


@dataclass(frozen=True, slots=True)
class SklearnRecipe:
    """Trains copies of an estimator, with its hyper-parameters, on people given; several at once in threads.

    Of a regressor `scale` says how numbers are kept.
    """

    estimator: Any
    workers: int = 2
    scale: Scale | None = None

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return self.many(people, np.ones((1, len(people)), bool), rng)[0]

    def many(self, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
        """A model for each row of `included` (models, n). Raises `Unavailable` where one cannot be trained."""
        import joblib
        from sklearn.base import clone

        ready: list[Any] = []
        for _ in included:
            fresh: Any = _unstopped(clone(self.estimator), self.estimator)
            seeds = [k for k in fresh.get_params() if k == "random_state" or k.endswith("__random_state")]
            ready.append(fresh.set_params(**{k: int(rng.integers(2**31)) for k in seeds}))

        if self.scale is None:
            x, y = people.x, np.asarray(self.estimator.classes_)[people.y]
        else:
            x, kept = inputs_and_truth(people)
            y = self.scale.numbers(kept)

        def fit(fresh: Any, rows: Array) -> Any:
            labels = y[rows]
            if self.scale is None and type(fresh).__module__.startswith("xgboost"):
                found, labels = np.unique(labels, return_inverse=True)  # it takes no gaps among class numbers
                if len(found) == 2:
                    fresh.set_params(objective="binary:logistic")
            return fresh.fit(named(self.estimator, x[rows]), labels)

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a solver stopped early is the audited model's affair
                fitted: Any = joblib.Parallel(self.workers, prefer="threads")(
                    joblib.delayed(fit)(*pair) for pair in zip(ready, included, strict=True)
                )
        except Exception:
            raise Unavailable("cannot_retrain", "a model that can be trained again on half of the people") from None
        return [self._predictor(made, np.unique(people.y[rows])) for made, rows in zip(fitted, included, strict=True)]

    def _predictor(self, made: Any, seen: Array) -> Predictor:
        scale = self.scale
        if scale is not None:
            known = as_predictor(sklearn_numbers(made), scale)
            assert known.errors is not None
            return Predictor(_or_no_answer(known.ask), CLASSES, errors=_or_no_answer(known.errors))
        total = len(self.estimator.classes_)

        def ask(asked: Cohort) -> Array:
            said = np.zeros((len(asked), total))
            try:
                said[:, seen] = _asked(made, asked.x)  # a class not drawn has probability 0
            except InputError:
                raise NO_ANSWER from None
            return said

        return Predictor(ask, total)


def _or_no_answer(asked: Callable[[Cohort], Array]) -> Callable[[Cohort], Array]:
    def ask(people: Cohort) -> Array:
        try:
            return asked(people)
        except InputError:
            raise NO_ANSWER from None

    return ask


# --- torch ----------------------------------------------------------------------------------------------


def torch_factory(factory: str) -> Callable[[], Any]:
    """The function `module:function`. Raises `UsageError` unless it returns a torch module when called."""
    import torch

    made = own.function(
        factory, "TB-SUBJECT-014", "Name one that returns a torch module when called without arguments."
    )
    try:
        wrong = "" if isinstance(made(), torch.nn.Module) else "It returns something else."
    except Exception as error:  # whatever a factory of somebody else's may raise
        wrong = f"It stopped with {type(error).__name__}."
    if wrong:
        raise UsageError(
            "TB-SUBJECT-014",
            f"No model can be made by {factory!r}.",
            wrong,
            "It must return a torch module when called without arguments.",
        )
    return made


def materialised(build: Callable[[], Any], features: int) -> Callable[[], Any]:
    """The factory, of modules whose lazy layers have seen a record of so many features."""
    import torch
    from torch.nn.parameter import UninitializedParameter

    def ready() -> Any:
        network = build()
        if any(isinstance(p, UninitializedParameter) for p in network.parameters()):
            with torch.no_grad():
                network.eval()(torch.zeros(2, features))
        return network.train()

    return ready


def torch_predictor(
    build: Callable[[], Any], weights: Path | None, members: Array, outputs: str = "auto"
) -> tuple[Predictor, Outputs]:
    """The module that `build` makes, with these weights, asked about records (n, features), and what its outputs are.

    That is decided once, on the `members`: probabilities if they are told to be or sum to one in each row, else
    logits. A single output within [0, 1] may be either, and is refused unless `outputs` says which.
    """
    check_outputs(outputs)
    said = torch_outputs(build, weights)
    kind = kind_of(said(members), outputs)
    first = as_probabilities(said(members), kind)
    return Predictor(lambda people: as_probabilities(said(people.x), kind), first.shape[1]), kind


def torch_outputs(build: Callable[[], Any], weights: Path | None) -> Callable[[Array], Array]:
    """What the module that `build` makes, with these weights, answers (n, outputs) to records (n, features)."""
    import torch

    network = build()
    if weights is not None:
        _there(weights, "weights")
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
    kind = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)

    def said(x: Array) -> Array:
        try:
            with torch.no_grad():
                asked = torch.tensor(x, dtype=kind).split(1024)
                parts = [network(part).double().numpy() for part in asked]
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

    return said


DIVERGED = Unavailable("diverged", "training rules under which more such models give finite answers")


@dataclass(frozen=True, slots=True)
class TorchRecipe:
    """Trains such modules on people given, all that are wanted at once (`testbed.models.ensemble`).

    Of modules whose outputs are a number `scale` says how numbers are kept.
    """

    build: Callable[[], Any]
    training: Training
    outputs: Outputs
    classes: int
    cache: Path | None = None
    progress: Callable[[int, int], None] = lambda _, __: None
    scale: Scale | None = None
    spread: Spread | None = None

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return self.many(people, np.ones((1, len(people)), bool), rng)[0]

    def many(self, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
        """A model for each row of `included` (models, n). Raises `Unavailable` where the module cannot be trained."""
        from testbed.models import ensemble
        from testbed.spread import IN_TURN

        seed = int(rng.integers(2**31))
        x, y = people.x, people.y
        if self.scale is not None:
            x, kept = inputs_and_truth(people)
            y = self.scale.numbers(kept).astype(np.float32)
        try:
            made = ensemble.train(
                self.build,
                x.astype(np.float32),
                y,
                included,
                self.training,
                seed,
                outputs=self.outputs,
                cache=self.cache,
                progress=self.progress,
                spread=self.spread or IN_TURN,
            )
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            raise Unavailable("cannot_retrain", "a module that trains on batches of such records") from None
        answered: dict[bytes, Array] = {}

        def outputs(number: int, asked: Cohort) -> tuple[Array, Array]:
            # All models answer at once; what they said of these records is kept until others are asked about.
            x, truth = (asked.x, asked.y) if self.scale is None else inputs_and_truth(asked)
            key = hashlib.sha256(x.tobytes()).digest()
            if key not in answered:
                while len(answered) > 1:
                    answered.pop(next(iter(answered)))
                answered[key] = made.outputs(x.astype(np.float32))
            said = answered[key][number].astype(np.float64).reshape(len(asked), -1)
            if not np.isfinite(said).all():
                raise DIVERGED
            return said, truth

        def ask(number: int, asked: Cohort) -> Array:
            said, truth = outputs(number, asked)
            if self.scale is None:
                return as_probabilities(said, self.outputs)
            return self.scale.likelihoods(one_each(said), truth)

        def errors(number: int, asked: Cohort) -> Array:
            assert self.scale is not None
            said, truth = outputs(number, asked)
            return self.scale.errors(one_each(said), truth)

        signed = [None if self.scale is None else partial(errors, number) for number in range(len(included))]
        return [Predictor(partial(ask, i), self.classes, errors=signed[i]) for i in range(len(included))]


def eta(progress: Callable[[str], None]) -> Callable[[int, int], None]:
    """Tells how many shadow models are trained and how long the rest will take, at most once a second."""
    started = last = time.monotonic()

    def told(done: int, total: int) -> None:
        nonlocal started, last
        now = time.monotonic()
        if done < total and now - last < 1:
            return
        left = (now - started) / done * (total - done)
        progress(f"shadow models: {done} of {total}" + (f", {left:.0f} s to go" if done < total else ""))
        last = now
        if done == total:
            started = now

    return told
