"""Models of other libraries as estimators: boosters without their wrapper, and ONNX files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from testbed.core import Array
from testbed.core.errors import InputError

NOT_A_CLASS_OR_NUMBER = "rank", "survival"
"""Beginnings of the objectives of models that predict neither classes nor a number."""


def _refuse_objective(objective: str) -> None:
    if objective.startswith(NOT_A_CLASS_OR_NUMBER) or "rank" in objective:
        raise InputError(
            "TB-SUBJECT-046",
            f"The model was trained for {objective}.",
            "It predicts neither classes nor a number that the true value of a person could be compared with.",
            "Audit its score: wrap it in a function for --api with --outputs number.",
        )


class LightgbmBooster(BaseEstimator):
    """A LightGBM booster with the parameters that its file names, as a classifier or a regressor."""

    feature_names_: list[str]

    def __init__(self, params: dict[str, Any], random_state: int = 0) -> None:
        self.params = params
        self.random_state = random_state

    @staticmethod
    def of(booster: Any) -> Any:
        """The estimator of a trained booster. Raises `InputError` if it ranks."""
        objective = str(booster.params.get("objective", "")) or _objective_in(booster)
        _refuse_objective(objective)
        kind = LightgbmClasses if objective.startswith(("binary", "multiclass", "cross_entropy")) else LightgbmNumber
        made = kind({k: v for k, v in booster.params.items() if k not in UNTOLD} | {"objective": objective})
        made.booster_, made.feature_names_ = booster, booster.feature_name()
        made.classes_ = np.arange(max(2, booster.params.get("num_class") or booster.num_model_per_iteration()))
        return made

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        import lightgbm

        told = {**self.params, "seed": self.random_state, "num_threads": 1, "verbosity": -1}
        if isinstance(self, LightgbmClasses):
            self.classes_, y = np.unique(y, return_inverse=True)
            if told.get("num_class", 1) > 1:
                told["num_class"] = len(self.classes_)
        self.booster_ = lightgbm.train(told, lightgbm.Dataset(x, y, weight=sample_weight))
        return self


UNTOLD = ("num_threads", "machines", "local_listen_port", "device_type", "categorical_feature", "verbosity")
"""Parameters that say where a booster was trained. Its `category` columns are those of the table."""


def _objective_in(booster: Any) -> str:
    lines = booster.model_to_string(num_iteration=1).splitlines()
    return next((line.partition("=")[2].split(" ")[0] for line in lines if line.startswith("objective=")), "")


class LightgbmClasses(ClassifierMixin, LightgbmBooster):
    """A booster of classes, which are numbered from 0."""

    def predict_proba(self, x: Any) -> Array:
        said = np.asarray(self.booster_.predict(x))
        return np.column_stack([1 - said, said]) if said.ndim == 1 else said


class LightgbmNumber(RegressorMixin, LightgbmBooster):
    """A booster of a number."""

    def predict(self, x: Any) -> Array:
        return np.asarray(self.booster_.predict(x))


XGBOOST_PARAMS = (
    ("learning_rate", float),
    ("max_depth", int),
    ("max_leaves", int),
    ("max_bin", int),
    ("min_child_weight", float),
    ("subsample", float),
    ("colsample_bytree", float),
    ("colsample_bylevel", float),
    ("colsample_bynode", float),
    ("gamma", float),
    ("reg_alpha", float),
    ("reg_lambda", float),
    ("max_cat_to_onehot", int),
    ("max_cat_threshold", int),
    ("grow_policy", str),
)


def xgboost_estimator(booster: Any) -> Any:
    """The scikit-learn wrapper of a booster, with the parameters that the booster still knows."""
    import xgboost

    learner = json.loads(booster.save_config())["learner"]
    objective = str(learner["objective"]["name"])
    _refuse_objective(objective)
    known = learner["gradient_booster"].get("tree_train_param", {})
    told: dict[str, Any] = {name: kind(known[name]) for name, kind in XGBOOST_PARAMS if name in known}
    kind = xgboost.XGBClassifier if objective.startswith(("binary", "multi")) else xgboost.XGBRegressor
    categories = "c" in (booster.feature_types or ())
    made = kind(n_estimators=booster.num_boosted_rounds(), enable_categorical=categories, **told)
    made.load_model(booster.save_raw("ubj"))
    return made.set_params(objective=objective)


def catboost_estimator(path: Path) -> Any:
    """A CatBoost model with the parameters that its file names."""
    import catboost

    loss = str(catboost.CatBoost().load_model(str(path)).get_all_params().get("loss_function", ""))
    if any(word in loss for word in ("Rank", "Pair", "Cox", "Survival", "QuerySoftMax", "Yeti")):
        _refuse_objective(f"rank ({loss})")
    classes = loss.startswith(("Logloss", "CrossEntropy", "MultiClass"))
    made: Any = (catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor)().load_model(str(path))
    indices = list(made.get_cat_feature_indices())
    if indices:
        made._init_params["cat_features"] = indices  # the file names these columns beside the parameters
    return made


class OnnxModel:
    """An ONNX file. `labels` says that it gives a label and probabilities, as converted estimators do.

    Networks give one output, whose kind is not known. A file takes one array, or an input for each column by name.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self._session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._inputs: list[Any] = self._session.get_inputs()
        outputs: list[Any] = self._session.get_outputs()
        self.labels = len(outputs) > 1
        self._outputs = [o.name for o in outputs[:2]]
        if len(self._inputs) > 1:
            self.feature_names_ = [i.name for i in self._inputs]
        self.classes_: Any = np.arange(2)

    def _said(self, x: Any) -> list[Any]:
        table = x if isinstance(x, pd.DataFrame) else pd.DataFrame(np.asarray(x))
        if len(self._inputs) == 1:
            given = {self._inputs[0].name: _tensor(table, self._inputs[0].type)}
        else:
            given = {i.name: _tensor(table[[i.name]], i.type) for i in self._inputs}
        return self._session.run(self._outputs, given)

    def learn_classes(self, x: Any) -> None:
        """Finds the classes of the columns of probabilities: by their names, or by the labels that the model gives."""
        labels, said = self._said(x)[:2]
        if isinstance(said, list):
            self.classes_ = np.asarray(list(said[0]))
            return
        columns = np.asarray(said).argmax(1)
        count = np.asarray(said).shape[1]
        found = {int(c): pd.Series(labels[columns == c]).mode()[0] for c in np.unique(columns)}
        numbers = all(not isinstance(v, str) for v in found.values())
        self.classes_ = np.array([found.get(c, c if numbers else f"class {c}") for c in range(count)])

    def predict_proba(self, x: Any) -> Array:
        """Probabilities (n, classes)."""
        said = self._said(x)[1]
        return np.array([[row[c] for c in row] for row in said]) if isinstance(said, list) else np.asarray(said)

    def __call__(self, x: Array) -> Array:
        """The only output of a network."""
        return np.asarray(self._said(x)[0])


class OnnxNumber(RegressorMixin, BaseEstimator):
    """An ONNX file that predicts a number from columns by name."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.feature_names_ = model.feature_names_

    def predict(self, x: Any) -> Array:
        return self.model(x)


KINDS = {"float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32, "bool": np.bool_}


def _tensor(table: Any, kind: str) -> Any:
    name = kind.removeprefix("tensor(").removesuffix(")")
    if name == "string":
        return np.asarray(table.astype(str), dtype=object)
    return np.asarray(table, dtype=KINDS.get(name, np.float32))


def as_module(exported: Any) -> Any:
    """An exported program as a torch module that allows `eval` and `train`, which such programs refuse."""
    import torch

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = (exported,)  # in a tuple, so that torch does not count it as a part

        def forward(self, x: Any) -> Any:
            return self.held[0](x)

    return Exported()
