"""Split learning: what crosses the cut is what one network trained whole would compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from testbed.core import Cohort
from testbed.defences import named
from testbed.subjects.federation import transcript
from testbed.subjects.federation.split import CUT, GRADIENT, OF, ROWS, Bottom, SplitLearning, Top

RNG = np.random.default_rng(0)
X = RNG.random((30, 5)).astype(np.float32)
PEOPLE = Cohort(X, (X[:, 0] + X[:, 4] > 1).astype(np.int64), np.arange(30).astype(str))
SPLIT = SplitLearning(5, 2, width=4, rounds=8, batch=12, learning_rate=0.5, seed=3)


def test_every_row_is_sent_once_a_pass() -> None:
    sent = np.concatenate([SPLIT.rows(30, r) for r in range(1, 6)])
    assert sorted(sent.tolist()) == sorted([*range(30), *range(30)])


def whole() -> tuple[list[np.ndarray], np.ndarray]:
    """The gradients at the cut of each batch, and the last predictions, of one network without any cut."""
    bottom, top = Bottom(SPLIT), Top(SPLIT)
    parts = [bottom.weight, bottom.bias, *top.parts]
    found: list[np.ndarray] = []
    for round_ in range(1, SPLIT.rounds + 1):
        rows = SPLIT.rows(30, round_)
        cut = bottom(X[rows, :2])
        cut.retain_grad()
        y = torch.tensor(PEOPLE.y[rows], dtype=torch.float32)
        torch.nn.functional.binary_cross_entropy_with_logits(top(cut, X[rows, 2:]), y).backward()
        assert cut.grad is not None
        found.append(cut.grad.numpy().copy())
        for number, part in enumerate(parts):
            if part.grad is not None and (number > 1 or round_ < SPLIT.rounds):  # the last gradient stays unsent
                part.data -= SPLIT.learning_rate * part.grad
            part.grad = None
    with torch.no_grad():
        return found, torch.sigmoid(top(bottom(X[:, :2]), X[:, 2:])).numpy()


def test_what_passes_between_the_parties_is_what_one_network_would_compute() -> None:
    view, joint = SPLIT.run(PEOPLE)
    gradients, said = whole()
    assert len(view.exchanges) == SPLIT.rounds
    for exchange, before in zip(view.exchanges[1:], gradients[:-1], strict=True):
        assert exchange.sent is not None
        assert exchange.sent[OF].tolist() == SPLIT.rows(30, exchange.round - 1).tolist()
        assert exchange.sent[GRADIENT] == pytest.approx(before, abs=1e-6)
    assert joint.predict(X) == pytest.approx(said, abs=1e-6)


def test_the_attacker_sees_neither_the_other_network_nor_labels() -> None:
    view, _ = SPLIT.run(PEOPLE)
    assert view.final is None
    assert all(e.sent is not None and set(e.sent) == {ROWS, OF, GRADIENT} for e in view.exchanges)
    assert all(e.returned is not None and set(e.returned) == {CUT} for e in view.exchanges)


@pytest.mark.parametrize("defence", ["none", "cut_noise:1", "equal_norms"])
def test_equal_runs_give_equal_transcripts(defence: str) -> None:
    protected = replace(SPLIT, defences=named.configured(defence))
    one, other = (transcript.to_bytes(protected.run(PEOPLE)[0]) for _ in range(2))
    assert one == other


def test_defences_at_the_cut_change_lengths_as_they_say() -> None:
    gradients = np.concatenate([RNG.normal(0, 1, (4000, 8)), RNG.normal(0, 0.1, (4000, 8))]).astype(np.float32)
    longest = np.linalg.norm(gradients, axis=1).max()
    (noisy,) = named.configured("cut_noise:2")
    added = noisy.build(0)(gradients, np.random.default_rng(1)) - gradients
    assert np.sqrt((added**2).sum(1).mean()) == pytest.approx(2 * longest, rel=0.02)
    (equal,) = named.configured("equal_norms")
    made = equal.build(0)(gradients, np.random.default_rng(1))
    for part in (slice(0, 4000), slice(4000, None)):
        assert np.sqrt((np.linalg.norm(made[part], axis=1) ** 2).mean()) == pytest.approx(longest, rel=0.1)
    cosine = (made * gradients).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(gradients, axis=1)
    assert np.abs(cosine) == pytest.approx(np.ones(8000), abs=1e-4)
