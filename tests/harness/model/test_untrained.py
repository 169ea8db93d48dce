"""Where no such models can be trained, a PASS needs answers that bound also the attackers who train some."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate, Finding, Result, Unmeasured
from testbed.harness.model import deciding, untrained
from testbed.harness.model.audit import audit_model
from testbed.harness.model.examine import informed
from testbed.subjects.predictors import load
from tests.harness.model.test_deciding import exchangeable, primary, rows

Change = Callable[[pd.DataFrame], pd.DataFrame]


def audited(frame: pd.DataFrame, seed: int = 0) -> Result:
    return audit_model(load.from_predictions(frame), [frame], person="id", data_class="public", seed=seed)[0]


def slightly_surer(n: int) -> pd.DataFrame:
    """Members are surer by a fifth of a standard deviation: a model that fits its people hardly better than others.

    At a false-positive rate of 1 % this shows for 1.7 % of members, an excess of 0.7 points. If records differ five
    times as much from each other as trainings do, an attacker who knows each record sees a whole standard deviation.
    """
    rng = keyed_rng(1, "slightly surer", n)
    logit = rng.normal(size=2 * n) + 1 + 0.2 * (np.arange(2 * n) < n)
    own = 1 / (1 + np.exp(-logit))
    label = rng.integers(0, 2, 2 * n)
    frame = pd.DataFrame({"id": range(2 * n), "arm": np.repeat(["member", "control"], n), "label": label})
    return frame.assign(p_0=np.where(label == 0, own, 1 - own), p_1=np.where(label == 1, own, 1 - own))


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(p_0=frame.p_0.round(2), p_1=1 - frame.p_0.round(2))


def top_1(frame: pd.DataFrame) -> pd.DataFrame:
    made = frame.assign(
        predicted_class=(frame.p_1 > frame.p_0).astype(int), confidence=frame[["p_0", "p_1"]].max(axis=1)
    )
    return made.drop(columns=["p_0", "p_1"])


def class_alone(frame: pd.DataFrame) -> pd.DataFrame:
    return top_1(frame).drop(columns="confidence")


def without_labels(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="label")


@pytest.mark.parametrize("change", [lambda f: f, rounded, top_1, class_alone, without_labels])
def test_a_weak_sign_in_the_answers_does_not_pass(change: Change) -> None:
    result = audited(change(slightly_surer(600)))
    assert result.decision.verdict == "review"
    assert deciding.UNRUN in primary(result).validity.flags
    assert "Attackers who train such models themselves were not tried" in primary(result).plain


@pytest.mark.slow
def test_many_answers_that_tell_nothing_pass_and_say_who_was_not_tried() -> None:
    result = audited(exchangeable(keyed_rng(0, "many"), 4000))
    assert result.decision.verdict == "pass"
    assert primary(result).validity.ok
    assert "Attackers who train such models themselves were not tried" in primary(result).plain
    assert any("train models of this kind" in text for text in result.threat.not_tested)


@pytest.mark.parametrize(("n", "decides"), [(300, False), (20_000, True)])
def test_how_far_such_attackers_may_reach_shrinks_with_the_number_of_people(n: int, decides: bool) -> None:
    """The AUC's standard deviation is 1 / sqrt(6 n), here 2.4 or 0.3 points, and a d' is 2 sqrt(pi) / sqrt(2) AUCs."""
    rng = keyed_rng(3, "reach")
    found = untrained.reach(rows(rng.normal(size=n), rng.normal(size=n)), 0.01)
    assert (found < 0.02) == decides


def test_a_sure_difference_is_seen_four_times_as_clearly() -> None:
    """A shift by half a standard deviation becomes two, of which 1 - Phi(2.33 - 2) = 37 % exceed the threshold."""
    rng = keyed_rng(4, "reach")
    found = untrained.reach(rows(rng.normal(size=100_000) + 0.5, rng.normal(size=100_000)), 0.01)
    assert found == pytest.approx(0.36, abs=0.02)
    turned = untrained.reach(rows(rng.normal(size=100_000) - 0.5, rng.normal(size=100_000)), 0.01)
    assert turned == pytest.approx(found, abs=0.02)  # members may be less sure than others


def test_few_answers_that_tell_nothing_do_not_pass() -> None:
    assert audited(exchangeable(keyed_rng(0, "few"), 200)).decision.verdict == "review"


@pytest.mark.slow
def test_without_true_labels_even_many_answers_do_not_pass() -> None:
    """Whether the model is right about members more often is not seen."""
    result = audited(without_labels(exchangeable(keyed_rng(0, "many"), 4000)))
    assert result.decision.verdict == "review"
    assert any("true labels, which the table does not hold" in text for text in result.threat.not_tested)


def test_the_strongest_attacks_are_unmeasured_and_say_what_they_need() -> None:
    result = audited(exchangeable(keyed_rng(0, "few"), 200))
    unrun = {f.attack.name: f.measure for f in result.findings if f.attack.name in ("rmia", "lira", "bavaria")}
    assert len(unrun) == 3
    for measure in unrun.values():
        assert isinstance(measure, Unmeasured)
        assert "--shadow-predictions" in measure.needs


@pytest.mark.parametrize(
    ("change", "told"),
    [(rounded, "probabilities with 2 decimals"), (class_alone, "the predicted class alone")],
)
def test_what_the_table_leaves_out_is_said(change: Change, told: str) -> None:
    result = audited(change(slightly_surer(200)))
    assert result.run.params["answers"] == told
    assert any(told in text for text in result.threat.not_tested)


def labels_only_null(seed: int, n: int, accuracy: float) -> Finding:
    """The deciding finding on classes alone, of a model that is right as often about members as about others."""
    rng = keyed_rng(seed, "labels only", n)
    label = rng.integers(0, 3, 2 * n)
    wrong = (label + rng.integers(1, 3, 2 * n)) % 3
    said = np.where(rng.random(2 * n) < accuracy, label, wrong)
    frame = pd.DataFrame({"id": range(2 * n), "arm": np.repeat(["member", "control"], n), "label": label})
    return primary(audited(frame.assign(predicted_class=said), seed))


def calibrated(found: list[Finding]) -> tuple[int, float, float]:
    """How many fail, and how often the lower bound and both bounds of the excess hold no effect."""
    excess = [f.excess for f in found if isinstance(f.excess, Estimate)]
    assert len(excess) == len(found)
    below = np.mean([e.low <= 0 for e in excess])
    return (
        [f.verdict for f in found].count("fail"),
        float(below),
        float(np.mean([e.low <= 0 <= e.high for e in excess])),
    )


def test_classes_alone_that_tell_nothing_do_not_fail() -> None:
    failed, below, both = calibrated([labels_only_null(seed, 150, 0.7) for seed in range(6)])
    assert failed == 0
    assert below >= 5 / 6
    assert both >= 4 / 6


@pytest.mark.slow
@pytest.mark.parametrize(("n", "accuracy"), [(200, 0.7), (1000, 0.9)])
def test_two_hundred_nulls_of_classes_alone_hold_the_level(n: int, accuracy: float) -> None:
    failed, below, both = calibrated([labels_only_null(seed, n, accuracy) for seed in range(200)])
    assert failed <= 1
    assert below >= 0.92
    assert both >= 0.85


def test_a_model_that_ranks_its_own_members_no_better_than_chance_is_flagged() -> None:
    """As one whose inputs should have been scaled: its answers say nothing, and nothing passes because of it."""
    rng = keyed_rng(5, "knows nothing")
    frame = exchangeable(rng, 300)
    guessed = frame.assign(label=rng.integers(0, 3, len(frame)))
    for table, flagged in ((frame, False), (guessed, True)):
        subject = load.from_predictions(table)
        assert informed(subject) != flagged
    result = audited(guessed)
    assert "model_knows_nothing" in primary(result).validity.flags
    assert result.decision.verdict == "review"


@pytest.mark.parametrize(
    ("arm", "several", "flagged"), [("member", 3, True), ("control", 3, False), ("member", 1, False)]
)
def test_an_audit_that_leaves_members_rows_out_says_so_and_passes_nothing(
    arm: str, several: int, flagged: bool
) -> None:
    frame = exchangeable(np.random.default_rng(0), 1_200)
    theirs = (frame["arm"] == arm).to_numpy()
    frame["id"] = [f"{t} {i // several if t else i}" for i, t in enumerate(theirs)]
    found = primary(audited(frame))
    assert ("rows_judged_alone" in found.validity.flags) == flagged
    assert not (flagged and found.verdict == "pass")
