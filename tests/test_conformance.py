"""Every attack: finds a planted leak, none where none is, more where more is; repeats; ignores order; cannot peek."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from testbed.attacks.registry import Attack, attack, attacks, find
from testbed.core import (
    Batch,
    Cohort,
    Evidence,
    Gaps,
    Guesses,
    Reconstruction,
    Table,
    Transcript,
    Unavailable,
)
from testbed.core.errors import ThreatError, UsageError
from testbed.findings.measures import membership, rates
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate
from testbed.harness.model.deciding import taught
from tests.conformance import BASELINES, SEED, advantage, as_bytes, claimed, world

ALL = list(attacks())
SEEING = [a for a in ALL if a.name not in BASELINES]
SINGLING_OUT_NULL = 0.12
HIDDEN = {"cut_direction", "cut_norm", "linear_reconstruction", "model_attribute_inference"}
"""Attacks whose question does not hold the secret at all."""


def by_name(a: Attack) -> str:
    return a.name


_MADE: dict[tuple[Any, float], Evidence] = {}


def evidence(a: Attack, leak: float) -> Evidence:
    """One look at an attack at a dial, which several tests judge."""
    if (a.read, leak) not in _MADE:
        _MADE[a.read, leak] = world(a).evidence(leak, 0, False)
    return _MADE[a.read, leak]


@pytest.mark.parametrize("a", SEEING, ids=by_name)
def test_finds_a_planted_leak(a: Attack) -> None:
    assert advantage(evidence(a, 1.0)) > 0.15


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_finds_none_where_none_is(a: Attack) -> None:
    none = evidence(a, 0.0)
    plan = Plan(rule="TB-TEST-001", risk="membership", attack=a.name, metric="rate", unit="record", primary=True)
    finding = (
        membership(replace(plan, metric="tpr_at_fpr"), none) if np.isnan(none.success).all() else rates(plan, none)
    )
    assert isinstance(finding.excess, Estimate)
    assert finding.excess.low <= 0


@pytest.mark.parametrize("a", SEEING, ids=by_name)
def test_more_leak_gives_no_less_evidence(a: Attack) -> None:
    made = [advantage(evidence(a, leak)) for leak in (0.0, 0.5, 1.0)]
    assert made[0] <= made[1] + 0.1
    assert made[1] <= made[2] + 0.05


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_same_seed_same_bytes(a: Attack) -> None:
    assert world(a).claim(1.0, SEED) == claimed(a)


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_the_order_of_items_changes_nothing(a: Attack) -> None:
    shuffled = world(a).evidence(0.5, 0, True)
    assert advantage(evidence(a, 0.5)) == pytest.approx(advantage(shuffled), abs=1e-6)


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_a_threat_that_grants_too_little_is_refused(a: Attack) -> None:
    made = world(a)
    weaker = [replace(made.threat, knows=made.threat.knows - {k}) for k in a.needs]
    weaker += [replace(made.threat, malicious=False)] if a.malicious else []
    weaker.append(replace(made.threat, position="client" if a.position == "server" else "server"))
    for threat in weaker:
        with pytest.raises(ThreatError, match="TB-THREAT-002"):
            a.run(made.view(1.0), made.question, made.auxiliary, 0, threat)


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_it_works_with_nothing_but_what_it_declares(a: Attack) -> None:
    """Under a threat that grants its needs alone, an attack claims, or says what it lacks; it never breaks."""
    made = world(a)
    threat = replace(made.threat, knows=a.needs, access=a.access)
    try:
        claim = a.run(made.view(1.0), made.question, made.auxiliary, 0, threat, quick(a), made.recipe)
    except Unavailable:
        return
    assert isinstance(claim, a.claim)


def quick(a: Attack) -> dict[str, Any]:
    return dict(a.traits.get("quick", {})) | ({"shadows": 4} if a.defaults.get("shadows", 0) else {})


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_says_who_attacks_and_where_it_comes_from(a: Attack) -> None:
    assert "Threat model:" in a.summary
    assert a.reference.startswith("https://")
    assert a.name.islower()


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_a_misspelt_parameter_is_refused(a: Attack) -> None:
    with pytest.raises(UsageError, match="TB-ATTACK-002"):
        a.configured({"iteratoins": 3})


@pytest.mark.parametrize("a", [a for a in ALL if a.act], ids=by_name)
def test_reading_without_having_acted_is_refused(a: Attack) -> None:
    made = world(a)
    with pytest.raises(ThreatError, match="TB-THREAT-003"):
        a.run(replace(made.view(1.0), act=None), made.question, made.auxiliary, 0, made.threat)


def peeks(a: Attack) -> bool:
    """Does a reconstruction change when the people behind the view are replaced after it was made?

    The members live in the conformance world's cache; here they are overwritten in every object that the attack
    could reach, except in what it is handed.
    """
    import gc

    made = world(a)
    view, before = made.view(1.0), claimed(a)
    replaced: list[tuple[Cohort, np.ndarray]] = []
    for thing in gc.get_objects():
        if type(thing) is Cohort and thing is not made.auxiliary:
            replaced.append((thing, thing.x))
            object.__setattr__(thing, "x", np.random.default_rng(0).random(thing.x.shape).astype(np.float32))
    try:
        after = a.run(view, made.question, made.auxiliary, SEED, made.threat, dict(a.traits.get("quick", {})))
    finally:
        for thing, x in replaced:
            object.__setattr__(thing, "x", x)
    assert isinstance(after, Reconstruction)
    return as_bytes(after) != before


@pytest.mark.parametrize("a", [a for a in ALL if a.claim is Reconstruction and a.name != "cosine_tv"], ids=by_name)
def test_a_reconstruction_does_not_depend_on_the_people_once_the_view_is_made(a: Attack) -> None:
    assert not peeks(a)


def answers_with(a: Attack, values: str) -> list[bytes]:
    """The guesses for each column, with the targets' own values of that column as they are, or scrambled."""
    made = world(a)
    release = made.view(0.5)
    table = release.table.take(np.arange(60))
    columns = table.columns
    said: list[bytes] = []
    for j, column in enumerate(columns):
        given = list(table.values)
        if values == "scrambled":
            given[j] = np.roll(given[j], 7) if column.kind == "categorical" else given[j] * -3 + 1
        asked = Gaps(Table(columns, tuple(given), table.persons), columns)
        said.append(a.run(release, asked, None, 5, made.threat).values[column.name].tobytes())
    return said


