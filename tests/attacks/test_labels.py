"""Attacks on labels at a cut: gradients that are written by hand, and what the attacker's columns say beside them."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.attacks.registry import find
from testbed.core import Array, Cohort, Exchange, Labels, Threat, Transcript, Unavailable
from testbed.subjects.federation.split import GRADIENT, OF

CLIENT = Threat("client", knows=frozenset({"auxiliary"}), nodes=(0,))
RNG = np.random.default_rng(0)


def people(n: int, noise: float = 0.3) -> Cohort:
    """The first column is above one half for class 1, with some noise."""
    y = RNG.integers(0, 2, n)
    return Cohort((0.5 + 0.3 * (2 * y - 1) + RNG.normal(0, noise, n))[:, None], y, np.arange(n).astype(str))


def guessed(name: str, gradients: Array, members: Cohort, auxiliary: Cohort | None) -> Array:
    sent = {OF: np.arange(len(gradients)), GRADIENT: gradients}
    view = Transcript((Exchange(2, 0, sent, None),), None, None, "client")  # type: ignore[arg-type]
    outside = people(50)
    question = Labels(np.concatenate([members.x, outside.x]), np.r_[np.arange(len(members)), np.full(50, -1)])
    return find(name).run(view, question, auxiliary, 0, CLIENT).values["class"]


def test_opposite_directions_are_the_two_classes_whatever_their_lengths() -> None:
    members, auxiliary = people(200), people(300)
    direction = np.array([0.6, -0.8, 0.0])
    gradients = np.where(members.y == 1, -1, 1)[:, None] * direction * RNG.uniform(0.1, 9, (200, 1))
    claim = guessed("cut_direction", gradients, members, auxiliary)
    assert (claim[:200] == members.y).all()


def test_longer_gradients_are_the_class_that_the_columns_say() -> None:
    members, auxiliary = people(200), people(300)
    gradients = RNG.normal(size=(200, 3))
    gradients *= np.where(members.y == 1, 5, 1)[:, None] / np.linalg.norm(gradients, axis=1, keepdims=True)
    claim = guessed("cut_norm", gradients, members, auxiliary)
    assert (claim[:200] == members.y).mean() > 0.95


@pytest.mark.parametrize("name", ["cut_direction", "cut_norm"])
def test_gradients_that_say_nothing_leave_what_the_columns_say(name: str) -> None:
    members, auxiliary = people(400), people(400)
    claim = guessed(name, RNG.normal(size=(400, 3)), members, auxiliary)
    by_columns = (members.x[:, 0] > 0.5).astype(int)
    assert (claim[:400] == by_columns).mean() > 0.9


def test_without_other_people_or_gradients_it_says_what_it_lacks() -> None:
    members = people(40)
    with pytest.raises(Unavailable, match="few_labels"):
        guessed("cut_direction", RNG.normal(size=(40, 3)), members, people(20))
    with pytest.raises(Unavailable, match="no_cut"):
        guessed("cut_direction", np.empty((0, 3)), members, people(100))
