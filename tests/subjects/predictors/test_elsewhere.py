"""Shadow models that were trained elsewhere: their answers in a table are as good as the models."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from testbed.attacks.model.shadows import Shadows
from testbed.attacks.registry import find
from testbed.core import Cohort, Records, Threat, unnamed
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate, Finding
from testbed.harness.model.audit import audit_model
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.harness.recipes import Remembered
from testbed.subjects.predictors import load
from testbed.subjects.predictors.subject import Subject

N, SHADOWS = 300, 8


@cache
def world() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of a forest that knows its people by heart, and of eight forests trained on halves of everybody."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * N, 5))
    y = (x[:, 0] + 2 * rng.normal(size=2 * N) > 0).astype(int)
    ids = np.array([f"p{i}" for i in rng.permutation(2 * N)])
    member = np.arange(2 * N) < N

    def answers(used: np.ndarray, seed: int) -> pd.DataFrame:
        made = RandomForestClassifier(20, random_state=seed).fit(x[used], y[used])
        return pd.DataFrame(made.predict_proba(x), columns=["p_0", "p_1"]).assign(id=ids)

    audited = answers(member, 0).assign(arm=np.where(member, "member", "control"), label=y)
    rows: list[pd.DataFrame] = []
    for i in range(SHADOWS // 2):
        half = rng.permutation(2 * N) < N
        rows += [
            answers(used, 1 + i).assign(shadow=f"{i}{side}", used=used) for used, side in ((half, "a"), (~half, "b"))
        ]
    return audited, pd.concat(rows).sample(frac=1, random_state=0)


def found(audited: pd.DataFrame, shadows: pd.DataFrame | None, attack: str | None = None) -> dict[str, Finding]:
    findings, _ = examine(load.from_predictions(audited, shadows), Options(attack=attack))
    return {f.attack.name: f for f in reversed(findings)}


def test_attacks_with_shadow_models_run_on_tables_alone() -> None:
    audited, shadows = world()
    result, _, _ = audit_model(load.from_predictions(audited, shadows), [audited], person="id")
    first = next(f for f in result.findings if f.primary)
    assert "rmia, lira, bavaria" in (first.target or "")
    assert first.verdict == "fail"
    assert result.run.params["shadows"] == SHADOWS
    assert any("trained elsewhere" in line for line in result.threat.not_tested)
    assert {f.attack.name for f in result.findings if isinstance(f.measure, Estimate)} >= {"records_at_risk", "base"}


def test_a_table_of_shadow_models_shows_more_than_the_answers_alone() -> None:
    audited, shadows = world()
    rows = found(audited, shadows)
    alone, beside = rows["prediction_loss"].measure, rows["bavaria"].measure
    assert isinstance(alone, Estimate)
    assert isinstance(beside, Estimate)
    assert beside.value > alone.value


def pooled(subject: Subject) -> Cohort:
    groups = (subject.members, subject.controls)
    return Cohort(*(np.concatenate([getattr(g, f) for g in groups]) for f in ("x", "y", "persons")))


def test_a_table_of_our_own_shadow_models_gives_the_scores_that_these_models_give() -> None:
    rng, n, outputs = np.random.default_rng(3), 80, ["p_0", "p_1", "p_2"]
    frame = pd.DataFrame(rng.normal(size=(2 * n, 4)), columns=list("abcd")).assign(label=rng.integers(0, 3, 2 * n))
    made = RandomForestClassifier(20, random_state=0).fit(frame[list("abcd")][:n], frame.label[:n])
    ours = load.from_estimator(made, {"members": frame[:n], "controls": frame[n:]}, "label", None)
    people, recipe = pooled(ours), Remembered(ours.recipe, 0)
    shadows = Shadows.trained(ours.model, unnamed(Records(people)), None, keyed_rng(0, "recipe"), recipe, SHADOWS)
    ids = np.array([f"p{i}" for i in range(2 * n)])
    audited = pd.DataFrame(ours.model.ask(people), columns=outputs).assign(id=ids, label=people.y)
    audited = audited.assign(arm=np.repeat(["member", "control"], n)).sample(frac=1, random_state=1)
    in_order = people.take(shadows.order)
    table = pd.concat(
        pd.DataFrame(model.ask(in_order), columns=outputs).assign(id=ids[shadows.order], shadow=k, used=used)
        for k, (model, used) in enumerate(zip(shadows.models, shadows.included, strict=True))
    )
    given = load.from_predictions(audited, table.sample(frac=1, random_state=2))
    asked = pooled(given)
    place = [ids.tolist().index(person) for person in asked.persons]
    threat = Threat("recipient", knows=frozenset({"target_records", "recipe"}), access="score")
    params = {"shadows": SHADOWS}
    for name, apart in (("lira", 1e-9), ("bavaria", 1e-9), ("rmia", 3 / n)):  # RMIA counts people, and rounding ties
        here = find(name).run(ours.model, Records(people), None, 0, threat, params, recipe).values[place]
        there = find(name).run(given.model, Records(asked), None, 0, threat, params, given.recipe).values
        np.testing.assert_allclose(there, here, atol=apart)
        assert np.std(here) > 5 * apart


def test_the_order_of_rows_and_the_names_of_shadows_change_nothing() -> None:
    audited, shadows = world()
    renamed = shadows.assign(shadow="model " + shadows.shadow, used=shadows.used.map({True: "yes", False: "no"}))
    shuffled = renamed.sample(frac=1, random_state=1)
    assert found(audited, shadows, "lira")["lira"].measure == found(audited, shuffled, "lira")["lira"].measure


def test_shadow_models_of_a_number_are_read_by_the_column_prediction() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2 * N, 3))
    y = 50 + 5 * x[:, 0] + 10 * rng.normal(size=2 * N)
    member = np.arange(2 * N) < N

    def answers(used: np.ndarray) -> pd.DataFrame:
        made = RandomForestRegressor(10, random_state=0).fit(x[used], y[used])
        return pd.DataFrame({"id": np.arange(2 * N), "prediction": made.predict(x)})

    audited = answers(member).assign(arm=np.where(member, "member", "control"), label=y)
    halves = [rng.permutation(2 * N) < N for _ in range(2)]
    shadows = pd.concat(
        [answers(u).assign(shadow=i, used=u.astype(int)) for i, u in enumerate(u for h in halves for u in (h, ~h))]
    )
    lira = found(audited, shadows, "lira")["lira"].measure
    assert isinstance(lira, Estimate)
    assert lira.value > 0.2


def test_tables_that_do_not_hold_each_answer_once_are_refused() -> None:
    audited, shadows = world()
    for broken, told in (
        (shadows.drop(columns="used"), "TB-SUBJECT-054"),
        (shadows.iloc[1:], "TB-SUBJECT-055"),
        (pd.concat([shadows, shadows.iloc[:1]]), "TB-SUBJECT-055"),
        (shadows.assign(used="perhaps"), "TB-SUBJECT-056"),
        (shadows.assign(used=shadows.used | (shadows.id == "p1")), "TB-SUBJECT-057"),
        (shadows[shadows.shadow.isin(["0a", "0b"])], "TB-SUBJECT-057"),
        (shadows.assign(p_0=9.0, p_1=4.9), "TB-SUBJECT-004"),
    ):
        with pytest.raises(InputError, match=told):
            load.from_predictions(audited, broken)
    with pytest.raises(InputError, match="TB-SUBJECT-058"):
        load.from_predictions(audited.assign(id=audited.id.replace(audited.id[0], audited.id[1])), shadows)
