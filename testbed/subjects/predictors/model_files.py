"""Files of models: of which format is a file, and what can be made of it? A refusal names the format and a way out."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testbed.core.errors import InputError, TestbedError, UsageError, missing_extra
from testbed.subjects.predictors import foreign, preparing
from testbed.subjects.predictors.copies import last_of
from testbed.subjects.predictors.estimator import classifies, existing, regresses
from testbed.subjects.predictors.several import predicts_several
from testbed.subjects.predictors.survival import survives

Say = Callable[[str], None]
TRUST = "Loading {} can run any code in it. Load only files that you trust (--trusted says so)."
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"\x04\x22\x4d\x18")
"""How files start that joblib packs, by gzip, bz2, xz, lzma, zlib and lz4."""
IN_ZIP = (
    ("schema.json", "skops"),
    ("constants.pkl", "TorchScript"),
    ("serialized_exported_program.json", "torch.export"),
    ("models/model.json", "torch.export"),
    ("data.pkl", "torch.save"),
    ("model.weights.h5", "Keras"),
    ("model.ini", "H2O MOJO"),
)
"""A file within a zip archive, and the format that it tells."""
WAY_OUT = {
    "Keras": "Export it as ONNX (tf2onnx.convert), or wrap it in a function for --api.",
    "TensorFlow SavedModel": "Export it as ONNX (tf2onnx.convert), or wrap it in a function for --api.",
    "R": "Write its answers from R as a table for --predictions, or shadow models' answers for --shadow-predictions.",
    "PMML": "Write its answers as a table for --predictions, or wrap it in a function for --api.",
    "H2O MOJO": "Write its answers as a table for --predictions, or wrap it in a function for --api.",
    "safetensors": "These are weights alone. Give --factory module:function beside --weights.",
    "torch weights": "These are weights alone. Give --factory module:function beside --weights.",
    "a table": "A table of a model's answers is given with --predictions.",
    "unknown": "Write it with joblib.dump, skops.io.dump or as ONNX; or give its --predictions.",
}
HARMLESS = (
    "sklearn._loss.",
    "sklearn.ensemble._hist_gradient_boosting.",
    "sklearn.linear_model._",
    "sklearn.metrics._dist_metrics.",
    "sklearn.neighbors._",
    "sklearn.svm._",
    "sklearn.tree._tree.",
)
"""Compiled parts of scikit-learn's models, which skops asks about and which hold numbers alone."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model from a file. `network` marks torch modules and ONNX networks, whose outputs may be of several kinds.

    `trains` says whether the file holds all that is needed to train such a model again.
    """

    made: Any
    format: str
    network: bool = False
    trains: bool = True
    digest: str = ""
    """Of the file's bytes, or nothing for a folder."""


def format_of(path: Path) -> str:
    """The format of a file, by its contents and not by its name."""
    if path.is_dir():
        return "TensorFlow SavedModel" if (path / "saved_model.pb").exists() else "a folder"
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"PK"):
        return _of_zip(path)
    if start[:1] == b"\x80" or start.startswith(PACKED):
        return "R" if _unpacked(path).startswith((b"X\n", b"RDX", b"RDA")) else "pickle"
    for begins, name in (
        (b"CBM1", "CatBoost"),
        (b"tree\n", "LightGBM text"),
        (b"\x89HDF", "Keras"),
        (b"{L", "XGBoost"),
        (b"binf", "XGBoost"),
    ):
        if start.startswith(begins):
            return name
    if start.lstrip()[:1] == b"{" and b'"learner"' in start:
        return "XGBoost"
    if len(start) > 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return "safetensors"
    if b"<PMML" in start:
        return "PMML"
    if start[:1] == b"\x08" and path.suffix.lower() in (".onnx", ".ort", ".pb"):
        return "ONNX"
    return "a table" if path.suffix.lower() in (".csv", ".parquet", ".xlsx") else "unknown"


def _of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "unknown"
    return next((found for inner, found in IN_ZIP if any(n.endswith(inner) for n in names)), "unknown")


def _unpacked(path: Path) -> bytes:
    import gzip

    try:
        with gzip.open(path) as file:
            return file.read(8)
    except (OSError, EOFError):
        return b""


