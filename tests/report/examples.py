"""Two results as real runs make them, for the tests of what is written from them."""

from __future__ import annotations

from functools import cache

from testbed.findings import policy
from testbed.findings.schema import Result
from testbed.harness.release.evaluate import evaluate
from testbed.harness.run import run
from testbed.harness.scenario import find
from tests.conftest import thirds


@cache
def release() -> Result:
    people = thirds(500, seed=5)
    return evaluate(people.original, people.leaky(0.1), people.control, attacks=250, data_class="synthetic").result


@cache
def federation() -> Result:
    chosen = {"clients": 2, "rounds": 4, "noise": 0.001}
    return run(find("curious_server"), chosen, seed=1, policy=policy.load()).result


@cache
def membership() -> Result:
    chosen = {"data": "breast-cancer", "clients": 2, "rounds": 2, "members": 150, "controls": 150, "hidden": 8}
    return run(find("curious_server_membership"), chosen, seed=1).result
