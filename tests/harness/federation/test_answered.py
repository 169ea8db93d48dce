"""Answers that are of another kind than the transcript says are noticed, and read as what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from testbed.core import Array, Exchange, Protocol, Transcript
from testbed.core.errors import UsageError
from testbed.harness.federation.answered import kind_named, read_as

RATE = 0.1


def recorded(kind: str, sends: str, rate: float = RATE, rounds: int = 12) -> Transcript:
    """A linear model of 5 inputs and 3 outputs, one record an answer. `sends` says what the clients really send."""
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(size=(3, 5)), rng.normal(size=3)
    made: list[Exchange] = []
    for number in range(rounds):
        error, record = rng.normal(size=3), rng.normal(size=5)
        gradient: dict[str, Array] = {"weight": np.outer(error, record), "bias": error}
        sent: dict[str, Array] = {"weight": weight, "bias": bias}
        differences = {k: -rate * g for k, g in gradient.items()}
        returned = {
            "gradients": gradient,
            "differences": differences,
            "weights": {k: sent[k] + d for k, d in differences.items()},
        }[sends]
        made.append(Exchange(number + 1, 0, sent, returned))
    return Transcript(tuple(made), None, Protocol(kind, 1, learning_rate=rate), "server")  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "sends"), [("fedsgd", "gradients"), ("fedavg", "weights"), ("unknown", "weights")])
def test_answers_as_the_header_says_are_read_as_they_are(kind: str, sends: str) -> None:
    view = recorded(kind, sends)
    assert read_as(view, None) is view


@pytest.mark.parametrize("rate", [0.001, 0.03, 0.1])
def test_weights_are_no_gradients(rate: float) -> None:
    with pytest.raises(UsageError, match="TB-REPLAY-027"):
        read_as(recorded("fedsgd", "weights", rate), None)
    assert read_as(recorded("fedsgd", "weights", rate), "weights").protocol.kind == "fedavg"


@pytest.mark.parametrize("kind", ["fedavg", "unknown"])
def test_differences_are_no_weights_and_lead_to_them(kind: str) -> None:
    with pytest.raises(UsageError, match="TB-REPLAY-028"):
        read_as(recorded(kind, "differences"), None)
    told, plain = read_as(recorded(kind, "differences"), "differences"), recorded(kind, "weights")
    for read, right in zip(told.exchanges, plain.exchanges, strict=True):
        assert read.returned is not None
        assert right.returned is not None
        for name, value in right.returned.items():
            np.testing.assert_allclose(read.returned[name], value)


def test_small_gradients_are_no_weights_and_are_read_when_named() -> None:
    view = recorded("fedavg", "gradients")
    small = [replace(e, returned={k: 0.05 * v for k, v in (e.returned or {}).items()}) for e in view.exchanges]
    view = replace(view, exchanges=tuple(small))
    with pytest.raises(UsageError, match="TB-REPLAY-028"):
        read_as(view, None)
    assert read_as(view, "gradients").protocol.kind == "fedsgd"


def test_weights_named_gradients_are_refused_also_when_the_user_says_so() -> None:
    with pytest.raises(UsageError, match="TB-REPLAY-027"):
        read_as(recorded("fedavg", "weights"), "gradients")


def test_a_model_of_zeros_and_answers_of_few_numbers_tell_nothing() -> None:
    view = recorded("fedsgd", "weights")
    zeros = tuple(replace(e, sent={k: np.zeros_like(v) for k, v in (e.sent or {}).items()}) for e in view.exchanges)
    few = tuple(
        replace(e, sent={"bias": (e.sent or {})["bias"]}, returned={"bias": (e.returned or {})["bias"]})
        for e in view.exchanges
    )
    assert read_as(replace(view, exchanges=zeros), None).exchanges is zeros
    assert read_as(replace(view, exchanges=few), None).exchanges is few


def test_another_word_is_refused_with_the_three() -> None:
    with pytest.raises(UsageError, match=r"TB-REPLAY-026[\s\S]*differences"):
        kind_named("deltas")
