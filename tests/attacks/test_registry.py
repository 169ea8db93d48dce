"""Declaring an attack: names, rules and claims are checked, and an attack is handed only what it declares."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.attacks.registry import Attack, attack, attacks, find
from testbed.core import (
    Cohort,
    Column,
    Gaps,
    Halves,
    Known,
    Predictor,
    Records,
    Release,
    Scores,
    Table,
    Threat,
    Unavailable,
)
from testbed.core.errors import ThreatError, UsageError
from testbed.findings.plan import derived
from testbed.harness.release.setting import RECIPIENT

ALL = list(attacks())


def registered(read: Any, **declared: Any) -> Attack:
    """An attack that a test makes, on a model unless it is told otherwise; after the test it is gone."""
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
        cheat.run(Predictor(unsure, 2), Records(PEOPLE), PEOPLE, 0, granting)
        assert (handed.pop() is not None) == reaches


def test_whoever_has_the_class_alone_sees_no_probability() -> None:
    seen: list[np.ndarray] = []

    def peeking(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Read probabilities where only classes are granted. Threat model: a cheat."""
        seen.append(np.asarray(view.ask(question.people)))
        return Scores(np.zeros(len(question.people)))

    cheat = registered(peeking, access="label")
    for access in ("label", "score"):
        threat = Threat("recipient", knows=frozenset({"target_records"}), access=access)  # type: ignore[arg-type]
        cheat.run(Predictor(unsure, 2), Records(PEOPLE), None, 0, threat)
    assert all(set(np.unique(answers).tolist()) == {0.0, 1.0} for answers in seen)


def test_a_budget_of_queries_is_kept() -> None:
    def asking_twice(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Ask about everybody twice. Threat model: a spendthrift."""
        return Scores(np.asarray(view.ask(question.people))[:, 0] + np.asarray(view.ask(question.people))[:, 0])

    spends = registered(asking_twice, access="score")
    for budget, enough in ((5, False), (6, True)):
        threat = Threat("recipient", knows=frozenset({"target_records"}), access="score", budget=budget)
        if enough:
            assert len(spends.run(Predictor(unsure, 2), Records(PEOPLE), None, 0, threat).values) == 3
        else:
            with pytest.raises(Unavailable, match="budget_spent"):
                spends.run(Predictor(unsure, 2), Records(PEOPLE), None, 0, threat)


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
    with pytest.raises(UsageError, match="TB-ATTACK-007"):
        forgets.run(Predictor(unsure, 2), Records(PEOPLE), None, 0, Threat("recipient", knows=forgets.needs))


def run_by_commands() -> set[str]:
    """The attacks that `evaluate`, `audit-model` or a scenario run, as these choose them; and of an app's own queries,
    which recordings of other people's apps alone hold, those that `replay` runs."""
    from scenarios import (
        curious_client,
        curious_server,
        federated_membership,
        hospital_tables,
        malicious_server,
        reported_metrics,
        secure_aggregation,
    )
    from testbed.core.threat import KNOWLEDGE
    from testbed.harness.release.generator import attacking

    audited = {a.name for a in ALL if a.subject == "model" and a.needs <= KNOWLEDGE}
    evaluated = {a.name for a in ALL if a.subject == "release" and a.needs <= RECIPIENT.knows}
    federated = {
        a.name for m in (curious_server, malicious_server, hospital_tables, reported_metrics) for a in m.fitting()
    }
    federated |= {a.name for a in (*curious_client.fitting(), *secure_aggregation.fitting())}
    federated |= {a.name for _, _, found in federated_membership.positions() for a in found}
    scenarios = (Path(__file__).parents[2] / "scenarios").glob("*.py")
    words = [ast.walk(ast.parse(p.read_text(encoding="utf-8"))) for p in scenarios]
    named = {n.value for nodes in words for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    replayed = {a.name for a in ALL if a.traits.get("suits") == "queries"}
    return audited | evaluated | {*attacking()} | federated | replayed | (named & {a.name for a in ALL})


def test_no_attack_is_run_by_no_command() -> None:
    assert {a.name for a in ALL} - run_by_commands() == set()


def test_unknown_attacks_are_refused() -> None:
    with pytest.raises(UsageError, match="TB-ATTACK-001"):
        find("hsj")


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

    cheat = registered(curious_reader, needs=needs)
    people = Cohort(np.zeros((3, 1), np.float32), np.zeros(3, np.int64), np.array(["control 1", "member 7", "b"]))
    asked = Records(people.take([2]), known=Known(people.take([0, 1]), np.array([False, True])))
    cheat.run(None, asked, None, 0, Threat("recipient", knows=frozenset({"some_memberships"})))
    known = seen[0].known
    assert (known is not None) == bool(needs)
    if known is not None:
        assert known.people.persons.tolist() == ["known 0", "known 1"]


def test_a_second_attack_of_one_name_is_refused() -> None:
    def linkability(view: Any, question: Records, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Take another attack's place. Threat model: a slip."""
        return Scores(np.zeros(1))

    find("linkability")
    with pytest.raises(ValueError, match="two attacks called linkability"):
        registered(linkability, subject="release", needs=set())
    assert find("linkability").risk == "linkability"


def test_no_question_names_a_person() -> None:
    """A name may tell the table that somebody came from, or which two halves are one person's."""
    seen: list[Any] = []

    def curious_reader(view: Any, question: Any, auxiliary: Any, rng: np.random.Generator) -> Scores:
        """Look at the names. Threat model: a cheat."""
        seen.append(question)
        return Scores(np.zeros(3))

    cheat = registered(curious_reader, subject="release", needs=set())
    column = (Column("x", "numeric"),)
    table = Table(column, (np.arange(3.0),), np.array(["control 9", "original 1", "original 1"]))
    cohort = Cohort(np.zeros((3, 1), np.float32), np.zeros(3, np.int64), table.persons)
    for question in (Records(table), Records(cohort), Gaps(table, column), Halves(table, table.take([2, 1, 0]))):
        cheat.run(Release(table), question, None, 0, Threat("recipient"))
    expected = ["asked 0", "asked 1", "asked 1"]
    assert seen[0].people.persons.tolist() == expected
    assert seen[1].people.persons.tolist() == expected
    assert seen[2].known.persons.tolist() == expected
    # Turned round, the right half is numbered anew: the numbers say nothing of who belongs to whom.
    assert seen[3].left.persons.tolist() == expected
    assert seen[3].right.persons.tolist() == ["asked 0", "asked 0", "asked 1"]


def test_knowledge_outside_the_closed_set_is_refused() -> None:
    with pytest.raises(ThreatError, match="TB-THREAT-001"):
        Threat("server", knows=frozenset({"the answers"}))
