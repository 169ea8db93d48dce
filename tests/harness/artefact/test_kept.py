"""What models keep of their training data is seen without an original, and what they computed from it is not."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.cluster import DBSCAN, AffinityPropagation, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, KernelPCA, TruncatedSVD
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import KNNImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity, KNeighborsClassifier, LocalOutlierFactor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, QuantileTransformer, StandardScaler
from sklearn.svm import SVC, OneClassSVM
from torch import nn

from testbed.harness.artefact.scan import Seen, scan

RNG = np.random.default_rng(0)
X = np.column_stack(
    [RNG.integers(20, 95, 300), RNG.normal(75, 14, 300).round(1), RNG.normal(139, 4, (300, 3)).round(2)]
)
Y = RNG.integers(0, 3, 300)
TEXTS = [f"patient word{i} seen at ward{i % 40} with cough" for i in range(300)]
WARDS = np.array([[f"ward {i % 60}", "ab"[i % 2]] for i in range(300)], dtype=object)

KEEP_ROWS: list[Any] = [
    KNeighborsClassifier(),
    make_pipeline(StandardScaler(), Nystroem(n_components=60)),
    make_union(PCA(2), make_pipeline(StandardScaler(), Nystroem(n_components=60))),
    OneVsRestClassifier(make_pipeline(Nystroem(n_components=60), LogisticRegression(max_iter=10))),
    SVC(),
    OneClassSVM(),
    KernelRidge(),
    KernelPCA(2),
    GaussianProcessRegressor(),
    KNNImputer(),
    LocalOutlierFactor(),
    KernelDensity(),
    DBSCAN(eps=1e9),
    QuantileTransformer(n_quantiles=100),
    ColumnTransformer([("n", make_pipeline(StandardScaler(), Nystroem(n_components=60)), [0, 1, 2])]),
]


def scanned(tmp_path: Path, made: Any, by: str = "pickle") -> list[Seen]:
    path = tmp_path / "m"
    if by == "torch":
        torch.save(made, path)
    elif by == "joblib":
        joblib.dump(made, path)
    else:
        path.write_bytes(pickle.dumps(made))
    return scan(path).seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("by", ["pickle", "joblib"])
@pytest.mark.parametrize("made", KEEP_ROWS, ids=lambda m: type(m).__name__)
def test_records_in_any_nested_estimator_are_seen(tmp_path: Path, made: Any, by: str) -> None:
    seen = scanned(tmp_path, made.fit(X, Y), by)
    assert [s for s in seen if s.kind == "training records" and s.sure == "certain"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "made", [PCA(5), KMeans(60, n_init=1), GaussianNB(), TruncatedSVD(3), RBFSampler(n_components=60), StandardScaler()]
)
def test_what_is_computed_from_records_is_none(tmp_path: Path, made: Any) -> None:
    assert scanned(tmp_path, made.fit(X, Y)) == []


def test_centres_that_are_records_are_seen_by_their_decimals(tmp_path: Path) -> None:
    class Exemplars(KMeans):
        pass

    made = Exemplars(60, n_init=1).fit(X)
    made.cluster_centers_ = X[:60]
    globals()["Exemplars"] = Exemplars
    Exemplars.__qualname__ = "Exemplars"
    assert [s.kind for s in scanned(tmp_path, made)] == ["table-shaped array"]
    found = scanned(tmp_path, AffinityPropagation(random_state=0).fit(X))
    assert found[0].kind == "training records"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("by", ["pickle", "joblib"])
@pytest.mark.parametrize("made", [TfidfVectorizer(), CountVectorizer(analyzer="char", ngram_range=(3, 3))])
def test_a_vocabulary_is_seen_without_its_words(tmp_path: Path, made: Any, by: str) -> None:
    model = make_pipeline(made, LogisticRegression(max_iter=10)).fit(TEXTS, Y)
    seen = scanned(tmp_path, model, by)
    [one] = [s for s in seen if s.kind == "words of training data"]
    assert one.sure == "likely"
    assert one.rows == len(made.vocabulary_)
    assert "word1" not in repr(seen)


def test_categories_of_many_values_are_words_and_those_of_few_are_not(tmp_path: Path) -> None:
    for encoder in (OneHotEncoder(), OrdinalEncoder(), DictVectorizer()):
        given: Any = [{"ward": w} for w in WARDS[:, 0]] if isinstance(encoder, DictVectorizer) else WARDS
        seen = [s for s in scanned(tmp_path, encoder.fit(given)) if s.kind == "words of training data"]
        assert [s.rows for s in seen] == [60]
    assert scanned(tmp_path, OneHotEncoder().fit(WARDS[:, 1:])) == []
    assert scanned(tmp_path, make_pipeline(HashingVectorizer(n_features=64), StandardScaler(with_mean=False))) == []


class Memory(nn.Module):
    """A network that keeps records in a buffer, perhaps standardised."""

    def __init__(self, kept: torch.Tensor) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(5, 64), nn.BatchNorm1d(64), nn.Linear(64, 64))
        self.register_buffer("seen", kept)


def test_records_in_a_networks_buffers_are_seen_and_tables_by_place_are_not(tmp_path: Path) -> None:
    standard = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    for kept in (standard, torch.tensor(X, dtype=torch.float32)):
        assert [s.kind for s in scanned(tmp_path, Memory(kept), "torch")] == ["table-shaped array"]
    place, rate = torch.arange(300.0)[:, None], torch.exp(-torch.arange(0, 64, 2) / 10.0)
    waves = torch.cat([torch.sin(place * rate), torch.cos(place * rate)], 1)
    for table in (waves, torch.tril(torch.ones(300, 300)), (place - place.T).clamp(-8, 8)):
        assert scanned(tmp_path, Memory(table), "torch") == []


def test_a_file_of_weights_with_a_table_named_as_data_is_seen(tmp_path: Path) -> None:
    standard = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    weights = {"inner.weight": torch.randn(300, 5), "inner.bias": torch.randn(300)}
    assert scanned(tmp_path, weights, "torch") == []
    assert [s.kind for s in scanned(tmp_path, weights | {"gp.train_inputs": standard}, "torch")] == [
        "table-shaped array"
    ]
    save_file(weights | {"memory": standard}, tmp_path / "s")
    assert [s.kind for s in scan(tmp_path / "s").seen] == ["table-shaped array"]
