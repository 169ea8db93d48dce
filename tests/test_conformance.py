"""Every attack: finds a planted leak, none where none is, more where more is; repeats; ignores order; cannot peek."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.attacks import registry
from testbed.attacks.registry import Attack, attack, attacks, find
from testbed.core import (
    Batch,
    Cohort,
    Column,
    Gaps,
    Guesses,
    Halves,
    Known,
    Predictor,
    Reconstruction,
    Records,
    Release,
    Scores,
    Table,
    Threat,
    Transcript,
    Unavailable,
)
from testbed.core.errors import ThreatError, UsageError
from testbed.findings.measures import membership, rates
from testbed.findings.plan import Plan, derived
from testbed.findings.schema import Estimate
from testbed.harness.model.deciding import taught
from testbed.harness.release.setting import RECIPIENT
from tests.conformance import BASELINES, advantage, world

ALL = list(attacks())
SEEING = [a for a in ALL if a.name not in BASELINES]
SINGLING_OUT_NULL = 0.12
HIDDEN = {"linear_reconstruction", "model_attribute_inference"}
"""Attacks whose question does not hold the secret at all."""


def by_name(a: Attack) -> str:
    return a.name


@pytest.mark.parametrize("a", SEEING, ids=by_name)
def test_finds_a_planted_leak(a: Attack) -> None:
    assert advantage(world(a).evidence(1.0, 0, False)) > 0.15


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_finds_none_where_none_is(a: Attack) -> None:
    evidence = world(a).evidence(0.0, 0, False)
    plan = Plan(rule="TB-TEST-001", risk="membership", attack=a.name, metric="rate", unit="record", primary=True)
    finding = (
        membership(replace(plan, metric="tpr_at_fpr"), evidence)
        if np.isnan(evidence.success).all()
        else rates(plan, evidence)
    )
    assert isinstance(finding.excess, Estimate)
    assert finding.excess.low <= 0


@pytest.mark.parametrize("a", SEEING, ids=by_name)
def test_more_leak_gives_no_less_evidence(a: Attack) -> None:
    made = [advantage(world(a).evidence(leak, 0, False)) for leak in (0.0, 0.5, 1.0)]
    assert made[0] <= made[1] + 0.1
    assert made[1] <= made[2] + 0.05


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_same_seed_same_bytes(a: Attack) -> None:
    made = world(a)
    assert made.claim(1.0, 4) == made.claim(1.0, 4)


@pytest.mark.parametrize("a", ALL, ids=by_name)
def test_the_order_of_items_changes_nothing(a: Attack) -> None:
    made = world(a)
    straight, shuffled = made.evidence(0.5, 1, False), made.evidence(0.5, 1, True)
    assert advantage(straight) == pytest.approx(advantage(shuffled), abs=1e-6)


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


def registered(read: Any, **declared: Any) -> Attack:
    """An attack on a model that a test makes; the test takes it out of the registry again."""
    usual: dict[str, Any] = {"subject": "model", "rule": "TB-MEMBERSHIP-398", "risk": "membership", "claim": Scores}
    usual |= {"needs": {"target_records"}, "position": "recipient", "reference": "https://example.org"}
    return attack(**(usual | declared))(read)


PEOPLE = Cohort(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, 1, 1]), np.array(["a", "b", "c"]))


def unsure(people: Cohort) -> np.ndarray:
    return np.full((len(people), 2), 0.4) + 0.2 * (people.x[:, :1] > 2) * np.array([[-1, 1]])


def test_auxiliary_records_reach_only_attacks_that_declare_them() -> None:
    handed: list[Any] = []

    def undeclared(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Look at what is handed over. Threat model: a cheat."""
        handed.append(auxiliary)
        return Scores(np.zeros(len(question.people)))

    granting = Threat("recipient", knows=frozenset({"target_records", "auxiliary"}), access="score")
    for declared, reaches in (({}, False), ({"uses": {"auxiliary"}}, True), ({"needs": {"auxiliary"}}, True)):
        cheat = registered(undeclared, access="score", **declared)
        try:
            cheat.run(Predictor(unsure, 2), Records(PEOPLE), PEOPLE, 0, granting)
        finally:
            registry._REGISTRY.pop(cheat.name)
        assert (handed.pop() is not None) == reaches


