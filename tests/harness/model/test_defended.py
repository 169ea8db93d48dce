"""A model behind defences of its answers: attackers who know them, those who do not, and what stays usable."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from testbed.attacks.registry import find
from testbed.core import Cohort, Regressor, Split
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.defences import named
from testbed.findings.plan import UNAWARE
from testbed.findings.schema import Estimate, Unmeasured
from testbed.harness.cells import Judged
from testbed.harness.model.audit import audit_model
from testbed.harness.model.defended import behind
from testbed.harness.model.membership import attacked, decision
from testbed.harness.model.model_audit import ModelAudit, Options
from testbed.harness.model.plans import may_decide, membership_plans
from testbed.subjects.predictors.estimator import SklearnRecipe, sklearn_predictor
from testbed.subjects.predictors.regression import CLASSES
from testbed.subjects.predictors.subject import Subject

ANSWERS = ["round:1", "top1", "temperature:10", "memguard"]


@cache
def subject(others: bool = True) -> Subject:
    """A logistic model of three classes that fits 120 people in sixty dimensions by heart."""
    rng = keyed_rng(1, "people behind a defence")
    centres = rng.normal(size=(3, 60)) * 0.2
    y = rng.integers(0, 3, 480)
    x = centres[y] + rng.normal(size=(480, 60))
    groups = [Cohort(x[a : a + 120], y[a : a + 120], np.arange(a, a + 120)) for a in (0, 120, 240)]
    groups.append(Cohort(x[360:], y[360:], np.arange(360, 480)))
    made = LogisticRegression(C=30.0, max_iter=300).fit(groups[0].x, groups[0].y)
    outside = Cohort(*(np.concatenate([getattr(g, f) for g in groups[2:]]) for f in ("x", "y", "persons")))
    split = Split(groups[0], groups[1], outside if others else None)
    return Subject(sklearn_predictor(made), split, SklearnRecipe(made), made, tuple(f"x{i}" for i in range(60)))


@cache
def audited(defence: str) -> ModelAudit:
    return ModelAudit.of(behind(subject(), named.configured(defence), 0), Options(shadows=8), lambda _: None)


@cache
def attacked_by(attack: str, defence: str, unaware: bool = False) -> Judged:
    """One attack on the model under a defence, by an attacker who knows the defence, or by one who does not."""
    plans = [(a, p) for a, p in membership_plans(audited(defence)) if a.name == attack and p.target != "offline"]
    ((found, plan),) = ((a, p) for a, p in plans if p.unaware == unaware)
    return attacked(found, plan, audited(defence))


def area(attack: str, defence: str, unaware: bool = False) -> Estimate:
    measure = attacked_by(attack, defence, unaware).also[0].measure
    assert isinstance(measure, Estimate)
    return measure


@pytest.mark.parametrize("defence", ANSWERS)
def test_attacks_that_train_models_also_run_without_knowing_the_mask(defence: str) -> None:
    plans = [*membership_plans(audited(defence))]
    unaware = [p for _, p in plans if p.unaware]
    assert {p.attack for p in unaware} == {"rmia", "lira", "bavaria"}
    assert all(p.target == UNAWARE and not p.primary for p in unaware)
    assert len({p.key for _, p in plans}) == len(plans)


@pytest.mark.parametrize("defence", ["temperature:10", "memguard"])
def test_the_better_of_knowing_a_mask_and_ignoring_it_decides(defence: str) -> None:
    both = [(find("lira"), attacked_by("lira", defence, unaware)) for unaware in (False, True)]
    decided = decision(both, audited(defence)).finding
    assert "lira, lira as if there were no defence" in (decided.target or "")
    areas = {unaware: area("lira", defence, unaware) for unaware in (False, True)}
    better, worse = sorted(areas, key=lambda u: areas[u].value, reverse=True)
    if areas[better].low > areas[worse].high:  # both halves see it
        assert decided.attack.name == ("lira as if there were no defence" if better else "lira")


@pytest.mark.parametrize("defence", ANSWERS)
def test_the_predicted_class_alone_may_decide_beside_masked_answers(defence: str) -> None:
    assert may_decide(find("label_noise"), audited(defence))
    assert not may_decide(find("label_noise"), audited("none"))


@pytest.mark.parametrize("defence", ANSWERS)
def test_no_mask_makes_the_leak_surely_larger(defence: str) -> None:
    assert area("lira", defence).low <= area("lira", "none").high


def test_an_attacker_who_knows_the_temperature_sees_what_there_was_and_one_who_does_not_sees_less() -> None:
    undefended = area("lira", "none").value
    assert undefended > 0.75
    assert area("lira", "temperature:10").value > undefended - 0.05
    assert area("lira", "temperature:10", True).value < area("lira", "temperature:10").value - 0.05


def test_rounding_stops_an_attacker_who_does_not_know_it_more_than_one_who_does() -> None:
    assert area("lira", "round:1", True).value < area("lira", "round:1").value - 0.02


@pytest.mark.parametrize("defence", ANSWERS)
def test_the_positive_control_leaks_through_the_mask(defence: str) -> None:
    control = attacked_by("lira", defence).finding.positive_control
    assert isinstance(control, Estimate)
    assert control.value > 0.8


@pytest.mark.parametrize("defence", ["top1", "temperature:10", "memguard"])
def test_the_predicted_class_gives_the_same_away_whatever_masks_the_probabilities(defence: str) -> None:
    plain, masked = subject(), behind(subject(), named.configured(defence), 0)
    for people in (plain.members, plain.controls):
        assert (plain.model.ask(people).argmax(1) == masked.model.ask(people).argmax(1)).all()


def test_memguard_keeps_to_its_distortion_and_answers_an_equal_question_equally() -> None:
    plain = subject()
    asked = plain.members
    for most in (0.1, 0.4):
        masked = behind(plain, named.configured(f"memguard:{most}"), 0).model
        moved = np.abs(masked.ask(asked) - plain.model.ask(asked)).sum(1)
        assert 0 < moved.mean() < 1.3 * most
        assert (masked.ask(asked) == masked.ask(asked)).all()
        assert np.allclose(masked.ask(asked).sum(1), 1)


def test_memguard_leaves_its_own_classifier_in_doubt() -> None:
    def told_apart(defence: str) -> float:
        model = behind(subject(), named.configured(defence), 0).model
        own = [model.ask(p).max(1) for p in (subject().members, subject().controls)]
        return float(abs(np.median(own[0]) - np.median(own[1])))

    assert told_apart("memguard:2") < told_apart("none") / 2


def test_a_budget_ends_attacks_with_many_queries_and_no_others() -> None:
    assert isinstance(attacked_by("lira", "query_budget:500").finding.measure, Estimate)
    stopped = attacked_by("label_noise", "query_budget:500").finding.measure
    assert isinstance(stopped, Unmeasured)
    assert stopped.unmeasured == "budget_spent"


def test_a_budget_below_one_query_a_person_is_refused() -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-024"):
        ModelAudit.of(behind(subject(), named.configured("query_budget:100"), 0), Options(), lambda _: None)


@pytest.mark.parametrize("text", ["topk:0.1", "median", "secagg"])
def test_a_defence_that_changes_nothing_of_a_trained_model_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-021"):
        behind(subject(), named.configured(text), 0)


def test_memguard_without_people_outside_is_refused() -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-022"):
        behind(subject(others=False), named.configured("memguard"), 0)


def test_a_mask_of_probabilities_before_a_model_of_numbers_is_refused() -> None:
    plain = subject()
    number = Regressor(plain.model.ask, CLASSES, lambda people: np.zeros(len(people)))
    with pytest.raises(UsageError, match="TB-DEFENCE-023"):
        behind(replace(plain, model=number), named.configured("round:1"), 0)


def test_the_report_states_the_defence_its_cost_and_what_the_attacker_knows() -> None:
    masked = behind(subject(), named.configured("top1"), 0)
    result, _, _ = audit_model(masked, [], shadows=4, quick=True, data_class="public")
    (defence,) = result.defences
    assert (defence.name, defence.adaptive) == ("top1", True)
    assert not isinstance(defence.epsilon, Estimate)
    assert "defence" in result.threat.knows
    told = {u.name: u.measure for u in result.utility}
    with_, without = (told[f"AUC on controls, {how}"] for how in ("with top1:confidence=False", "without a defence"))
    assert isinstance(with_, Estimate)
    assert isinstance(without, Estimate)
    assert with_.value < without.value
    decided = next(f for f in result.findings if f.primary)
    assert "label_noise" in (decided.target or "")
    assert {f.attack.name for f in result.findings if f.target == UNAWARE} >= {"rmia", "lira", "bavaria"}
