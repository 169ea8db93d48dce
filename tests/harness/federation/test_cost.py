"""What defences cost: bytes by their own definition, and seconds that stand where equal runs may differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.core import Exchange
from testbed.defences import named
from testbed.harness.federation.cost import traffic
from testbed.harness.run import run
from testbed.harness.scenario import find

UPDATE = {"w": np.array([[3.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]], np.float32), "b": np.zeros(8, np.float32)}


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("clip:1", 2 * (32 + 4)),  # two of 16 numbers are there, each with its place in 4 bits
        ("topk:0.1", 2 * (32 + 4)),
        ("quantise:8", 2 * (8 + 4) + 2 * 32),  # and the largest value of each array
        ("topk:0.1+quantise:4", 2 * (4 + 4) + 2 * 32),
        ("quantise:8+gaussian:1", 2 * (32 + 4)),  # noise leaves no levels
    ],
)
def test_bytes_by_hand(text: str, bits: int) -> None:
    assert traffic(Exchange(1, 0, None, UPDATE), True, named.configured(text)) == (64, bits / 8)


def test_an_update_is_new_weights_minus_old_ones_and_numbers_that_are_all_there_need_no_places() -> None:
    sent = {"w": np.ones(10, np.float32)}
    same = Exchange(1, 0, sent, {"w": np.ones(10, np.float32)})
    full = Exchange(1, 0, sent, {"w": np.arange(10, dtype=np.float32) + 2})
    assert traffic(same, False, ()) == (40, 0)
    assert traffic(full, False, ()) == (40, 40)
    assert traffic(full, False, named.configured("sign_only")) == (40, (10 * 2 + 32) / 8)


@pytest.mark.usefixtures("few_answers")
def test_a_run_with_a_defence_says_bytes_and_seconds_and_equal_runs_differ_in_seconds_alone() -> None:
    params: dict[str, Any] = {"clients": 2, "rounds": 2, "defence": "topk:0.1"}
    one, other = (run(find("curious_server"), params).result for _ in range(2))
    assert one.traffic is not None
    assert 0.1 * one.traffic.dense < one.traffic.smallest < 0.2 * one.traffic.dense
    assert set(one.run.environment.client_round or {}) == {"with", "without"}
    exempt = {"id", "created", "duration_s", "environment"}
    dumps = [{**r.dump(), "run": {k: v for k, v in r.dump()["run"].items() if k not in exempt}} for r in (one, other)]
    assert dumps[0] == dumps[1]


def test_a_run_without_a_defence_says_neither() -> None:
    plain = run(find("curious_server"), {"clients": 2, "rounds": 2}).result
    assert plain.traffic is None
    assert plain.run.environment.client_round is None