def test_whoever_has_the_class_alone_sees_no_probability() -> None:
    seen: list[np.ndarray] = []

    def peeking(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Read probabilities where only classes are granted. Threat model: a cheat."""
        seen.append(np.asarray(view.ask(question.people)))
        return Scores(np.zeros(len(question.people)))

    cheat = registered(peeking, access="label")
    try:
        for access in ("label", "score"):
            threat = Threat("recipient", knows=frozenset({"target_records"}), access=access)  # type: ignore[arg-type]
            cheat.run(Predictor(unsure, 2), Records(PEOPLE), None, 0, threat)
    finally:
        registry._REGISTRY.pop(cheat.name)
    assert all(set(np.unique(answers).tolist()) == {0.0, 1.0} for answers in seen)


def test_a_budget_of_queries_is_kept() -> None:
    def asking_twice(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Ask about everybody twice. Threat model: a spendthrift."""
        return Scores(np.asarray(view.ask(question.people))[:, 0] + np.asarray(view.ask(question.people))[:, 0])

    spends = registered(asking_twice, access="score")
    try:
        for budget, enough in ((5, False), (6, True)):
            threat = Threat("recipient", knows=frozenset({"target_records"}), access="score", budget=budget)
            if enough:
                assert len(spends.run(Predictor(unsure, 2), Records(PEOPLE), None, 0, threat).values) == 3
            else:
                with pytest.raises(Unavailable, match="budget_spent"):
                    spends.run(Predictor(unsure, 2), Records(PEOPLE), None, 0, threat)
    finally:
        registry._REGISTRY.pop(spends.name)


def test_every_attack_has_a_rule_of_its_own_and_so_have_the_findings_derived_from_it() -> None:
    rules = [a.rule for a in ALL]
    membership_rules = [a.rule for a in ALL if a.claim is Scores and a.risk == "membership"]
    offline = [derived(a.rule, "offline") for a in ALL if a.traits.get("offline")]
    areas = [derived(rule, "auc") for rule in (*membership_rules, *offline)]
    assert len({*rules, *offline, *areas}) == len([*rules, *offline, *areas])


def test_a_rule_that_another_attack_has_is_refused() -> None:
    def usurper(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Take another attack's rule. Threat model: a slip."""
        return Scores(np.zeros(1))

    with pytest.raises(ValueError, match="a rule names one attack"):
        registered(usurper, rule=find("rmia").rule)
    with pytest.raises(ValueError, match="must be TB-MEMBERSHIP-NNN"):
        registered(usurper, rule="TB-COPYING-001")
    with pytest.raises(ValueError, match="at most"):
        registered(usurper, rule="TB-MEMBERSHIP-900")
    for rule in ("TB-MEMBERSHIP-300", derived(find("modified_entropy").rule, "auc")):
        with pytest.raises(ValueError, match=r"a rule names one attack|best of several"):
            registered(usurper, rule=rule)
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"decide": True}, "no trait decide"),
        ({"needs": {"targets"}}, "no kind of knowledge targets"),
        ({"subject": "models"}, "no subject models"),
        ({"position": "hospital"}, "no position hospital"),
    ]
    for declared, said in mistakes:
        with pytest.raises(ValueError, match=said):
            registered(usurper, **declared)


