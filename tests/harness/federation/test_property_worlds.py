"""Property inference over worlds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scenarios.property_inference import property_inference
from testbed.attacks.properties.updates import drawn
from testbed.attacks.registry import find
from testbed.core import Cohort, Exchange, Property, Protocol, Threat, Transcript, Unavailable
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate
from testbed.harness.run import run


def people(n: int = 100) -> Cohort:
    rng = keyed_rng(0, "people")
    x = np.concatenate([rng.random((n, 2)), (np.arange(n) % 2)[:, None]], 1).astype(np.float32)
    return Cohort(x, rng.integers(0, 2, n), np.arange(n).astype(str))


def test_clients_are_different_people_and_one_has_its_share() -> None:
    question = Property(1, 2, (0.2, 0.8), (20, 10, 20))
    parties = drawn(people(), question, 0.8, keyed_rng(1, "draw"))
    assert [len(p) for p in parties] == [20, 10, 20]
    assert len(np.unique(np.concatenate(parties))) == 50
    assert (people().x[parties[1], 2] > 0.5).sum() == 8
    with pytest.raises(Unavailable, match="too_few_people"):
        drawn(people(), Property(0, 2, (0.0, 1.0), (60, 10)), 1.0, keyed_rng(1, "draw"))


def test_the_server_tells_the_property_and_a_coin_that_decided_nothing_is_not_told() -> None:
    params: dict[str, Any] = {"data": "heart", "few": 0.4, "many": 0.95, "each": 30, "clients": 2, "rounds": 1}
    result = run(property_inference, {**params, "worlds": 20, "shadows": 20, "hidden": 16}).result
    primary = result.findings[0]
    assert primary.attack.name == "property_inference"
    assert isinstance(primary.measure, Estimate)
    assert isinstance(primary.baseline, Estimate)
    assert isinstance(primary.control, Estimate)
    assert isinstance(primary.excess, Estimate)
    assert primary.measure.unit == "run"
    assert primary.measure.n == 20
    assert primary.measure.low > primary.baseline.high
    assert primary.excess.low > 0
    assert 0.3 < primary.control.value < 0.7


def test_a_transcript_without_updates_is_unmeasured() -> None:
    view = Transcript((Exchange(1, 0, None, None),), None, Protocol("fedavg"))
    threat = Threat("server", knows=frozenset({"architecture", "auxiliary", "hyper_parameters"}))
    with pytest.raises(Unavailable, match="no_update"):
        find("property_inference").run(view, Property(0, 2, (0.2, 0.8), (20,)), people(), 0, threat)


@pytest.mark.parametrize("wrong", [{"column": "shoe size"}, {"few": 0.9}, {"clients": 1}, {"data": "mnist5k"}])
def test_what_is_no_property_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-012"):
        property_inference(**wrong)