def read(path: Path, trusted: bool = False, say: Say = lambda _: None) -> Loaded:
    """The model in a file. What can be read without running code from the file is read so.

    Raises `UsageError` without a file or without the library that reads it, `InputError` for other contents.
    """
    if not path.is_dir():
        existing(path, "model")
    kind = format_of(path)
    readers: dict[str, Callable[[Path, bool, Say], Loaded]] = {
        "pickle": _pickled,
        "skops": _skops,
        "torch.save": _whole_module,
        "TorchScript": _scripted,
        "torch.export": _exported,
        "ONNX": _onnx,
        "XGBoost": _xgboost,
        "LightGBM text": _lightgbm,
        "CatBoost": _catboost,
    }
    if kind not in readers:
        raise refused(path, kind)
    try:
        loaded = readers[kind](path, trusted, say)
    except TestbedError:
        raise
    except ModuleNotFoundError as error:
        raise missing(path, kind, error) from None
    except Exception as error:  # a damaged file, or one of another version, may raise anything
        raise unreadable(path, kind, error) from None
    loaded = replace(loaded, digest=_digest(path))
    if not loaded.network:
        check_answers(loaded.made)
    return loaded


def _digest(path: Path) -> str:
    if path.is_dir():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refused(path: Path, kind: str) -> InputError:
    """The error for a file of a format that is not read."""
    known = "It is no format of a model that is known here." if kind == "unknown" else f"Its format is {kind}."
    return InputError(
        "TB-SUBJECT-043",
        f"The model file {path.name} is not read.",
        known,
        WAY_OUT.get(kind, WAY_OUT["unknown"]),
    )


def missing(path: Path, kind: str, error: ModuleNotFoundError) -> UsageError:
    """The error for a model whose library, or whose own code, is not installed."""
    name = (error.name or "").split(".")[0]
    return missing_extra(error) or UsageError(
        "TB-SUBJECT-044",
        f"The model file {path.name} ({kind}) needs the Python module {name!r}.",
        "It is not installed here, or is code of your own that is not on the path.",
        f"Install it (pip install {name}), or add the folder of your own code to PYTHONPATH.",
    )


def unreadable(path: Path, kind: str, error: Exception) -> InputError:
    """The error for a file of a known format that its library does not read. Only names of code are quoted."""
    own = f" {error}." if isinstance(error, AttributeError) and "Can't get attribute" in str(error) else ""
    return InputError(
        "TB-SUBJECT-011",
        f"The model file {path.name} cannot be loaded.",
        f"Its format is {kind}, and its library stopped with {type(error).__name__}.{own}",
        "Write it again with the versions installed here. Functions of your own must be importable, not part of a "
        "notebook. Or give its predictions with --predictions.",
    )


def check_answers(made: Any) -> None:
    """Raises `InputError` for a model that gives neither the probabilities of one label, nor a number, nor a curve."""
    several = predicts_several(made) and hasattr(made, "predict_proba")
    if survives(made) or several or classifies(made) or regresses(made):
        return
    made = last_of(made)
    kind = f"{type(made).__module__.split('.')[0]}.{type(made).__name__}"
    raise InputError(
        "TB-SUBJECT-012",
        f"The model gives neither the probabilities of one label nor a number for each person: it is {kind}.",
        "Membership is inferred from its confidence (predict_proba), or from the error of its predicted number.",
        _instead(made),
    )


def _instead(made: Any) -> str:
    if isinstance(made, dict | list | tuple):
        return "The file must hold one model. Save the estimator itself: joblib.dump(model, path)."
    if hasattr(made, "fit_predict") and hasattr(made, "score_samples"):
        return (
            "It finds outliers, and predicts nothing about a person, so its answers cannot be compared with a truth. "
            "Look for the records that it holds with testbed scan."
        )
    if hasattr(made, "fit_predict") and not hasattr(made, "predict_proba"):
        return "It groups people and predicts nothing about one. Look for the records that it holds with testbed scan."
    if _unfitted(made):
        return "It was not fitted. Save it after fit."
    if getattr(made, "voting", None) == "hard":
        return f"Its estimators vote. {OTHERWISE.format('voting=soft')}"
    if hasattr(made, "probability"):  # the support vector machines of scikit-learn
        return f"It was trained without probabilities. {OTHERWISE.format('probability=True')}"
    if not hasattr(made, "get_params"):
        return (
            "It is no scikit-learn estimator. If it gives probabilities, wrap it in a function for --api "
            "(--outputs probabilities), or give a table of them: --predictions with columns p_0, p_1."
        )
    return (
        "Give the classes that it predicts: --predictions with a column predicted_class. Or wrap it in a function for "
        "--api. Inside CalibratedClassifierCV it would be another model, to be released instead of this one."
    )


OTHERWISE = (
    "If it goes out as it is, give the classes that it predicts: --predictions with a column predicted_class. With {} "
    "it would be another model, to be released instead of this one."
)


