"""The audit of promised epsilons: its bound is valid, it finds noise that is not there, and the run then fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from testbed.core import ModelSpec, Protocol
from testbed.core.defence import Defence, Exposure, Guarantee
from testbed.core.errors import Exit
from testbed.core.randomness import keyed_rng
from testbed.defences import named, registry
from testbed.defences.accounting import gaussian_distance, gaussian_epsilon
from testbed.defences.gaussian import gaussian
from testbed.findings import policy, statistics
from testbed.findings.schema import Estimate, Finding
from testbed.harness.dp_audit.promised import audited, estimated, kept, promises
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.subjects.federation.federation import Federation

SPEC = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [16]})
NOISELESS = '''
from testbed.core.defence import Exposure, Guarantee
from testbed.defences.registry import defence
from testbed.defences.updates import on_update, within


def told(exposure: Exposure, *, epsilon: float = 8.0) -> Guarantee:
    return Guarantee(epsilon, 1e-5, "client", "it is written in the paper")


@defence(guarantee=told)
def noiseless(*, seed: int, epsilon: float = 8.0):
    """Clip each update, promise an epsilon, and forget the noise."""
    return on_update(lambda update, rng: within(update, 1.0), seed, "noiseless")
'''


def federation(text: str, kind: str = "fedsgd", seed: int = 0, rounds: int = 3, clients: int = 4) -> Federation:
    protocol = Protocol(kind, 4, 1, learning_rate=0.1, rounds=rounds, clients=clients)  # type: ignore[arg-type]
    return Federation(SPEC, protocol, seed, named.configured(text))


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 4.0])
def test_the_bound_holds_nineteen_times_in_twenty_for_the_worst_mechanism_of_its_epsilon(epsilon: float) -> None:
    """Randomised response among m answers: the canary's own with probability e / (e + m - 1), e = exp(epsilon).

    The answer that was given fits the canary best, so its p is 1 / m, and else it is above that: 1.
    """
    rng, m, within = keyed_rng(5, "coverage"), 400, 0
    right = math.exp(epsilon) / (math.exp(epsilon) + m - 1)
    for _ in range(1000):
        log_p = np.where(rng.random(20) < right, -math.log(m), 0.0)
        within += statistics.epsilon_by_rank(log_p).value <= epsilon + 1e-9
    assert within / 1000 >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 1000)


def test_the_bound_by_hand() -> None:
    """Five of twenty at p of 1/1000 or less: the exact lower bound of 5 in 20 at 95 % is .104, so epsilon >= ln 104."""
    log_p = np.log(np.array([1e-3] * 5 + [0.5] * 15))
    assert statistics.epsilon_by_rank(log_p).value == pytest.approx(math.log(0.10408 / 1e-3), rel=1e-3)
    assert statistics.epsilon_by_rank(log_p, delta=0.1).value == pytest.approx(math.log(0.00408 / 1e-3), rel=1e-2)
    assert statistics.epsilon_by_rank(log_p, delta=0.2).value == 0.0
    with pytest.raises(ValueError, match="needs a canary"):
        statistics.epsilon_by_rank(np.zeros(0))


@pytest.mark.parametrize(("t", "degrees"), [(-1.0, 5), (0.0, 50), (3.0, 500), (60.0, 900), (1e6, 2000)])
def test_the_tail_of_t_is_never_too_small_and_close_where_it_can_be_computed(t: float, degrees: int) -> None:
    found, exact = statistics.log_tail_of_t(t, degrees), float(stats.t.logsf(t, degrees))
    if math.isfinite(exact) and exact > -600:
        assert found == pytest.approx(exact, rel=1e-6, abs=1e-9)
    else:
        half, x = degrees / 2, degrees / (degrees + t * t)
        log_i = half * math.log(x) - math.log(half) - math.lgamma(half) - math.lgamma(0.5) + math.lgamma(half + 0.5)
        assert log_i - math.log(2) <= found <= log_i - math.log(2) + 0.2


def test_a_direction_that_nobody_sent_has_a_uniform_share_and_the_sent_one_stands_as_far_out_as_the_noise_lets_it() -> (
    None
):
    made = federation("gaussian:2")
    (promise,) = promises(made, 8, "server")
    assert promise.updates
    seen = audited(made, 8, promise, 40)
    assert stats.kstest(np.exp(seen.others), "uniform").pvalue > 0.001
    # Each of three rounds sends a direction of length 1 with noise of deviation 2 in each coordinate.
    assert seen.along.mean() == pytest.approx(math.sqrt(3) / 2, abs=3.5 / math.sqrt(40))
    assert seen.along.std() == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("dpsgd:8", "fedavg"),
        ("dpsgd:8", "fedsgd"),
        ("gaussian:4", "fedsgd"),
        ("local_dp:1", "fedavg"),
        ("central_dp:4", "fedavg"),
        ("adaptive_clipping:4", "fedsgd"),
    ],
)
def test_a_promise_that_is_kept_is_not_contradicted(text: str, kind: str) -> None:
    (one,) = kept(federation(text, kind, rounds=2, clients=2), 8, "client")
    assert one.validity.flags == []
    assert isinstance(one.measure, Estimate)
    assert isinstance(one.positive_control, Estimate)
    assert one.positive_control.value > 100
    of_the_server = text.split(":")[0] in ("central_dp", "adaptive_clipping")
    assert (promises(federation(text, kind), 8, "server") == []) == of_the_server


def test_heuristics_promise_nothing_and_other_rules_do_not_hide_a_canary() -> None:
    assert kept(federation("topk:0.1+clip:1"), 8, "server") == []
    for text in ("secagg+gaussian:4+topk:0.1", "mixup+dpsgd:8"):
        (one,) = kept(federation(text, rounds=2), 8, "server")
        assert one.validity.flags == []


def quieter(one: Defence, part: float) -> Defence:
    """The same defence with the same promise, and with `part` of its noise."""
    return replace(one, make=lambda *, seed, noise, clip: gaussian.make(seed=seed, noise=noise * part, clip=clip))


@pytest.mark.parametrize("part", [0.0, 0.1])
def test_noise_that_is_switched_off_or_a_tenth_of_what_was_promised_breaks_the_promise(part: float) -> None:
    made = federation("gaussian:4", rounds=2)
    made = replace(made, defences=tuple(quieter(d, part) for d in made.defences))
    (one,) = kept(made, 8, "server")
    assert one.validity.flags == ["claim_exceeded"]
    assert "The promise is broken" in one.plain


def test_an_epsilon_for_a_record_is_none_for_a_client() -> None:
    """The unit that is promised is the unit that is audited: DP-SGD hides one record, and not all of a client's."""
    (dpsgd,) = named.configured("dpsgd:8")
    assert dpsgd.guarantee(Exposure()).unit == "record"  # type: ignore[union-attr]
    wrong = replace(
        dpsgd,
        promise=lambda _, **params: Guarantee(params["epsilon"], params["delta"], "client", "wrongly stated"),
    )
    made = replace(federation("none", "fedavg"), defences=(wrong,))
    made = replace(made, protocol=replace(made.protocol, batch_size=16))
    (one,) = kept(made, 16, "server")
    assert one.validity.flags == ["claim_exceeded"]
    (right,) = kept(replace(made, defences=(dpsgd,)), 16, "server")
    assert right.validity.flags == []


