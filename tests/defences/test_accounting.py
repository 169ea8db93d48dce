"""The epsilons that are stated: those of Opacus on the same mechanism to 1e-3, for the right unit, never too small."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis import gdp
from scipy import stats

from testbed.core import Cohort, ModelSpec
from testbed.core.defence import Exposure, Guarantee
from testbed.core.errors import UsageError
from testbed.defences import named
from testbed.defences.accounting import gaussian_mechanism
from testbed.defences.dpsgd import multiplier
from testbed.defences.registry import defences
from testbed.harness.dp_audit.one_run import Rules, private_training
from testbed.harness.dp_audit.one_shot import accounted
from tests.conformance.defences import configured

UNITS = {
    "adaptive_clipping": "client",
    "central_dp": "client",
    "count_noise": "record",
    "dpsgd": "record",
    "gaussian": "client",
    "local_dp": "client",
    "pate": "record",
    "private_synthesis": "record",
}
"""Whose records a guarantee is about. A bound on a whole update hides a client, one on a gradient a record."""


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 1), (4.0, 10), (20.0, 50), (40.0, 3)])
def test_the_gaussian_guarantee_is_opacus_closed_form_of_gaussian_privacy(noise: float, rounds: int) -> None:
    """Two updates differ by twice the clipping bound, so each round is mu = 2 / noise Gaussian private."""
    ours = gaussian_mechanism(Exposure(rounds), noise=noise)
    assert ours is not None
    theirs = gdp.eps_from_mu(mu=2 * math.sqrt(rounds) / noise, delta=ours.delta)
    assert ours.epsilon == pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize(("epsilon", "uses"), [(8.0, 5), (2.0, 30)])
def test_dp_sgd_with_dealt_batches_spends_its_epsilon_and_no_less(epsilon: float, uses: int) -> None:
    """A cohort that is fixed is not drawn: each use of a record is a whole Gaussian mechanism."""
    mu = 2 * math.sqrt(uses) / multiplier(epsilon, 1e-5, uses)
    assert gdp.eps_from_mu(mu=mu, delta=1e-5) == pytest.approx(epsilon, abs=1e-3)


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 3), (4.0, 20)])
def test_the_sum_of_a_federation_is_accounted_as_opacus_does(noise: float, rounds: int) -> None:
    theirs = RDPAccountant()
    theirs.history = [(noise, 1.0, rounds)]
    assert accounted(noise, rounds, 1e-5) == pytest.approx(theirs.get_epsilon(1e-5), abs=1e-3)


def test_a_training_with_batches_drawn_by_coins_states_the_epsilon_of_its_own_rate_and_steps() -> None:
    rng = np.random.default_rng(0)
    group = Cohort(rng.normal(size=(60, 5)).astype(np.float32), rng.integers(0, 2, 60), np.arange(60))
    rules = Rules(epochs=3, batch=6, noise=1.1)
    made = private_training(ModelSpec("mlp", {"shape": [5], "classes": 2, "hidden": [4]}), group, rules, 0)
    theirs, drawn = RDPAccountant(), 0.1
    steps = 3 * 10
    theirs.history = [(1.1, drawn, steps)]
    assert made.epsilon == pytest.approx(theirs.get_epsilon(1e-5), abs=0.02)  # a batch that is empty is no step
    assert made.epsilon > poisson_epsilon(1.1, drawn, 1e-5)  # of a single step
    fixed = RDPAccountant()
    fixed.history = [(1.1, 1.0, 3)]  # the same records, dealt: each enters three batches for sure
    assert made.epsilon < fixed.get_epsilon(1e-5)


def poisson_epsilon(noise: float, rate: float, delta: float) -> float:
    """Epsilon of one step with a record drawn at this rate, from its definition on a fine grid."""
    x = np.linspace(-12 * noise, 1 + 12 * noise, 400_001)
    without = stats.norm.pdf(x, 0, noise)
    within = (1 - rate) * without + rate * stats.norm.pdf(x, 1, noise)
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        pairs = ((within, without), (without, within))
        over = max(float(np.maximum(a - math.exp(middle) * b, 0).sum() * (x[1] - x[0])) for a, b in pairs)
        low, high = (middle, high) if over > delta else (low, middle)
    return high


def test_opacus_itself_agrees_with_the_definition_of_a_step_with_a_drawn_record() -> None:
    theirs = PRVAccountant()
    theirs.history = [(1.1, 0.1, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its search for a grid
        found = theirs.get_epsilon(1e-5, eps_error=5e-4)
    assert found == pytest.approx(poisson_epsilon(1.1, 0.1, 1e-5), abs=1e-3)


def test_each_guarantee_names_the_unit_that_its_noise_hides() -> None:
    seen = Exposure(position="client")
    told = {d.name: g.unit for d in defences() if (g := configured(d).guarantee(seen)) is not None}
    assert told == UNITS


def test_a_guarantee_for_a_person_cannot_be_stated() -> None:
    """A person may hold several records, and no defence here counts them."""
    with pytest.raises(UsageError, match="record or a client") as raised:
        Guarantee(1.0, 1e-5, "person", "wishful")  # type: ignore[arg-type]
    assert raised.value.id == "TB-DEFENCE-020"


def test_no_guarantee_is_made_smaller_by_sampling_and_each_says_so() -> None:
    for text in ("gaussian:4", "dpsgd:2", "local_dp:1", "central_dp:4", "adaptive_clipping:4"):
        (one,) = named.configured(text)
        given = one.guarantee(Exposure(5, 5, 10, "client"))
        assert given is not None
        assert "no amplification by sampling" in given.method
