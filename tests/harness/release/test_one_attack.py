"""One attack on a release alone: its findings are the whole run's, and nothing decides."""

from __future__ import annotations

import pytest

from testbed.attacks.registry import fitting
from testbed.core.errors import UsageError
from testbed.findings.schema import Unmeasured
from testbed.harness.release.evaluate import RULES, Evaluation, evaluate
from testbed.harness.release.setting import RECIPIENT
from tests.conftest import Thirds

NAMES = [a.name for a in fitting("release", RECIPIENT.knows)]
OTHER_SECRETS = {"trained_inference", "linear_reconstruction"}
"""In a whole run these are asked about secrets, or about people, that were chosen by the nearest row's findings."""


def run(people: Thirds, attack: str | None) -> Evaluation:
    tables = (t.head(200) for t in (people.original, people.leaky(0.3), people.control))
    return evaluate(*tables, data_class="synthetic", attacks=100, attack=attack)


@pytest.fixture(scope="module")
def whole(hospital: Thirds) -> Evaluation:
    return run(hospital, None)


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_runs_alone_and_finds_what_it_finds_among_all(name: str, hospital: Thirds, whole: Evaluation) -> None:
    alone = run(hospital, name)
    found = {(f.rule, f.target): f for f in alone.result.findings}
    assert found
    assert {f.attack.name for f in found.values()} == {name}
    assert not any(f.primary for f in found.values())
    assert alone.result.decision.verdict == "review"
    assert f"all other attacks, because {name} was run alone" in alone.result.threat.not_tested
    if name not in OTHER_SECRETS:
        among_all = {(f.rule, f.target): f for f in whole.result.findings if f.attack.name == name}
        same = set(found) & set(among_all)
        assert same
        assert all(found[key].measure == among_all[key].measure for key in same)
    assert any(not isinstance(f.measure, Unmeasured) for f in found.values())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("shadow_ratio", "It needs: recipe"),
        ("marginal_guess", "without looking"),
        ("prediction_loss", "It attacks a model"),
        ("linkabilty", "There is no attack called 'linkabilty'.*Perhaps: linkability"),
        ("copied_rows", "is a rule on the release"),
        ("disco", "is a rule on the release"),
    ],
)
def test_an_attack_that_cannot_be_run_on_a_release_is_refused_with_the_reason(
    name: str, says: str, hospital: Thirds
) -> None:
    with pytest.raises(UsageError, match=says):
        run(hospital, name)


def test_a_misspelt_attack_is_answered_with_attacks_on_releases_alone_and_every_name_in_a_report_is_known(
    hospital: Thirds, whole: Evaluation
) -> None:
    with pytest.raises(UsageError, match="There is no attack") as refused:
        run(hospital, "prediction_los")
    assert "prediction_loss" not in refused.value.fix
    assert {f.attack.name for f in whole.result.findings} <= {*NAMES, *RULES}
