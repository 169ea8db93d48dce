"""What does this federation, this model or this synthetic table give away about the people in it, and to whom?

>>> import testbed as tb
>>> done = tb.evaluate_release(original, synthetic, control)  # may this synthetic table go out?
>>> done = tb.run(tb.find_scenario("curious_server"), seed=1)  # a scenario of this testbed
>>> tap = tb.record(strategy)  # anybody's Flower federation
>>> done.result.decision.verdict
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.findings.policy import load as load_policy
    from testbed.harness.release.evaluate import evaluate as evaluate_release
    from testbed.harness.run import run as run
    from testbed.harness.scenario import find as find_scenario
    from testbed.subjects.federation.tap import record as record

__all__ = ["evaluate_release", "find_scenario", "load_policy", "record", "run"]

_LAZY = {
    "evaluate_release": ("testbed.harness.release.evaluate", "evaluate"),
    "find_scenario": ("testbed.harness.scenario", "find"),
    "load_policy": ("testbed.findings.policy", "load"),
    "record": ("testbed.subjects.federation.tap", "record"),
    "run": ("testbed.harness.run", "run"),
}


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are used: a table's evaluation must not load torch."""
    if name not in _LAZY:
        raise AttributeError(f"module 'testbed' has no attribute {name!r}")
    module, function = _LAZY[name]
    return getattr(importlib.import_module(module), function)
