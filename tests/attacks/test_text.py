"""Sentences from a transformer's gradients: all of them, and a certificate that says so or keeps silent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from scenarios.language_model import language_model
from testbed import judge, models
from testbed.attacks.inversion.dager import Span, attention_inputs
from testbed.attacks.registry import find
from testbed.core import Batch, Cohort, Exchange, ModelSpec, Protocol, Reconstruction, Threat, Transcript, Unavailable
from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate
from testbed.harness.run import run

KNOWS = Threat("server", knows=frozenset({"architecture"}))


def words(batch: int, length: int, vocabulary: int, seed: int = 1) -> np.ndarray:
    """Sentences of Zipf-like words, of several lengths."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, vocabulary)
    x = rng.choice(np.arange(1, vocabulary), (batch, length), p=chance / chance.sum())
    for row in x:
        row[rng.integers(length // 2, length + 1) :] = 0
    return x


def observed(x: np.ndarray, vocabulary: int, width: int, causal: bool, layers: int = 2) -> Transcript:
    spec = ModelSpec(
        "transformer",
        {
            "shape": [x.shape[1]],
            "classes": 2,
            "vocabulary": vocabulary,
            "width": width,
            "causal": causal,
            "layers": layers,
        },
    )
    model = models.build(spec, 0)
    sent = models.get_parameters(model)
    given = torch.tensor(x, dtype=torch.float32)
    models.record_losses(model, model(given), given, torch.arange(len(x)) % 2).mean().backward()
    gradient = {k: p.grad.numpy() for k, p in model.named_parameters() if p.grad is not None}
    return Transcript((Exchange(1, 0, sent, gradient),), spec, Protocol("fedsgd", len(x), rounds=1, clients=1))


def claimed(x: np.ndarray, view: Transcript) -> tuple[set[tuple[int, ...]], float]:
    claim = find("dager").run(view, Batch(((1, 0),), (x.shape[1],), 2), None, 0, KNOWS)
    return {tuple(int(w) for w in row) for row in claim.batches[1, 0]}, claim.certificate[1, 0]


@pytest.mark.parametrize(("batch", "causal"), [(1, True), (4, True), (7, True), (1, False), (4, False)])
def test_every_sentence_of_a_batch_comes_back_whole(batch: int, causal: bool) -> None:
    x = words(batch, 8, 1000)
    found, certificate = claimed(x, observed(x, 1000, 64, causal))
    assert found == {tuple(row) for row in x.tolist()}
    assert certificate == 1.0


def test_more_words_than_dimensions_are_not_claimed() -> None:
    x = words(12, 8, 1000)
    found, certificate = claimed(x, observed(x, 1000, 32, True))
    assert not found
    assert certificate == 0.0


def test_one_layer_or_pictures_are_refused() -> None:
    x = words(2, 8, 100)
    with pytest.raises(Unavailable, match="no_transformer"):
        claimed(x, observed(x, 100, 32, True, layers=1))


def test_attention_is_found_by_any_of_its_usual_names() -> None:
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj, self.k_proj, self.v_proj = (nn.Linear(4, 4) for _ in range(3))

    model = nn.ModuleDict({"a": Apart(), "b": nn.MultiheadAttention(4, 2)})
    first, second = attention_inputs(model)
    assert first.weights == ("a.q_proj.weight", "a.k_proj.weight", "a.v_proj.weight")
    assert first.module == "a.q_proj"
    assert (second.module, second.weights) == ("b", ("b.in_proj_weight",))


def test_a_span_is_that_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 8))
    span = Span.of((rng.normal(size=(20, 3)) @ rows).astype(np.float32))
    assert span.rank == 3
    assert not span.full
    assert span.distance(rows).max() < 1e-4
    assert span.distance(rng.normal(size=(5, 8))).min() > 0.1


def test_a_later_word_of_a_decoder_changes_nothing_before_it() -> None:
    spec = ModelSpec("transformer", {"shape": [6], "classes": 2, "vocabulary": 50, "width": 16})
    model = models.build(spec, 0)
    one = torch.tensor([[3.0, 4, 5, 6, 0, 0]])
    other = torch.tensor([[3.0, 4, 5, 9, 9, 9]])
    assert torch.equal(model(one)[:, :3], model(other)[:, :3])


def test_words_count_at_their_places_and_padding_does_not() -> None:
    people = Cohort(np.array([[5, 6, 7, 0], [8, 9, 0, 0]], np.float32), np.zeros(2, int), np.array(["a", "b"]))
    claim = Reconstruction({(1, 0): np.array([[8.0, 3, 0, 0], [5, 6, 7, 0]])})
    evidence, by_place = judge.tokens(claim, {(1, 0): people}, "true", "used")
    assert evidence.success.tolist() == [1.0, 0.5]
    assert evidence.score.tolist() == [1.0, 0.0]
    assert by_place.tolist() == [1.0, 0.5, 1.0, 0.0]
    nothing, _ = judge.tokens(Reconstruction({}), {(1, 0): people}, "true", "used")
    assert nothing.success.tolist() == [0.0, 0.0]
    assert nothing.performed == 0


@pytest.mark.usefixtures("few_answers")
def test_the_scenario_rebuilds_news_and_not_under_noise() -> None:
    small = {"rounds": 1, "length": 8, "width": 64}
    plain = run(language_model, small).result.findings[0]
    assert isinstance(plain.measure, Estimate)
    assert plain.measure.metric == "token_recall"
    assert plain.measure.value > 0.99
    assert isinstance(plain.baseline, Estimate)
    assert plain.baseline.value < 0.2
    noisy = run(language_model, {**small, "noise": 0.01}).result.findings[0]
    assert isinstance(noisy.measure, Estimate)
    assert noisy.measure.value < 0.1


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="TB-DATA-072"):
        run(language_model, {"data": "digits"})
    with pytest.raises(UsageError, match="TB-SCENARIO-025"):
        run(language_model, {"kind": "recurrent"})
