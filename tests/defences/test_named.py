"""Defences are named by one text, with values, and applied from left to right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.core.defence import Defence, Exposure, guarantees
from testbed.core.errors import UsageError
from testbed.defences import named
from testbed.findings.schema import Unmeasured
from testbed.harness.federation.prepare import defended
from testbed.harness.protected import reported
from testbed.harness.scenario import find

OWN = """
from testbed.defences.registry import defence
from testbed.defences.updates import on_update


@defence()
def halves(*, seed: int, times: int = 1):
    \"\"\"Send half.\"\"\"
    return on_update(lambda update, rng: {k: v / 2**times for k, v in update.items()}, seed, "halves")
"""


def told(text: str) -> list[tuple[str, dict[str, object]]]:
    return [(d.name, dict(d.params)) for d in named.configured(text)]


def test_values_follow_in_order_or_by_name_and_a_plus_joins() -> None:
    assert told("none") == []
    assert told("topk:0.1+gaussian:1.2") == [("topk", {"share": 0.1}), ("gaussian", {"noise": 1.2, "clip": 1.0})]
    assert told("percentile:gamma=0.02") == [("percentile", {"percentile": 10.0, "gamma": 0.02})]
    assert told("gaussian:1,clip=2") == [("gaussian", {"noise": 1.0, "clip": 2.0})]
    assert told("clip:1e+5+median") == [("clip", {"norm": 1e5}), ("median", {})]  # the plus sign of a number


def test_the_text_of_defences_names_the_same_defences() -> None:
    for text in ("none", "topk:0.1+gaussian:1.2", "dpsgd:8", "secagg+consistent_unmasking", "quantise:4"):
        assert named.configured(named.text_of(named.configured(text))) == named.configured(text)


def test_a_users_own_defence_is_named_by_its_file_and_takes_values(tmp_path: Path) -> None:
    (tmp_path / "mine_too.py").write_text(OWN, "utf-8")
    assert told(f"{tmp_path}/mine_too.py") == [("halves", {"times": 1})]
    assert told(f"{tmp_path}/mine_too.py:halves:3+clip") == [("halves", {"times": 3}), ("clip", {"norm": 1.0})]


@pytest.mark.parametrize(
    ("text", "noise", "error"),
    [
        ("gausian:1", 0, "TB-DEFENCE-001"),
        ("clip:1+nobody", 0, "TB-DEFENCE-001"),
        ("clip:norms=1", 0, "TB-DEFENCE-002"),
        ("clip+gaussian", 0, "TB-DEFENCE-003"),
        ("clip:-1", 0, "TB-DEFENCE-004"),
        ("clip:0", 0, "TB-DEFENCE-004"),
        ("secagg+secagg", 0, "TB-DEFENCE-030"),
        ("clip:many", 0, "TB-SCENARIO-003"),
        ("none+clip", 0, "TB-DEFENCE-006"),
        ("clip:1,2", 0, "TB-DEFENCE-007"),
        ("dpsgd:8;gaussian:1", 0, "TB-DEFENCE-028"),
        ("clip:1 gaussian:1", 0, "TB-DEFENCE-028"),
        ("gaussian", 0, "TB-SCENARIO-016"),
        ("clip", 1, "TB-SCENARIO-016"),
        ("gaussian:1", 1, "TB-SCENARIO-016"),
        ("consistent_unmasking", 0, "TB-SCENARIO-019"),
        ("secagg+krum", 0, "TB-SCENARIO-036"),
        ("topk:1.5", 0, "TB-DEFENCE-004"),
        ("percentile:101", 0, "TB-DEFENCE-004"),
        ("percentile:gamma=0", 0, "TB-DEFENCE-004"),
        ("dpsgd:0", 0, "TB-DEFENCE-004"),
        ("", 0, "TB-DEFENCE-001"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, noise: float, error: str) -> None:
    with pytest.raises(UsageError) as raised:
        defended(text, noise, 1.0)
    assert raised.value.id == error


def test_noise_without_a_name_is_gaussian_and_secret_on_real_people() -> None:
    (one,) = defended("none", 0.5, 2.0)
    assert (one.name, dict(one.params), one.secret) == ("gaussian", {"noise": 0.5, "clip": 2.0}, True)
    assert not defended("none", 0.5, 2.0, "public")[0].secret
    assert defended("svt", 0, 1.0)[0].params["noise"] == 0.1


def epsilons(text: str, exposure: Exposure) -> list[float | None]:
    return [None if g is None else round(g.epsilon, 6) for g in guarantees(named.configured(text), exposure)]


def test_a_rule_that_mixes_records_after_a_bound_per_record_voids_it() -> None:
    exposure = Exposure(rounds=5, uses=2)
    assert epsilons("dpsgd:8+topk:0.1", exposure) == [8, None]
    assert epsilons("mixup+dpsgd:8", exposure) == [None, 8]  # one record at a time has nobody to be mixed with
    assert epsilons("dpsgd:8+mixup", exposure) == [None, None]
    whole = epsilons("gaussian:4+mixup", exposure)
    assert whole[0] is not None  # a bound on the whole update holds whatever happens before it


@pytest.mark.parametrize("text", ["dpsgd:8,1,1", "dpsgd:8,delta=0.5", "local_dp:1,delta=1", "local_dp:1,delta=0.02"])
def test_a_delta_that_promises_nothing_is_refused_before_anything_runs(text: str) -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-046"):
        named.configured(text)
    with pytest.raises(UsageError, match="TB-DEFENCE-046"):
        find("curious_server")(defence=text)


@pytest.mark.parametrize(
    ("text", "position", "why"),
    [
        ("dpsgd:8+mixup", "server", "mixup before dpsgd, or left out: epsilon is infinite"),
        ("dpsgd:8+selena", "recipient", "selena before dpsgd, or left out: epsilon is infinite"),
        ("private_synthesis:1+near_copy_filter", "recipient", "epsilon is infinite"),
        ("central_dp:4+krum", "client", "an aggregation without krum: epsilon is infinite"),
        ("central_dp:4", "server", "does not hold against this attacker"),
        ("clip:1+mixup", "server", "this one is a heuristic"),
    ],
)
def test_a_report_says_why_a_defence_has_no_guarantee_here(text: str, position: Any, why: str) -> None:
    first = reported(named.configured(text), Exposure(rounds=3, uses=2, clients=4, position=position), False)[0]
    assert isinstance(first.epsilon, Unmeasured)
    assert why in first.epsilon.needs


def test_noise_of_the_server_protects_nobody_from_the_server() -> None:
    seen_by = {p: epsilons("central_dp:4", Exposure(3, 3, 4, p)) for p in ("server", "client", "recipient")}
    assert seen_by["server"] == [None]
    for text in ("central_dp:4+median", "median+central_dp:4", "krum+adaptive_clipping:4"):
        assert epsilons(text, Exposure(3, 3, 4, "client")) == [None, None]  # scaled for a mean, not for these
    assert seen_by["client"] == seen_by["recipient"] == epsilons("gaussian:4", Exposure(3))


def test_dp_sgd_has_noise_for_its_epsilon_over_all_uses_of_a_record() -> None:
    from testbed.defences.accounting import DELTA, gaussian_epsilon
    from testbed.defences.dpsgd import multiplier

    for epsilon in (0.5, 2.0, 8.0):
        for uses in (1, 7):
            noise = multiplier(epsilon, DELTA, uses)
            assert gaussian_epsilon(2 * uses**0.5 / noise, DELTA) == pytest.approx(epsilon, abs=1e-6)
    for wrong in (0.0, float("inf"), float("nan")):
        with pytest.raises(UsageError):
            multiplier(wrong, DELTA, 1)


def test_a_defence_says_what_a_value_is_for() -> None:
    assert all(isinstance(d, Defence) and d.params for d in named.configured("topk+percentile+svt+quantise"))


def test_a_truth_file_of_a_run_with_somebody_elses_defence_says_what_to_do() -> None:
    from testbed.harness.federation.truth_file import _defences

    assert [d.name for d in _defences("topk:0.1+gaussian:1")] == ["topk", "gaussian"]
    with pytest.raises(UsageError, match="not known here") as told:
        _defences("their_defence:times=2")
    assert "--code" in told.value.fix
