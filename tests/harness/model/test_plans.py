"""Which attacks an audit runs: one alone by its name, and those that are not granted what they need are named."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from testbed.attacks.registry import Listed, attacks, listed, not_granted
from testbed.core import Threat
from testbed.core.errors import UsageError
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.harness.release.evaluate import recipient
from tests.harness.model.test_audit import patients as patients
from tests.harness.model.test_audit import subject_of


def test_what_an_audit_cannot_grant_is_told_with_what_it_lacks() -> None:
    lines = not_granted("model", Threat("recipient", knows=frozenset({"target_records"}), access="score"))
    assert "the attack rmia, which needs: recipe" in lines
    assert "the attack population, which needs: auxiliary" in lines
    assert not any("prediction_loss" in line for line in lines)


def test_attacks_are_listed_from_their_text_as_they_are_when_they_are_loaded() -> None:
    code = (
        "import sys; from testbed.attacks.registry import REGISTRY, listed;"
        "print(*(one.name for one in listed('model')));"
        "assert not REGISTRY.known and 'torch' not in sys.modules"
    )
    unloaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = [Listed.of(one) for one in attacks("model")]
    assert listed("model") == loaded
    assert unloaded.split() == [one.name for one in loaded if one.module.startswith("testbed.")]


def test_a_released_table_names_the_attacks_that_need_the_generator() -> None:
    untested = recipient().not_tested
    assert "the attack shadow_ratio, which needs: recipe" in untested
    assert not any("marginal_guess" in line for line in untested)


def test_one_attack_runs_alone_and_then_nothing_decides(patients: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    x, y = patients[0].drop(columns="label"), patients[0].label
    subject = subject_of(patients, RandomForestClassifier(20, random_state=0).fit(x, y))
    found, evidence = examine(subject, Options(shadows=4, attack="prediction_loss"))
    assert {f.attack.name for f in found} == {"prediction_loss"}
    assert not any(f.primary for f in found)
    assert list(evidence) == ["TB-MEMBERSHIP-309"]
    for name in ("linkability", "population"):  # of another subject; in need of further people, who are not given
        with pytest.raises(UsageError, match="TB-ATTACK-006"):
            examine(subject, Options(shadows=4, attack=name))