def _unfitted(made: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(made)
    except NotFittedError:
        return True
    except Exception:  # an object that scikit-learn cannot tell anything about
        return False
    return False


def _pickled(path: Path, trusted: bool, say: Say) -> Loaded:
    import joblib

    if not trusted:
        say(f"warning: {TRUST.format(path.name)}")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made: Any = joblib.load(path)
    for version in {str(getattr(w.message, "original_sklearn_version", "")) for w in told} - {""}:
        say(f"warning: the model was written by scikit-learn {version}, and may answer otherwise with the version here")
    return Loaded(*_unwrapped(made))


def _unwrapped(made: Any) -> tuple[Any, str]:
    """The estimator in what a pickle held: itself, the only model of several objects, or a booster."""
    if isinstance(made, dict | list | tuple):
        made = _only_model(dict(made) if isinstance(made, dict) else {str(i): v for i, v in enumerate(made)}, made)
    kind = f"{type(made).__module__}.{type(made).__name__}"
    if kind == "lightgbm.basic.Booster":
        return foreign.LightgbmBooster.of(made), "pickle"
    if kind == "xgboost.core.Booster":
        return foreign.xgboost_estimator(made), "pickle"
    return made, "pickle"


def _only_model(held: dict[Any, Any], made: Any) -> Any:
    """The only model among these objects, or what was made of them if there is none or several.

    Raises `InputError` if a fitted transformer, or means and the like, stand beside the model: nothing says how records
    pass through them, and without them the model is asked about other records than those that it was trained on.
    """
    models = [v for v in held.values() if classifies(v) or regresses(v)]
    if len(models) != 1:
        return made
    others = {k: v for k, v in held.items() if v is not models[0]}
    steps = [f"{type(v).__name__} ({k})" for k, v in others.items() if _transforms(v)]
    if steps := steps or list(preparing.beside(others)):
        named = ", ".join(steps)
        raise InputError(
            "TB-SUBJECT-062",
            f"The file holds a model beside what prepares its records: {named}.",
            "Nothing says in which order they are used, and on which columns. Without them the model would be asked "
            "about records that it does not recognise.",
            "Save them as one: joblib.dump(make_pipeline(scaler, model), path). Or save the model alone, and give "
            "tables that were prepared as for its training.",
        )
    return models[0]


def _transforms(value: Any) -> bool:
    """Whether an object is a fitted transformer of records. Encoders of labels are not."""
    return hasattr(value, "transform") and hasattr(value, "get_params") and not type(value).__name__.startswith("Label")


def _skops(path: Path, trusted: bool, say: Say) -> Loaded:
    import skops.io

    asked: list[str] = skops.io.get_untrusted_types(file=path)
    unknown = [name for name in asked if not name.startswith(HARMLESS)]
    if unknown and not trusted:
        raise InputError(
            "TB-SUBJECT-045",
            f"The model file {path.name} (skops) holds types that skops does not know.",
            f"They are {', '.join(unknown[:10])}. Loading them runs their code.",
            "If you trust the file, add --trusted.",
        )
    return Loaded(skops.io.load(path, trusted=asked), "skops")


def _whole_module(path: Path, trusted: bool, say: Say) -> Loaded:
    """A torch module written whole, or a refusal for weights alone."""
    import torch

    try:
        torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        if not trusted:
            say(f"warning: {TRUST.format(path.name)}")
        made: Any = torch.load(path, weights_only=False, map_location="cpu")
        if isinstance(made, torch.nn.Module):
            return Loaded(made, "torch module", network=True)
        return Loaded(made, "torch.save")
    raise refused(path, "torch weights")


def _scripted(path: Path, trusted: bool, say: Say) -> Loaded:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the format deprecated
        return Loaded(torch.jit.load(str(path), map_location="cpu"), "TorchScript", network=True, trains=False)


def _exported(path: Path, trusted: bool, say: Say) -> Loaded:
    import torch

    exported = torch.export.load(io.BytesIO(path.read_bytes()))
    return Loaded(foreign.as_module(exported.module()), "torch.export", network=True, trains=False)


def _onnx(path: Path, trusted: bool, say: Say) -> Loaded:
    made = foreign.OnnxModel(path)
    if not made.labels and hasattr(made, "feature_names_"):
        return Loaded(foreign.OnnxNumber(made), "ONNX", trains=False)
    return Loaded(made, "ONNX", network=not made.labels, trains=False)


def _xgboost(path: Path, trusted: bool, say: Say) -> Loaded:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(path)
    return Loaded(foreign.xgboost_estimator(booster), "XGBoost", trains=False)


def _lightgbm(path: Path, trusted: bool, say: Say) -> Loaded:
    import lightgbm

    return Loaded(foreign.LightgbmBooster.of(lightgbm.Booster(model_file=str(path))), "LightGBM text")


def _catboost(path: Path, trusted: bool, say: Say) -> Loaded:
    return Loaded(foreign.catboost_estimator(path), "CatBoost")