def test_noise_that_the_server_adds_is_audited_through_the_models_and_its_absence_is_found() -> None:
    made = federation("central_dp:4", "fedavg", rounds=2, clients=2)
    (promise,) = promises(made, 8, "client")
    assert not promise.updates
    (central,) = made.defences
    silent = replace(central, make=lambda **p: registry.find("central_dp").make(**{**p, "noise": 0.0}))
    (one,) = kept(replace(made, defences=(silent,)), 8, "client")
    assert one.validity.flags == ["claim_exceeded"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[str]:
    file = tmp_path / "forgetful.py"
    file.write_text(NOISELESS)
    yield f"{file}:noiseless"
    registry.REGISTRY.known.pop("noiseless", None)


def epsilon_of(found: list[Finding]) -> Finding:
    (one,) = (f for f in found if f.risk == "epsilon")
    return one


@pytest.mark.usefixtures("few_answers")
def test_a_run_whose_defence_promises_an_epsilon_and_adds_no_noise_fails_and_says_so(own: str) -> None:
    params = {"clients": 2, "rounds": 4, "batch": 4, "defence": own}
    result = run(find("curious_server"), params, policy=policy.load()).result
    one = epsilon_of(result.findings)
    assert one.verdict == result.decision.verdict == "fail"
    assert policy.EXIT_CODES[result.decision.verdict] == Exit.FAIL
    assert "The promise is broken" in result.decision.reasons[0].text


@pytest.mark.usefixtures("few_answers")
def test_a_run_whose_noise_is_there_passes_the_audit() -> None:
    params = {"clients": 2, "rounds": 4, "defence": "gaussian:4"}
    result = run(find("curious_server"), params, policy=policy.load()).result
    one = epsilon_of(result.findings)
    assert one.verdict == "pass"
    assert one.target == "all updates of the training"
    assert not any(
        f.risk == "epsilon" for f in run(find("curious_server"), {"clients": 2, "rounds": 2}).result.findings
    )


@pytest.mark.slow
@pytest.mark.parametrize("text", ["dpsgd:8", "dpsgd:2", "gaussian:4", "gaussian:1", "local_dp:1"])
def test_over_twenty_runs_the_measured_leakage_of_a_defence_is_below_what_its_epsilon_permits(text: str) -> None:
    """Twenty federations of four canaries each: the exact bound is below the promise, and the estimate close to it."""
    made = federation(text, seed=3)
    (promise,) = promises(made, 8, "server")
    seen = audited(made, 8, promise, 80)
    shown, normal = statistics.epsilon_by_rank(seen.log_p, promise.delta, 0.99), estimated(seen, promise.delta, 0.99)
    assert shown.value <= promise.epsilon
    assert normal.low <= promise.epsilon <= normal.high  # the accounting is exact for the Gaussian mechanism
    assert gaussian_epsilon(gaussian_distance(promise.epsilon, promise.delta), promise.delta) == pytest.approx(
        promise.epsilon
    )
