"""The final model alone against every update on the way to it: AUC of both attacks over several seeds.

python benchmarks/membership.py
"""

from __future__ import annotations

import numpy as np

from testbed.findings import statistics
from testbed.findings.assemble import environment
from testbed.harness import scenario
from testbed.harness.run import run

SETTINGS = (
    ("support2, 10 clients", {"data": "support2"}),
    (
        "digits, 10 clients",
        {"data": "digits", "members": 800, "controls": 500, "rounds": 30, "batch": 32, "epochs": 5, "hidden": 64},
    ),
    ("heart, 4 clients, iid", {"data": "heart", "clients": 4, "rounds": 30, "epochs": 5, "hidden": 256}),
    ("heart, 4 hospitals", {"data": "heart", "clients": 4, "rounds": 40, "epochs": 5, "partition": "site"}),
)
SEEDS = range(5)


def main() -> None:
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seeds {list(SEEDS)}")
    registered = scenario.find("curious_server_membership")
    for name, params in SETTINGS:
        areas: dict[str, list[float]] = {}
        for seed in SEEDS:
            for finding in run(registered, params, seed=seed).result.findings:
                if getattr(finding.measure, "metric", "") == "auc":
                    areas.setdefault(finding.attack.name, []).append(finding.measure.value)  # type: ignore[union-attr]
        for attack, values in areas.items():
            found = statistics.t_interval(np.array(values))
            print(f"{name:24} {attack:16} AUC {found.value:.3f} ({found.low:.3f} to {found.high:.3f}), {found.n} runs")


if __name__ == "__main__":
    main()
