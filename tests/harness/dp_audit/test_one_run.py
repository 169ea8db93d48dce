"""One run with canaries: below the promise where it is kept, above it where the noise was forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scenarios.training_audit import training_audit
from testbed import models
from testbed.core import Cohort, ModelSpec
from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate
from testbed.harness.dp_audit.one_run import Rules, bound, private_training
from testbed.harness.run import run

SMALL: dict[str, Any] = {"people": 300, "canaries": 600, "batch": 60, "epochs": 6, "hidden": 8}
SPEC = ModelSpec("mlp", {"shape": [5], "classes": 2, "hidden": [4]})


def people(n: int) -> Cohort:
    rng = np.random.default_rng(0)
    return Cohort(rng.normal(size=(n, 5)).astype(np.float32), rng.integers(0, 2, n), np.arange(n).astype(str))


def value(measure: object) -> float:
    assert isinstance(measure, Estimate)
    return measure.value


def test_a_promise_that_is_kept_is_not_exceeded_and_one_without_noise_is() -> None:
    kept = run(training_audit, SMALL).result.findings[0]
    assert 0 < value(kept.measure) < value(kept.positive_control)
    assert value(kept.control) == 0
    assert kept.validity.flags == []
    broken = run(training_audit, {**SMALL, "noise": 0.0, "claim": 1.0}).result.findings[0]
    assert "claim_exceeded" in broken.validity.flags
    assert value(broken.measure) > 3


def test_records_as_canaries_are_seen_step_by_step_and_at_the_end() -> None:
    found = run(training_audit, {**SMALL, "kind": "noise", "noise": 0.5}).result.findings
    assert [f.target for f in found] == ["every step", "final model alone"]
    assert [f.primary for f in found] == [True, False]


def test_the_gradients_are_clipped_and_the_steps_are_those_of_dp_sgd() -> None:
    """Without noise and with every record in the batch, a step is the mean of clipped gradients, by hand."""
    group = people(20)
    rules = Rules(epochs=1, batch=20, learning_rate=0.3, noise=0.0, clip=0.05)
    first = private_training(SPEC, group, rules, 0).steps.exchanges[0]
    assert first.sent is not None
    assert first.returned is not None
    network = models.build(SPEC, 0)
    total = {k: torch.zeros_like(p) for k, p in network.named_parameters()}
    for x, y in zip(group.x, group.y, strict=True):
        loss = nn.functional.cross_entropy(network(torch.tensor(x[None])), torch.tensor([y]))
        own = torch.autograd.grad(loss, list(network.parameters()))
        scale = min(1.0, 0.05 / float(torch.stack([g.pow(2).sum() for g in own]).sum().sqrt()))
        for key, g in zip(total, own, strict=True):
            total[key] += scale * g
    for key, summed in total.items():
        assert first.returned[key] - first.sent[key] == pytest.approx((-0.3 * summed / 20).numpy(), abs=1e-6)


def test_a_gradient_canary_moves_its_own_mark_by_the_clipping_bound_and_no_other() -> None:
    rules = Rules(epochs=1, batch=12, learning_rate=0.3, noise=0.0, clip=0.05)
    made = private_training(SPEC, people(10), rules, 0, 4, np.array([True, False, True, False]))
    assert made.marks == pytest.approx(np.array([-1, 0, -1, 0]) * 0.3 * 0.05 / 12, abs=1e-7)


def test_a_bound_counts_half_of_its_guesses_at_either_end() -> None:
    included = np.arange(100) < 50
    assert bound(-np.arange(100.0), included, 40, 0.0).value == bound(-np.arange(100.0), included, 40, 0.0).high
    assert bound(-np.arange(100.0), included, 40, 0.0).value > 2
    assert bound(np.arange(100.0), included, 40, 0.0).value == 0


@pytest.mark.parametrize("wrong", [{"guesses": 2000}, {"canaries": 10**6}, {"kind": "yellow"}, {"noise": -1.0}])
def test_what_is_no_audit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"TB-SCENARIO-01[17]"):
        training_audit(**wrong)
