"""People who were removed from a model: found where they still show, and not where the model was trained again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from testbed.core import Unavailable
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate, Finding, Unmeasured
from testbed.findings.wording import REMOVED
from testbed.harness.model.examine import examine
from testbed.harness.model.forgotten import RULE, as_members, forgotten
from testbed.harness.model.model_audit import Options
from testbed.subjects.predictors.load import from_estimator
from testbed.subjects.predictors.subject import Subject

SIZES = {"members": 300, "controls": 300, "forgotten": 200}


def people(seed: int = 0) -> dict[str, pd.DataFrame]:
    """People of three classes that their twelve numbers show in part."""
    rng = keyed_rng(seed, "people to forget")
    total = sum(SIZES.values())
    y = rng.integers(0, 3, total)
    x = rng.normal(size=(total, 12)) + np.where(np.arange(12) < 4, y[:, None] * 0.7, 0)
    frame = pd.DataFrame(x, columns=[f"c{i}" for i in range(12)]).assign(label=y)
    ends = np.cumsum([0, *SIZES.values()])
    return {role: frame.iloc[ends[i] : ends[i + 1]].reset_index(drop=True) for i, role in enumerate(SIZES)}


def fitted(*frames: pd.DataFrame, seed: int = 0) -> Any:
    used = pd.concat(frames)
    return RandomForestClassifier(30, random_state=seed).fit(used.drop(columns="label").to_numpy(), used["label"])


def subject(made: Any, frames: dict[str, pd.DataFrame]) -> Subject:
    return from_estimator(made, frames, "label", None)


def found(made: Any, frames: dict[str, pd.DataFrame], shadows: int = 8) -> Finding:
    return forgotten(subject(made, frames), Options(shadows), lambda _: None).finding


def excess(finding: Finding) -> Estimate:
    assert isinstance(finding.excess, Estimate)
    return finding.excess


def test_people_who_are_still_in_the_model_show() -> None:
    frames = people()
    finding = found(fitted(frames["members"], frames["forgotten"]), frames)
    assert (finding.rule, finding.risk, finding.primary, finding.target) == (RULE, "membership", True, REMOVED)
    assert excess(finding).low > 0.5
    assert "of the people who were removed are still recognised" in finding.plain
    assert "trained again without them reaches" in finding.plain
    assert isinstance(finding.baseline, Estimate)
    assert finding.baseline.value < 0.2
    assert finding.validity.flags == []


def test_people_of_whom_a_model_was_trained_again_without_them_do_not_show() -> None:
    frames = people()
    finding = found(fitted(frames["members"]), frames)
    assert excess(finding).low < 0 < excess(finding).high
    assert finding.validity.flags == []


def test_a_model_that_answers_wrongly_about_forgotten_people_gives_them_away() -> None:
    frames = people()
    turned = frames["forgotten"].assign(label=(frames["forgotten"]["label"] + 1) % 3)
    finding = found(fitted(frames["members"], turned), frames)
    assert excess(finding).low > 0.5 or "negative_excess" in finding.validity.flags


def test_removed_people_who_are_unlike_controls_are_flagged() -> None:
    frames = people()
    frames["forgotten"] = frames["forgotten"].assign(c11=frames["forgotten"]["c11"] + 3)
    findings, _ = examine(subject(fitted(frames["members"]), frames), Options(4, quick=True, deciding_only=True))
    flags = {f.rule: f.validity.flags for f in findings}
    assert "split_differs" in flags[RULE]
    assert "split_differs" not in flags["TB-MEMBERSHIP-300"]


def test_fewer_people_than_a_cell_are_not_measured() -> None:
    frames = people()
    frames["forgotten"] = frames["forgotten"].iloc[:9]
    finding = found(fitted(frames["members"]), frames)
    assert isinstance(finding.measure, Unmeasured)
    assert finding.measure.unmeasured == "few_removed"
    assert finding.primary


def test_without_people_who_were_removed_there_is_no_such_finding() -> None:
    frames = people()
    del frames["forgotten"]
    asked = subject(fitted(frames["members"]), frames)
    findings, _ = examine(asked, Options(4, quick=True, deciding_only=True))
    assert RULE not in {f.rule for f in findings}
    with pytest.raises(Unavailable):
        as_members(asked)


def test_people_who_stayed_cannot_have_been_removed() -> None:
    frames = people()
    frames["forgotten"] = frames["members"].iloc[:100]
    with pytest.raises(InputError, match="members and the forgotten are partly the same"):
        subject(fitted(frames["members"]), frames)


def test_a_model_that_cannot_be_trained_again_is_judged_by_its_answers_alone() -> None:
    frames = people()
    made = fitted(frames["members"], frames["forgotten"])
    asked = from_estimator(made, frames, "label", None, trains=False)
    finding = forgotten(asked, Options(), lambda _: None).finding
    assert excess(finding).low > 0.1
    assert finding.attack.name.split(" or ")[0] not in ("rmia", "lira", "bavaria")


@pytest.mark.slow
def test_over_many_models_trained_again_nobody_shows_more_often_than_the_level_allows() -> None:
    above = 0
    for seed in range(40):
        frames = people(seed)
        above += excess(found(fitted(frames["members"], seed=seed), frames, 4)).low > 0
    assert above <= 5  # 2.5 % are expected; of 40, more than 5 have a chance of 0.1 %
