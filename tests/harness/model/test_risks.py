"""Attribute inference, class inversion and stealing: found where planted, beside what the same attack finds blind."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from testbed.attacks.registry import find
from testbed.core import Classes, Cohort, Evidence, Feature, Predictor, Queries, Split, Threat, Unavailable
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data import load_images
from testbed.findings.schema import Estimate, Finding
from testbed.harness import cells
from testbed.harness.model import risks
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import ModelAudit, Options
from testbed.harness.model.references import ignorant, nearest_mean
from testbed.harness.model.risks import further
from testbed.subjects.predictors import estimator as trained
from testbed.subjects.predictors.subject import Subject

ASKING = Threat(
    "recipient", knows=frozenset({"auxiliary", "known_columns", "queries", "target_records"}), access="score"
)


def digits() -> tuple[Cohort, Cohort, Cohort]:
    images = load_images("digits")
    order = keyed_rng(0, "digits").permutation(len(images.y))
    x, y = images.x.reshape(len(images.y), -1), images.y.astype(np.int64)
    groups = np.array_split(order, 3)
    return tuple(Cohort(x[g], y[g], g.astype(str)) for g in groups)  # type: ignore[return-value]


def patients(n: int, seed: int) -> Cohort:
    """Six measurements, a secret of two values that nothing tells, and a class drawn by a coin."""
    rng = keyed_rng(seed, "patients")
    x = np.concatenate([rng.normal(size=(n, 6)), 4 * rng.integers(0, 2, (n, 1))], 1).astype(np.float32)
    return Cohort(x, rng.integers(0, 2, n), np.array([f"{seed} {i}" for i in range(n)]))


def told(subject: Subject, secrets: tuple[str, ...] = ()) -> dict[str, tuple[Finding, Evidence | None]]:
    audit = ModelAudit.of(subject, Options(secrets=secrets), lambda _: None)
    judged = list(further(audit))
    found, kept = cells.findings(judged), cells.evidence_by_key(judged)
    return {f.attack.name: (f, kept.get(f.rule)) for f in found}


def of(estimator: Any, groups: tuple[Cohort, Cohort, Cohort], **more: Any) -> Subject:
    fitted = estimator.fit(groups[0].x, groups[0].y)
    return Subject(trained.sklearn_predictor(fitted), Split(*groups), None, fitted, **more)


def lower(finding: Finding) -> float:
    assert isinstance(finding.excess, Estimate)
    return finding.excess.low


def above_blind(finding: Finding) -> bool:
    assert isinstance(finding.measure, Estimate)
    assert isinstance(finding.baseline, Estimate)
    return finding.measure.low > finding.baseline.high


def test_a_secret_learnt_by_heart_is_found_and_that_of_others_is_not() -> None:
    groups = (patients(300, 1), patients(300, 2), patients(300, 3))
    subject = of(KNeighborsClassifier(1), groups, features=(*"abcdef", "secret"))
    finding, evidence = told(subject, ("secret",))["model_attribute_inference"]
    assert finding.target == "secret"
    assert lower(finding) > 0
    assert above_blind(finding)
    assert evidence is not None
    assert abs(evidence.cell("true", "unused").success.mean() - 0.5) < 0.12
    assert evidence.cell("positive", "used").success.mean() > 0.95


def test_a_model_that_ignores_the_secret_gives_nothing_away() -> None:
    groups = (patients(300, 1), patients(300, 2), patients(300, 3))
    subject = of(RandomForestClassifier(20, max_depth=2, random_state=0), groups, features=tuple("abcdefs"))
    blind = replace(subject, model=ignorant(2))
    finding, _ = told(blind, ("s",))["model_attribute_inference"]
    assert lower(finding) <= 0


def test_the_secret_itself_is_never_handed_over() -> None:
    people = patients(50, 1)
    hidden = people.x.copy()
    hidden[:, 6] = 0
    seen: list[Any] = []

    def ask(asked: Cohort) -> Any:
        seen.append(asked.x.copy())
        return np.full((len(asked), 2), 0.5)

    question = Feature(Cohort(hidden, people.y, people.persons), 6, np.array([0.0, 4.0], np.float32))
    claim = find("model_attribute_inference").run(Predictor(ask, 2), question, None, 0, ASKING)
    assert [np.unique(x[:, 6]).tolist() for x in seen] == [[0.0], [4.0]]
    assert set(claim.values["6"].tolist()) <= {0.0, 4.0}


def test_secrets_are_the_inputs_with_few_values_unless_they_are_named() -> None:
    groups = (patients(60, 1), patients(60, 2), patients(60, 3))
    subject = of(KNeighborsClassifier(1), groups, features=(*"abcdef", "secret"))
    assert risks.chosen_secrets(subject, ()) == [6]
    with pytest.raises(UsageError, match="TB-SUBJECT-024"):
        risks.chosen_secrets(subject, ("sercet",))
    with pytest.raises(UsageError, match="TB-SUBJECT-036"):
        risks.chosen_secrets(subject, ("a",))


@pytest.mark.parametrize("attack", ["class_inversion", "generative_inversion"])
def test_classes_are_inverted_where_the_model_knows_them(attack: str) -> None:
    finding, evidence = inverted()[attack]
    assert evidence is not None
    assert above_blind(finding)
    assert evidence.cell("positive", "used").success.mean() >= 0.9
    assert "positive_control_failed" not in finding.validity.flags


@cache
def inverted() -> dict[str, tuple[Finding, Evidence | None]]:
    groups = digits()
    return told(of(MLPClassifier((64,), max_iter=2000, random_state=0), groups, features=tuple(map(str, range(64)))))


def test_a_generator_draws_what_looks_like_people() -> None:
    """The search among other people's records ends nearer to real ones than the search among all that is in bounds."""
    members, _, others = digits()
    view = trained.sklearn_predictor(MLPClassifier((64,), max_iter=2000, random_state=0).fit(members.x, members.y))
    question = Classes(10, members.x.min(0), members.x.max(0))
    away: list[float] = []
    for name in ("class_inversion", "generative_inversion"):
        made = find(name).run(view, question, others, 0, ASKING).records
        means = np.stack([members.x[members.y == c].mean(0) for c in range(10)])
        away.append(float(((made - means) ** 2).mean()))
    assert away[1] < 0.5 * away[0]
    with pytest.raises(Unavailable, match="no_reference"):
        find("generative_inversion").run(view, question, others.take(np.arange(20)), 0, ASKING)


