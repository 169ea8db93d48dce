"""What does this federation, this model or this synthetic table give away about the people in it, and to whom?

>>> import testbed as tb
>>> done = tb.evaluate_release(original, synthetic, control)  # may this synthetic table go out?
>>> done = tb.audit_model(forest, members, controls, label="sick")  # what does this model give away?
>>> done = tb.run("curious_server", {"clients": 4}, seed=1)  # a scenario of this testbed, or of your own file
>>> done = tb.replay("true.transcript", "analytic_linear", truth="truth.npz")  # record once, attack many
>>> tb.sweep("curious_server", {"noise": [0, 0.01, 0.1]}, replicates=5, out="runs/noise")  # resumable
>>> tb.compare("runs/noise", policy="example-open-release")  # which level meets the policy, at what cost?
>>> tap = tb.record(strategy, path="t.transcript")  # anybody's Flower federation
>>> writer = tb.transcript.Writer("t.transcript")  # any other platform's
>>> guarded = tb.safe(forest).fit(X, y)  # an estimator under the rules against storing people
>>> done.result.decision.verdict, done.to_frame(), done.write("runs/mine")
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.findings.policy import load as load_policy
    from testbed.harness.scenario import find as find_scenario
    from testbed.report.functions import audit_model as audit_model
    from testbed.report.functions import compare as compare
    from testbed.report.functions import evaluate_release as evaluate_release
    from testbed.report.functions import replay as replay
    from testbed.report.functions import run as run
    from testbed.report.functions import sweep as sweep
    from testbed.report.safe import safe as safe
    from testbed.subjects.federation import transcript as transcript
    from testbed.subjects.federation.tap import record as record

__all__ = [
    "audit_model",
    "compare",
    "evaluate_release",
    "find_scenario",
    "load_policy",
    "record",
    "replay",
    "run",
    "safe",
    "sweep",
    "transcript",
]

_LAZY = {
    "audit_model": ("testbed.report.functions", "audit_model"),
    "compare": ("testbed.report.functions", "compare"),
    "evaluate_release": ("testbed.report.functions", "evaluate_release"),
    "find_scenario": ("testbed.harness.scenario", "find"),
    "load_policy": ("testbed.findings.policy", "load"),
    "record": ("testbed.subjects.federation.tap", "record"),
    "replay": ("testbed.report.functions", "replay"),
    "run": ("testbed.report.functions", "run"),
    "safe": ("testbed.report.safe", "safe"),
    "sweep": ("testbed.report.functions", "sweep"),
    "transcript": ("testbed.subjects.federation", "transcript"),
}


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are used: a table's evaluation must not load torch."""
    if name not in _LAZY:
        raise AttributeError(f"module 'testbed' has no attribute {name!r}")
    module, function = _LAZY[name]
    found = importlib.import_module(module)
    return getattr(found, function, None) or importlib.import_module(f"{module}.{function}")  # or a module in it


class _Public:
    """Finds `testbed.transcript`, the public name of a module that lies deeper: that module itself, and no copy."""

    name = "testbed.transcript"

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == self.name else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[self.name] = __getattr__("transcript")


sys.meta_path.append(_Public())  # type: ignore[arg-type]


def __dir__() -> list[str]:
    return sorted(__all__)