def test_a_claim_of_too_few_scores_is_told_as_the_attacks_mistake() -> None:
    def short(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Forget somebody. Threat model: a slip."""
        return Scores(np.zeros(2))

    forgets = registered(short, access="score")
    try:
        with pytest.raises(UsageError, match="TB-ATTACK-007"):
            forgets.run(Predictor(unsure, 2), Records(PEOPLE), None, 0, Threat("recipient", knows=forgets.needs))
    finally:
        registry._REGISTRY.pop(forgets.name)


def run_by_commands() -> set[str]:
    """The attacks that `evaluate`, `audit-model` or a scenario run, as these choose them."""
    from scenarios import (
        curious_client,
        curious_server,
        federated_membership,
        hospital_tables,
        malicious_server,
        secure_aggregation,
    )
    from testbed.core.threat import KNOWLEDGE
    from testbed.harness.release.generator import attacking

    audited = {a.name for a in ALL if a.subject == "model" and a.needs <= KNOWLEDGE}
    evaluated = {a.name for a in ALL if a.subject == "release" and a.needs <= RECIPIENT.knows}
    federated = {a.name for m in (curious_server, malicious_server, hospital_tables) for a in m.fitting()}
    federated |= {a.name for a in (*curious_client.fitting(), *secure_aggregation.fitting())}
    federated |= {a.name for _, _, found in federated_membership.positions() for a in found}
    scenarios = (Path(__file__).parents[1] / "scenarios").glob("*.py")
    words = [ast.walk(ast.parse(p.read_text(encoding="utf-8"))) for p in scenarios]
    named = {n.value for nodes in words for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return audited | evaluated | {*attacking()} | federated | (named & {a.name for a in ALL})


def test_no_attack_is_run_by_no_command() -> None:
    assert {a.name for a in ALL} - run_by_commands() == set()


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


def test_unknown_attacks_are_refused() -> None:
    with pytest.raises(UsageError, match="TB-ATTACK-001"):
        find("hsj")


def peeks(a: Attack) -> bool:
    """Does a reconstruction change when the people behind the view are replaced after it was made?

    The members live in the conformance world's cache; here they are overwritten in every object that the attack
    could reach, except in what it is handed.
    """
    import gc

    made = world(a)
    view, before = made.view(1.0), None
    before = a.run(view, made.question, made.auxiliary, 0, made.threat, dict(a.traits.get("quick", {})))
    replaced: list[tuple[Cohort, np.ndarray]] = []
    for thing in gc.get_objects():
        if type(thing) is Cohort and thing is not made.auxiliary:
            replaced.append((thing, thing.x))
            object.__setattr__(thing, "x", np.random.default_rng(0).random(thing.x.shape).astype(np.float32))
    try:
        after = a.run(view, made.question, made.auxiliary, 0, made.threat, dict(a.traits.get("quick", {})))
    finally:
        for thing, x in replaced:
            object.__setattr__(thing, "x", x)
    assert isinstance(before, Reconstruction)
    return any(before.batches[k].tobytes() != after.batches[k].tobytes() for k in before.batches)


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


def test_a_person_asked_about_cannot_be_one_whose_membership_is_known() -> None:
    people = Cohort(np.zeros((3, 1), np.float32), np.zeros(3, np.int64), np.array(["a", "b", "c"]))
    Records(people.take([0, 1]), known=Known(people.take([2]), np.array([True])))
    with pytest.raises(ValueError, match="must not be asked about"):
        Records(people.take([0, 1]), known=Known(people.take([2, 1]), np.array([True, False])))


@pytest.mark.parametrize("needs", [set(), {"some_memberships"}], ids=["not needed", "needed"])
def test_known_memberships_reach_only_attacks_that_declare_them(needs: set[str]) -> None:
    seen: list[Records] = []

    def curious_reader(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Look at what is known. Threat model: a cheat."""
        seen.append(question)
        return Scores(np.zeros(1))

    cheat = attack(
        subject="model",
        rule="TB-MEMBERSHIP-399",
        risk="membership",
        claim=Scores,
        needs=needs,
        position="recipient",
        reference="https://example.org",
    )(curious_reader)
    people = Cohort(np.zeros((3, 1), np.float32), np.zeros(3, np.int64), np.array(["control 1", "member 7", "b"]))
    asked = Records(people.take([2]), known=Known(people.take([0, 1]), np.array([False, True])))
    try:
        cheat.run(None, asked, None, 0, Threat("recipient", knows=frozenset({"some_memberships"})))
    finally:
        registry._REGISTRY.pop(cheat.name)
    known = seen[0].known
    assert (known is not None) == bool(needs)
    if known is not None:
        assert known.people.persons.tolist() == ["known 0", "known 1"]


def test_a_second_attack_of_one_name_is_refused() -> None:
    def linkability(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Take another attack's place. Threat model: a slip."""
        return Scores(np.zeros(1))

    find("linkability")
    register = attack(
        subject="release",
        rule="TB-MEMBERSHIP-399",
        risk="membership",
        claim=Scores,
        needs=set(),
        position="recipient",
        reference="https://example.org",
    )
    with pytest.raises(ValueError, match="two attacks called linkability"):
        register(linkability)
    assert find("linkability").risk == "linkability"


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
    try:
        assert peeks(cheat)
    finally:
        registry._REGISTRY.pop(cheat.name)


def test_no_question_names_a_person() -> None:
    """A name may tell the table that somebody came from, or which two halves are one person's."""
    seen: list[Any] = []

    def curious_reader(view: Any, question: Any, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Look at the names. Threat model: a cheat."""
        seen.append(question)
        return Scores(np.zeros(3))

    cheat = attack(
        subject="release",
        rule="TB-MEMBERSHIP-399",
        risk="membership",
        claim=Scores,
        needs=set(),
        position="recipient",
        reference="https://example.org",
    )(curious_reader)
    try:
        column = (Column("x", "numeric"),)
        table = Table(column, (np.arange(3.0),), np.array(["control 9", "original 1", "original 1"]))
        cohort = Cohort(np.zeros((3, 1), np.float32), np.zeros(3, np.int64), table.persons)
        for question in (Records(table), Records(cohort), Gaps(table, column), Halves(table, table.take([2, 1, 0]))):
            cheat.run(Release(table), question, None, 0, Threat("recipient"))
    finally:
        registry._REGISTRY.pop(cheat.name)
    expected = ["asked 0", "asked 1", "asked 1"]
    assert seen[0].people.persons.tolist() == expected
    assert seen[1].people.persons.tolist() == expected
    assert seen[2].known.persons.tolist() == expected
    # Turned round, the right half is numbered anew: the numbers say nothing of who belongs to whom.
    assert seen[3].left.persons.tolist() == expected
    assert seen[3].right.persons.tolist() == ["asked 0", "asked 0", "asked 1"]


def test_the_question_of_a_reconstruction_holds_no_rows() -> None:
    made = world(find("analytic_linear"))
    assert isinstance(made.question, Batch)
    assert made.question.labels is None
    arrays = [v for v in vars(type(made.question)) if isinstance(v, np.ndarray)]
    assert arrays == []


def test_knowledge_outside_the_closed_set_is_refused() -> None:
    with pytest.raises(ThreatError, match="TB-THREAT-001"):
        Threat("server", knows=frozenset({"the answers"}))
