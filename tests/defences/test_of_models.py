"""Defences of the training of released models: each does what its definition says, on examples done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from testbed.core import Array, Cohort, ModelSpec, Predictor
from testbed.core.defence import Exposure, guarantees
from testbed.core.errors import UsageError
from testbed.defences import named
from testbed.defences.accounting import DELTA, gaussian_epsilon
from testbed.harness.scenario import find
from testbed.subjects.federation.local import gradient
from testbed.subjects.predictors.trained import Schedule, training

RNG = np.random.default_rng(0)


def people(count: int, first: int = 0) -> Cohort:
    rng = np.random.default_rng(first)
    return Cohort(rng.normal(size=(count, 4)).astype(np.float32), rng.integers(0, 3, count), np.arange(count) + first)


class Noted:
    """A training that notes whom it was given, and answers each person's class by that person's number."""

    def __init__(self) -> None:
        self.given: list[tuple[Array, Array | None]] = []

    def __call__(self, group: Cohort, rng: np.random.Generator, soft: Array | None = None) -> Predictor:
        self.given.append((group.persons, soft))
        number = len(self.given)
        return Predictor(lambda asked: np.eye(3)[np.full(len(asked), number % 3)], 3)


def test_label_smoothing_is_the_gradient_of_cross_entropy_with_smoothed_labels() -> None:
    model, x, y = nn.Linear(4, 3), torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    (one,) = named.configured("label_smoothing:0.3")
    found = one.build(0)(gradient, RNG)(model, x, y)
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y, label_smoothing=0.3).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None
        assert torch.allclose(found[name], p.grad, atol=1e-6)


def test_weight_decay_adds_its_share_of_each_weight_to_the_gradient() -> None:
    model, x, y = nn.Linear(4, 3), torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    (one,) = named.configured("weight_decay:0.5")
    found, plain = one.build(0)(gradient, RNG)(model, x, y), gradient(model, x, y)
    for name, p in model.named_parameters():
        assert torch.allclose(found[name] - plain[name], 0.5 * p, atol=1e-6)


def test_a_distilled_model_is_trained_on_people_outside_alone() -> None:
    fit, members, outside = Noted(), people(20), people(10, 100)
    (one,) = named.configured("distillation")
    one.build(0)(fit, outside)(members, RNG)
    (teacher, none), (student, soft) = fit.given
    assert teacher.tolist() == members.persons.tolist()
    assert none is None
    assert student.tolist() == outside.persons.tolist()
    assert soft is not None
    assert np.allclose(soft, np.eye(3)[[1] * 10])


def test_selena_labels_each_member_by_models_that_lack_the_member() -> None:
    fit, members = Noted(), people(30)
    (one,) = named.configured("selena:5,2")
    one.build(0)(fit, people(10, 100))(members, np.random.default_rng(1))
    *parts, (released, soft) = fit.given
    assert released.tolist() == members.persons.tolist()
    assert soft is not None
    expected = np.zeros((30, 3))
    for number, (trained_on, _) in enumerate(parts, 1):
        expected[~np.isin(members.persons, trained_on), number % 3] += 0.5
    assert np.allclose(soft, expected)
    assert np.allclose(soft.sum(1), 1)


def test_pate_trains_teachers_on_disjoint_parts_and_the_student_on_votes_about_people_outside() -> None:
    fit, members, outside = Noted(), people(40), people(30, 100)
    (one,) = named.configured("pate:0.01,8,20")
    one.build(0)(fit, outside)(members, RNG)
    *teachers, (student, soft) = fit.given
    assert sorted(np.concatenate([t for t, _ in teachers]).tolist()) == members.persons.tolist()
    assert len(teachers) == 8
    assert student.tolist() == outside.persons[:20].tolist()
    assert soft is not None
    assert (soft.argmax(1) > 0).all()  # of 8 teachers, 3 name class 1, 3 name class 2, and 2 name class 0


def test_the_epsilon_of_pate_is_that_of_its_votes_and_a_later_selena_voids_it() -> None:
    exposure = Exposure(position="recipient")
    (alone,) = guarantees(named.configured("pate:20,10,50"), exposure)
    assert alone is not None
    assert math.isclose(alone.epsilon, gaussian_epsilon(math.sqrt(2 * 50) / 20, DELTA))
    assert guarantees(named.configured("pate:20+selena"), exposure)[0] is None
    kept = guarantees(named.configured("dpsgd:4+distillation"), exposure)[0]
    assert kept is not None
    assert kept.epsilon == 4
    assert guarantees(named.configured("dpsgd:4+selena"), exposure)[0] is None


def test_a_record_is_used_once_an_epoch_and_dpsgd_keeps_its_noise_for_that() -> None:
    schedule = Schedule(epochs=3, batch=8)
    assert schedule.exposure(20) == Exposure(rounds=9, uses=3, clients=1, position="recipient")
    spec = ModelSpec("mlp", {"shape": [4], "classes": 3, "hidden": [5]})
    plain, private = (training(spec, schedule, named.configured(t)) for t in ("none", "dpsgd:1"))
    one, other, third = (
        f(people(20), np.random.default_rng(s)).ask(people(5)) for f, s in ((plain, 1), (plain, 1), (private, 1))
    )
    assert (one == other).all()
    assert not np.allclose(one, third)


@pytest.mark.parametrize("text", ["topk:0.1", "central_dp:1", "secagg"])
def test_a_defence_of_a_federation_alone_is_refused_for_a_released_model(text: str) -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-021"):
        find("released_model")(defence=text)


@pytest.mark.parametrize("text", ["round:1", "memguard", "query_budget:10", "distillation", "selena", "pate:1"])
def test_a_defence_of_released_models_alone_is_refused_for_a_federation(text: str) -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-021"):
        find("curious_server")(defence=text)


def test_selena_needs_models_with_and_without_each_member() -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-026"):
        named.configured("selena:3,3")[0].build(0)