@pytest.mark.parametrize("a", [a for a in ALL if a.claim is Guesses and a.name not in HIDDEN], ids=by_name)
def test_the_guess_for_a_secret_does_not_depend_on_the_secret(a: Attack) -> None:
    assert answers_with(a, "as they are") == answers_with(a, "scrambled")


@pytest.mark.parametrize("a", [a for a in ALL if "some_memberships" in a.needs], ids=by_name)
def test_a_score_does_not_depend_on_the_membership_of_whoever_is_scored(a: Attack) -> None:
    """Turned round, the memberships of one part change the scores of the other parts' people, and of them alone."""
    made = world(a)
    people = made.question.people
    used, part = np.arange(len(people)) % 3 == 0, np.arange(len(people)) // 2 % 2
    turned = np.where(part == 1, ~used, used)
    before, after = (taught(a, made.view(1.0), people, u, part, 0, made.threat).values for u in (used, turned))
    assert (before[part == 1] == after[part == 1]).all()
    assert (before[part == 0] != after[part == 0]).any()


def test_an_attack_that_peeks_is_caught() -> None:
    import gc

    def peeking_attack(
        view: Transcript, question: Batch, auxiliary: Cohort, rng: np.random.Generator
    ) -> Reconstruction:
        """Look the records up where the testbed keeps them. Threat model: a cheat."""
        victims = [t for t in gc.get_objects() if type(t) is Cohort and t is not auxiliary and len(t) == 1]
        return Reconstruction({k: victims[i].x for i, k in enumerate(question.keys) if i < len(victims)})

    cheat = attack(
        subject="transcript",
        rule="TB-RECONSTRUCTION-399",
        risk="reconstruction",
        claim=Reconstruction,
        needs={"architecture"},
        position="server",
        reference="https://example.org",
    )(peeking_attack)
    assert peeks(cheat)


def test_the_question_of_a_reconstruction_holds_no_rows() -> None:
    made = world(find("analytic_linear"))
    assert isinstance(made.question, Batch)
    assert made.question.labels is None
    arrays = [v for v in vars(type(made.question)) if isinstance(v, np.ndarray)]
    assert arrays == []
