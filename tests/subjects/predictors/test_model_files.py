"""Files of models: every format is read by its contents, or refused by its name with a way out."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier, VotingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from testbed.core.errors import InputError, TestbedError, UsageError
from testbed.subjects.predictors import estimator, load, model_files, torch_weights
from testbed.subjects.predictors.subject import Subject
from testbed.subjects.predictors.torch_module import torch_outputs, trained

NAMES = ["a", "b", "c"]


def people(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=NAMES)
    return frame.assign(label=(frame.a + rng.normal(size=80) > 0).astype(int))


MEMBERS, CONTROLS = people(0), people(1)
X, Y = MEMBERS[NAMES], MEMBERS.label


def subject(path: Path, outputs: str = "auto", label: str = "label", **more: Any) -> Subject:
    frames = {"members": MEMBERS, "controls": CONTROLS}
    return load.from_file(model_files.read(path, **more), outputs, frames, label, None)


def same(made: Subject, expected: Any) -> None:
    np.testing.assert_allclose(made.model.ask(made.controls), expected, atol=1e-5)


def test_a_pickle_is_loaded_with_a_warning_that_trust_silences(tmp_path: Path) -> None:
    made = RandomForestClassifier(5, random_state=0).fit(X, Y)
    joblib.dump(made, tmp_path / "m.joblib", compress=3)
    told: list[str] = []
    same(subject(tmp_path / "m.joblib", say=told.append), made.predict_proba(CONTROLS[NAMES]))
    assert "can run any code" in told[0]
    model_files.read(tmp_path / "m.joblib", trusted=True, say=told.append)
    assert len(told) == 1


def test_a_dictionary_that_holds_one_model_is_opened(tmp_path: Path) -> None:
    made = RandomForestClassifier(5, random_state=0).fit(X, Y)
    joblib.dump({"model": made, "threshold": 0.3}, tmp_path / "m.joblib")
    assert isinstance(model_files.read(tmp_path / "m.joblib", True).made, RandomForestClassifier)


def test_skops_files_run_no_code_and_are_trained_again(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    made = RandomForestClassifier(5, random_state=0).fit(X, Y)
    skops.dump(made, tmp_path / "m.skops")
    read = subject(tmp_path / "m.skops")
    same(read, made.predict_proba(CONTROLS[NAMES]))
    assert isinstance(read.recipe, estimator.SklearnRecipe)


def test_converted_estimators_in_onnx_answer_by_their_own_classes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from skl2onnx.common.data_types import FloatTensorType

    made = RandomForestClassifier(5, random_state=0).fit(X.to_numpy(), np.where(Y == 1, "ill", "well"))
    for zipped in (True, False):
        options = {id(made): {"zipmap": zipped}}
        kinds = [("x", FloatTensorType([None, 3]))]
        (tmp_path / "m.onnx").write_bytes(
            skl2onnx.convert_sklearn(made, initial_types=kinds, options=options).SerializeToString()
        )
        frames = {r: f.assign(label=np.where(f.label == 1, "ill", "well")) for r, f in FRAMES.items()}
        read = load.from_file(model_files.read(tmp_path / "m.onnx"), "auto", frames, "label", None)
        same(read, made.predict_proba(CONTROLS[NAMES].to_numpy()))
        assert read.recipe is None


FRAMES = {"members": MEMBERS, "controls": CONTROLS}


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)))


def expected(net: Net) -> Any:
    with torch.no_grad():
        return net(torch.tensor(CONTROLS[NAMES].to_numpy(np.float32))).softmax(1).numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["module", "script", "export", "onnx"])
def test_whole_networks_are_read(kind: str, tmp_path: Path) -> None:
    net, path = Net().eval(), tmp_path / ("m.onnx" if kind == "onnx" else "m.pt")
    example = (torch.zeros(2, 3),)
    if kind == "module":
        torch.save(net, path)
    elif kind == "script":
        torch.jit.save(torch.jit.trace(net, example), str(path))
    elif kind == "export":
        batch = torch.export.Dim("batch")
        torch.export.save(torch.export.export(net, example, dynamic_shapes=({0: batch},)), path)
    else:
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        pytest.importorskip("onnx", reason="onnx is not installed")
        try:
            torch.onnx.export(net, example, str(path), dynamo=False, dynamic_axes={"x": {0: "n"}}, input_names=["x"])
        except (ImportError, TypeError) as error:
            pytest.skip(f"torch cannot write ONNX here: {type(error).__name__}")
    same(subject(path), expected(net))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_boosters_are_read_from_the_files_of_their_libraries(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    made = xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(X, Y)
    for ending in ("json", "ubj"):
        made.save_model(tmp_path / f"m.{ending}")
        read = subject(tmp_path / f"m.{ending}")
        same(read, made.predict_proba(CONTROLS[NAMES]))
        assert read.recipe is None  # the file does not say with which parameters it was trained
    joblib.dump(made.get_booster(), tmp_path / "m.joblib")
    read = subject(tmp_path / "m.joblib")
    same(read, made.predict_proba(CONTROLS[NAMES]))
    assert isinstance(read.recipe, estimator.SklearnRecipe)
    assert read.recipe.estimator.get_params()["max_depth"] == 2


def test_a_lightgbm_file_is_trained_again_with_the_parameters_in_it(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    made = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=3, verbose=-1).fit(X, Y)
    made.booster_.save_model(tmp_path / "m.txt")
    read = subject(tmp_path / "m.txt")
    same(read, made.predict_proba(CONTROLS[NAMES]))
    assert isinstance(read.recipe, estimator.SklearnRecipe)
    [again] = read.recipe.many(read.members, np.ones((1, 80), bool), np.random.default_rng(0))
    np.testing.assert_allclose(again.ask(read.controls), made.predict_proba(CONTROLS[NAMES]), atol=1e-5)


def test_a_catboost_file_is_trained_again_with_the_parameters_in_it(tmp_path: Path) -> None:
    catboost = pytest.importorskip("catboost", reason="CatBoost is not installed")
    made = catboost.CatBoostClassifier(iterations=5, depth=3, verbose=0, allow_writing_files=False).fit(X, Y)
    made.save_model(str(tmp_path / "m.cbm"))
    read = subject(tmp_path / "m.cbm")
    same(read, made.predict_proba(CONTROLS[NAMES]))
    assert isinstance(read.recipe, estimator.SklearnRecipe)
    assert read.recipe.estimator.get_params()["depth"] == 3


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (lambda p: p.write_bytes(b"\x89HDF\r\n"), "Keras"),
        (lambda p: p.write_bytes(b"<?xml version='1.0'?><PMML version='4.4'>"), "PMML"),
        (lambda p: torch.save(Net().state_dict(), p), "torch weights"),
        (lambda p: save_file(Net().state_dict(), str(p)), "safetensors"),
        (lambda p: p.write_bytes(b"nothing"), "no format of a model"),
    ],
)
def test_a_refusal_names_the_format_and_a_way_out(write: Any, named: str, tmp_path: Path) -> None:
    write(tmp_path / "m")
    with pytest.raises(InputError, match="TB-SUBJECT-043") as refused:
        model_files.read(tmp_path / "m")
    assert named in str(refused.value)
    assert "--" in refused.value.fix or "ONNX" in refused.value.fix


def test_models_that_are_no_classifier_are_named_with_what_to_do(tmp_path: Path) -> None:
    for made, wanted in (
        (make_pipeline(StandardScaler(), SVC()).fit(X, Y), "probability=True"),
        (LinearSVC().fit(X, Y), "another model"),
        (RandomForestClassifier(), "not fitted"),
        (make_pipeline(StandardScaler(), SVC(probability=True)), "not fitted"),
        (VotingClassifier([("a", GaussianNB())]).fit(X, Y), "voting=soft"),
        (IsolationForest(n_estimators=2).fit(X), "testbed scan"),
        (KMeans(2, n_init=1).fit(X), "testbed scan"),
        ({"a": 1}, "joblib.dump"),
    ):
        joblib.dump(made, tmp_path / "m.joblib")
        with pytest.raises(InputError, match="TB-SUBJECT-012") as refused:
            model_files.read(tmp_path / "m.joblib", True)
        assert wanted in refused.value.fix
        assert "Pipeline" not in str(refused.value)  # the step that lacks probabilities is named


@pytest.mark.parametrize("bundled", [lambda s, m: {"scaler": s, "model": m, "features": NAMES}, lambda s, m: (s, m)])
def test_a_model_beside_its_scaler_is_refused(bundled: Any, tmp_path: Path) -> None:
    """It would be asked about records that are not scaled, and an audit of such answers finds nothing."""
    scaler = StandardScaler().fit(X)
    made = RandomForestClassifier(2).fit(scaler.transform(X), Y)
    joblib.dump(bundled(scaler, made), tmp_path / "m.joblib")
    with pytest.raises(InputError, match="TB-SUBJECT-062") as refused:
        model_files.read(tmp_path / "m.joblib", True)
    assert "StandardScaler" in str(refused.value)
    assert "make_pipeline" in refused.value.fix


@pytest.mark.parametrize(
    "beside", [{"mean": np.ones(3), "std": np.ones(3)}, {"preprocess": {"center": [0.1, 0.2, 0.3]}}]
)
def test_a_model_beside_means_and_deviations_is_refused(beside: dict[str, Any], tmp_path: Path) -> None:
    joblib.dump({"model": RandomForestClassifier(2).fit(X, Y), **beside}, tmp_path / "m.joblib")
    with pytest.raises(InputError, match="TB-SUBJECT-062"):
        model_files.read(tmp_path / "m.joblib", True)


def test_a_model_beside_its_threshold_and_its_labels_is_read(tmp_path: Path) -> None:
    made = RandomForestClassifier(2).fit(X, Y)
    joblib.dump({"model": made, "threshold": 0.3, "names": LabelEncoder().fit(["a", "b"])}, tmp_path / "m.joblib")
    assert isinstance(model_files.read(tmp_path / "m.joblib", True).made, RandomForestClassifier)


def test_a_library_that_is_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04cnosuchlibrary.models\nModel\n.")
    with pytest.raises(UsageError, match="TB-SUBJECT-044") as refused:
        model_files.read(tmp_path / "m.pkl", True)
    assert "pip install nosuchlibrary" in refused.value.fix
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04c__main__\nMyTransformer\n.")
    with pytest.raises(TestbedError, match="TB-SUBJECT-011") as refused:
        model_files.read(tmp_path / "m.pkl", True)
    assert "MyTransformer" in refused.value.why


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_module.", "model.net."])
@pytest.mark.parametrize("nested", ["", "state_dict", "model_state_dict"])
def test_weights_are_found_under_prefixes_and_in_checkpoints(prefix: str, nested: str, tmp_path: Path) -> None:
    net = Net()
    state: dict[str, Any] = {prefix + k: v for k, v in net.state_dict().items()}
    if nested:
        state = {"epoch": 3, nested: state | ({"criterion.weight": torch.ones(2)} if prefix else {})}
    torch.save(state, tmp_path / "w.pt")
    said = torch_outputs(Net, tmp_path / "w.pt")(CONTROLS[NAMES].to_numpy())
    np.testing.assert_allclose(torch.tensor(said).softmax(1).numpy(), expected(net), atol=1e-6)


def test_safetensors_are_weights(tmp_path: Path) -> None:
    net = Net()
    save_file({"module." + k: v for k, v in net.state_dict().items()}, str(tmp_path / "w.safetensors"))
    other = Net()
    torch_weights.put(other, tmp_path / "w.safetensors")
    np.testing.assert_allclose(expected(other), expected(net))


def test_weights_that_do_not_fit_say_which_names_do_not(tmp_path: Path) -> None:
    torch.save({"first.weight": torch.ones(9, 3), "further.bias": torch.ones(2)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="TB-SUBJECT-015") as refused:
        torch_weights.put(Net(), tmp_path / "w.pt")
    for name in ("1 of the module's 4", "shape has first.weight", "first.bias", "further.bias"):
        assert name in refused.value.why
    (tmp_path / "w.pt").write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match=r"TB-SUBJECT-0(49|52)"):
        torch_weights.put(Net(), tmp_path / "w.pt")


def test_an_untrained_module_is_refused() -> None:
    with pytest.raises(UsageError, match="TB-SUBJECT-051"):
        trained(Net)
    net = Net()
    trained(lambda: net)


class Named(Net):
    def forward(self, x: torch.Tensor) -> Any:
        return {"loss": torch.zeros(()), "logits": super().forward(x)}


def test_a_module_may_name_its_logits(tmp_path: Path) -> None:
    net = Named()
    torch.save(net.state_dict(), tmp_path / "w.pt")
    said = torch_outputs(Named, tmp_path / "w.pt")(CONTROLS[NAMES].to_numpy())
    assert said.shape == (80, 2)


@pytest.mark.parametrize("beside", ["mean", "std", "x_mean", "scaler", "feature_std", "normalizer", "mins"])
def test_a_checkpoint_with_what_prepares_records_is_refused(beside: str, tmp_path: Path) -> None:
    torch.save({"state_dict": Net().state_dict(), beside: torch.ones(3), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="TB-SUBJECT-064") as refused:
        torch_weights.put(Net(), tmp_path / "w.pt")
    assert beside in refused.value.why or beside in str(refused.value)


@pytest.mark.parametrize("nested", ["preprocessing", "normalization", "stats"])
def test_means_in_a_part_of_a_checkpoint_are_found_too(nested: str, tmp_path: Path) -> None:
    prepares = {"mean": torch.ones(1, 3), "std": [1.0, 2.0, 3.0]}
    torch.save({"state_dict": Net().state_dict(), nested: prepares}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="TB-SUBJECT-064"):
        torch_weights.put(Net(), tmp_path / "w.pt")


class Scaled(Net):
    """A network that scales its records itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(3))


def test_means_that_are_part_of_the_module_are_weights(tmp_path: Path) -> None:
    for held in (Scaled().state_dict(), {"state_dict": Scaled().state_dict()}):
        torch.save(held, tmp_path / "w.pt")
        torch_weights.put(Scaled(), tmp_path / "w.pt")


def test_a_checkpoint_with_the_state_of_its_training_is_read(tmp_path: Path) -> None:
    beside = {"epoch": 3, "optimizer": {"state": {}}, "loss": 0.3, "scheduler": {"last_epoch": 1}, "best": 0.9}
    beside |= {"scaler": torch.amp.GradScaler("cpu").state_dict() or {"scale": 65536.0, "growth_factor": 2.0}}
    beside |= {"optim": torch.optim.Adam(Net().parameters()).state_dict(), "max": True, "offset": "none"}
    torch.save({"state_dict": Net().state_dict(), **beside}, tmp_path / "w.pt")
    torch_weights.put(Net(), tmp_path / "w.pt")
