"""A filter hides nothing from a reader who knows it: readers that adapt to a defence, beside those that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from testbed import models
from testbed.attacks.inversion.analytic_linear import consistent, solve
from testbed.core import Array, ModelSpec
from testbed.core.defence import before
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import source
from testbed.defences import named
from testbed.findings.schema import Estimate, Finding
from testbed.harness.run import Done, run
from testbed.harness.scenario import find
from testbed.judge import image_quality
from testbed.subjects.federation.local import gradient
from tests.conformance.defences import sends, update_of


def layer(seed: int, scale: float) -> tuple[Array, Array]:
    """A record of 60 numbers, a third of them 0, and the gradient [dL/dW | dL/db] that it gives to 40 neurons."""
    rng = keyed_rng(seed, "layer")
    x = np.where(rng.random(60) < 1 / 3, 0.0, rng.random(60))
    return x, np.outer(rng.normal(0, scale, 40), np.append(x, 1.0))


@pytest.mark.parametrize("text", ["percentile", "percentile:30,0.02", "topk:0.5", "topk:0.3"])
def test_a_record_is_exact_within_the_bounds_that_a_filter_leaves(text: str) -> None:
    defences = named.configured(text)
    for seed in range(6):
        x, gradient = layer(seed, 0.02)
        seen = update_of(sends(defences[0], {"g": gradient.astype(np.float32)}))["g"]
        told = before(defences, {"g": seen})
        assert told is not None
        found = consistent(seen.astype(float), told[0]["g"], told[1]["g"])
        assert found is not None
        assert np.corrcoef(found, x)[0, 1] > 0.98
        naive = solve(seen[:, :-1], seen[:, -1])
        assert naive is not None
        assert np.square(found - x).mean() <= np.square(naive - x).mean() + 1e-9


def test_a_batch_of_one_is_exact_under_the_percentile_filter_and_blurred_for_who_does_not_know_it() -> None:
    """On digits and 128 neurons, as `benchmarks/percentile.py` measures it for 40 people."""
    people = source("digits").people.take(np.arange(6))
    model = models.build(ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [128]}), 0)
    defence = named.configured("percentile")
    for n in range(6):
        moved = gradient(model, torch.tensor(people.x[n : n + 1]), torch.tensor(people.y[n : n + 1]))
        update = update_of(sends(defence[0], {k: -g.numpy() for k, g in moved.items()}))
        bounds = before(defence, update)
        assert bounds is not None
        sent, low, high = (np.column_stack(list(part.values())[:2]).astype(float) for part in (update, *bounds))
        found, naive = consistent(sent, low, high), solve(sent[:, :-1], sent[:, -1])
        assert found is not None
        assert naive is not None
        assert image_quality.psnr(found, people.x[n].ravel()) > 80
        assert image_quality.psnr(naive, people.x[n].ravel()) < 25


def test_without_exact_numbers_the_reader_is_the_one_that_knows_nothing() -> None:
    _, gradient = layer(1, 1.0)
    seen = np.clip(gradient, -0.01, 0.01)
    found = consistent(seen, np.where(seen > 0, seen, -np.inf), np.where(seen < 0, seen, np.inf))
    naive = solve(seen[:, :-1], seen[:, -1])
    assert found is not None
    assert naive is not None
    assert found == pytest.approx(naive)


def rates(done: Done) -> dict[bool, Estimate]:
    """The share identified, by whether the finding decides."""
    found: dict[bool, Estimate] = {}
    for finding in done.result.findings:
        assert isinstance(finding, Finding)
        assert isinstance(finding.measure, Estimate)
        found[finding.primary] = finding.measure
    return found


@pytest.mark.usefixtures("few_answers")
def test_the_percentile_filter_is_read_by_who_knows_it_and_the_report_shows_both() -> None:
    """Another reader, on digits under NVIDIA FLARE's defaults, was told 27.5 % where one who knows it has 100 %."""
    curious = find("curious_server")
    done = run(curious, curious.parse(["defence=percentile", "clients=4", "rounds=5"]))
    found = rates(done)
    assert found[True].value >= 0.85
    assert found[False].value <= 0.6
    assert found[True].low > found[False].value
    assert done.result.defences[0].adaptive
    assert "defence" in done.result.threat.knows
    assert "does not know the defence" in (done.result.findings[1].target or "")


def test_where_no_attack_adapts_the_report_says_what_was_not_tested() -> None:
    matching = find("curious_server")
    chosen = matching.parse(["attack=spear", "defence=topk", "clients=2", "rounds=1"])
    prepared = matching(**chosen)
    assert not prepared.defences[0].adaptive
    assert "an attack that adapts to the defence" in prepared.threat.not_tested
    assert "defence" not in prepared.threat.knows or prepared.threat.knows


def test_an_undefended_run_knows_of_no_defence() -> None:
    assert "defence" not in find("curious_server")().threat.knows
