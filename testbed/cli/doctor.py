"""Self-test of this machine: a planted leak must FAIL, and a clean set must PASS."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from testbed.cli import project
from testbed.findings.assemble import environment, version
from testbed.harness.release.evaluate import evaluate

PEOPLE, PLANTED, SEED = 9000, 0.3, 20
"""Invented people in the three tables together, share of copied rows in the planted leak, and the seed."""
EXTRAS = {"federated": "flwr", "synthesis": "sdv", "anonymeter": "anonymeter", "pdf": "weasyprint"}
"""A package that shows whether an extra is installed, by extra."""


@dataclass(frozen=True, slots=True)
class Examined:
    """Facts about this machine, and whether both self-tests gave the right verdict (`healthy`)."""

    facts: dict[str, Any]
    healthy: bool


def population(people: int, seed: int) -> pd.DataFrame:
    """A table of invented people: columns of several kinds that depend on three hidden traits."""
    rng = np.random.default_rng(seed)
    traits = rng.normal(size=(people, 3))
    diagnosis = np.clip(traits[:, 1] * 1.5 + 2.5 + rng.normal(size=people) * 0.5, 0, 4).astype(int)
    return pd.DataFrame(
        {
            "age": (50 + 15 * traits[:, 0]).round(),
            "pressure": (130 + 20 * traits[:, 1] + 5 * traits[:, 0]).round(1),
            "creatinine": np.exp(traits[:, 2]).round(2),
            "sex": np.where(rng.random(people) < 0.5, "f", "m"),
            "diagnosis": np.array(["A", "B", "C", "D", "E"])[diagnosis],
            "stay": np.exp(1 + traits[:, 0] * 0.5 + rng.normal(size=people) * 0.3).round(1),
        }
    )


def examine(progress: Callable[[str], None] = lambda _: None) -> Examined:
    """Facts about this machine, with the results of the two self-tests."""
    everybody = population(PEOPLE, SEED)
    third = PEOPLE // 3
    original, control, fresh = (everybody.take(range(i * third, (i + 1) * third)) for i in range(3))
    copied = round(PLANTED * third)
    leaky = pd.concat([original.head(copied), fresh.tail(third - copied)], ignore_index=True)
    verdicts: dict[str, str] = {}
    for name, release in (("clean set", fresh), ("planted leak", leaky)):
        progress(f"self-test: {name}")
        done = evaluate(original, release, control, data_class="synthetic", seed=SEED)
        verdicts[name] = done.result.decision.verdict
    healthy = verdicts == {"clean set": "pass", "planted leak": "fail"}
    machine = environment()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Examined(
        {
            "testbed": version(),
            "python": machine.python,
            "system": machine.system,
            "cores": machine.cores,
            "memory_gib": round(memory, 1),
            "packages": machine.packages,
            "extras": {extra: package in machine.packages or _installed(package) for extra, package in EXTRAS.items()},
            "project": project.current().told(),
            "project_file": getattr(project.current().file, "name", None),
            "self_test": verdicts,
            "healthy": healthy,
        },
        healthy,
    )


def _installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def text(examined: Examined) -> str:
    """The facts as lines of text."""
    facts = examined.facts
    lines = [
        f"leakage-testbed {facts['testbed']} on Python {facts['python']}, {facts['system']}",
        f"{facts['cores']} cores, {facts['memory_gib']} GiB of memory",
        "packages: " + ", ".join(f"{k} {v}" for k, v in facts["packages"].items()),
        "extras: " + ", ".join(f"{k} {'yes' if v else 'no'}" for k, v in facts["extras"].items()),
        f"project file: {facts['project_file'] or 'none'}"
        + "".join(f"; {name} from {source}" for name, source in facts["project"].items()),
        f"clean set: {facts['self_test']['clean set'].upper()} (must be PASS)",
        f"planted leak: {facts['self_test']['planted leak'].upper()} (must be FAIL)",
        "this machine is fit" if examined.healthy else "this machine must not be trusted",
    ]
    return "\n".join(lines)
