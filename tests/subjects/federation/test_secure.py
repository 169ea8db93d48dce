"""Secure aggregation: the sum is right, a server that asks for both secrets is given clients, and a check stops it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scenarios.secure_aggregation import secure_aggregation
from testbed.attacks.inversion.secure_sums import suppress
from testbed.core import Act, Batch, Cohort, ModelSpec, Protocol, Transcript
from testbed.core.errors import RunError, UsageError
from testbed.core.randomness import keyed_rng
from testbed.defences.consistent_unmasking import consistent_unmasking
from testbed.findings.schema import Estimate
from testbed.harness.run import run
from testbed.subjects.federation import secure
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.secure import SecureAggregation

SPEC = ModelSpec("mlp", {"shape": [1, 4, 4], "classes": 3, "hidden": [32]})
UNMASK = Act(unmask=True)


def people(n: int, seed: int) -> Cohort:
    rng = np.random.default_rng(seed)
    names = np.array([f"{seed}-{i}" for i in range(n)])
    return Cohort(rng.random((n, 1, 4, 4)).astype(np.float32), rng.integers(0, 3, n), names)


PARTS = [people(6, 1), people(4, 2), people(6, 3), people(6, 4)]
SGD = Protocol("fedsgd", 2, learning_rate=0.1, rounds=2)
AVG = Protocol("fedavg", 2, local_epochs=2, learning_rate=0.1, rounds=2)


def error(one: Transcript, other: Transcript) -> float:
    """The largest relative error of a client's answer."""
    worst = 0.0
    for a, b in zip(one.exchanges, other.exchanges, strict=True):
        assert a.key == b.key
        assert a.returned is not None
        assert b.returned is not None
        difference = np.sqrt(sum(((a.returned[k] - v) ** 2).sum() for k, v in b.returned.items()))
        worst = max(worst, float(difference / np.sqrt(sum((v**2).sum() for v in b.returned.values()))))
    return worst


@pytest.mark.parametrize("protocol", [SGD, AVG], ids=["fedsgd", "fedavg"])
def test_the_sum_is_that_of_the_same_federation_without_masks(protocol: Protocol) -> None:
    plain = Federation(SPEC, protocol, 1).run(PARTS)
    masked = Federation(SPEC, protocol, 1, secure=SecureAggregation()).run(PARTS)
    assert [e.key for e in masked.exchanges] == [(1, 0), (2, 0)]
    for name, value in (plain.final or {}).items():
        np.testing.assert_allclose((masked.final or {})[name], value, atol=1e-4)
    again = Federation(SPEC, protocol, 1, secure=SecureAggregation()).run(PARTS)
    assert all((v == (again.final or {})[k]).all() for k, v in (masked.final or {}).items())


def test_shares_of_both_secrets_give_every_client_and_nobody_notices() -> None:
    plain = Federation(SPEC, SGD, 1).run(PARTS)
    bare = Federation(SPEC, SGD, 1, secure=SecureAggregation()).run(PARTS, act=UNMASK, actor="secagg_unmasking")
    first = [replace(t, exchanges=tuple(e for e in t.exchanges if e.round == 1)) for t in (bare, plain)]
    assert error(*first) < 1e-4
    honest = Federation(SPEC, SGD, 1, secure=SecureAggregation()).run(PARTS)
    assert all((v == (bare.final or {})[k]).all() for k, v in (honest.final or {}).items())


def test_clients_that_check_are_not_unmasked_and_still_train_with_a_server_that_is_honest() -> None:
    checking = Federation(SPEC, SGD, 1, (consistent_unmasking(),), secure=SecureAggregation())
    assert {e.status for e in checking.run(PARTS).exchanges} == {"ok"}
    refused = checking.run(PARTS, act=UNMASK, actor="secagg_unmasking")
    assert {(e.status, e.returned) for e in refused.exchanges} == {("refused", None)}


def test_a_threshold_that_two_lists_could_reach_is_refused() -> None:
    half = Federation(SPEC, SGD, 1, (consistent_unmasking(),), secure=SecureAggregation(0.5))
    with pytest.raises(RunError, match="TB-RUN-005"):
        half.run(PARTS)


def test_a_client_that_does_not_know_the_protocol_is_an_error_and_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secure, "mods", lambda *_: [])
    with pytest.raises(RunError, match="TB-RUN-005"):
        Federation(SPEC, SGD, 1, secure=SecureAggregation()).run(PARTS)


def test_the_check_is_no_defence_where_nothing_is_aggregated() -> None:
    with pytest.raises(RunError, match="TB-RUN-001"):
        Federation(SPEC, SGD, 1, (consistent_unmasking(),)).run(PARTS)


def test_the_sum_under_inconsistent_models_is_the_targets_gradient() -> None:
    act = suppress(Batch((), (1, 4, 4), 3), people(1, 9), keyed_rng(0), SPEC, target=2)
    view = Federation(SPEC, SGD, 1, secure=SecureAggregation()).run(PARTS, act=act, actor="model_inconsistency")
    plain = Federation(SPEC, SGD, 1).run(PARTS)
    (summed,) = (e.returned for e in view.exchanges if e.round == 1)
    own = next(e.returned for e in plain.exchanges if e.key == (1, 2))
    assert summed is not None
    assert own is not None
    np.testing.assert_allclose(summed["1.weight"], own["1.weight"] * 6 / 22, atol=1e-5)


def test_the_scenario_says_what_unmasking_adds_to_the_sums_and_what_the_check_takes() -> None:
    small = {"rounds": 6, "clients": 3}
    bare, sums = run(secure_aggregation, small).result.findings
    assert isinstance(bare.measure, Estimate)
    assert bare.measure.value > 0.9
    assert sums.primary is False
    checked = run(secure_aggregation, {**small, "check": True}).result.findings[0]
    assert isinstance(checked.measure, Estimate)
    assert checked.measure.value == 0.0
    aimed = run(secure_aggregation, {**small, "attack": "model_inconsistency"}).result.findings[0]
    assert isinstance(aimed.measure, Estimate)
    assert aimed.measure.value > 0.9


def test_an_unknown_reader_is_refused() -> None:
    with pytest.raises(UsageError, match="TB-ATTACK-001"):
        run(secure_aggregation, {"reader": "crystal_ball"})