def test_stealing_grows_with_the_budget_and_beats_not_asking() -> None:
    groups = digits()
    rng = keyed_rng(0, "own opinion")
    # A model of its own opinion: classes renamed, so that nobody who has not asked can agree with it.
    other = rng.permutation(10)
    fitted = MLPClassifier((64,), max_iter=2000, random_state=0).fit(groups[0].x, other[groups[0].y])
    subject = Subject(trained.sklearn_predictor(fitted), Split(*groups), features=tuple(map(str, range(64))))
    finding, _ = told(subject)["model_stealing"]
    assert lower(finding) > 0.3
    assert above_blind(finding)
    curve = finding.series[0]
    assert curve.y[-1] > curve.y[0] + 0.1
    assert curve.y[-1] > 0.85
    assert isinstance(finding.positive_control, Estimate)
    assert finding.positive_control.value > 0.85


def test_no_more_records_are_asked_about_than_the_budget() -> None:
    groups = digits()
    asked: list[int] = []
    model = nearest_mean(groups[0], 10)

    def counting(people: Cohort) -> Any:
        asked.append(len(people))
        return model.ask(people)

    find("model_stealing").run(Predictor(counting, 10), Queries(groups[2], (20, 50)), groups[2], 0, ASKING)
    assert asked == [50]


def test_predictions_alone_are_asked_nothing_further() -> None:
    groups = (patients(60, 1), patients(60, 2), patients(60, 3))
    subject = replace(of(KNeighborsClassifier(1), groups), described=False)
    found, _ = examine(subject, Options(shadows=4))
    assert {f.risk for f in found} <= {"membership", "structure"}
