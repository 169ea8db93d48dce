"""What statistics of few hospitals give away: `python benchmarks/analytics.py`.

First, from how many hospitals on another hospital learns nothing of one patient, by subtracting its own numbers from
the pooled ones: histograms and survival curves of `support2`, in hospitals of equal size. Then defences of `heart`'s
four hospitals (histograms, read by the coordinator) and of `support2` (curves). Seed 0.
"""

from __future__ import annotations

from typing import Any

from testbed.findings.schema import Estimate, Finding
from testbed.harness.run import run
from testbed.harness.scenario import find

SITES = (2, 3, 4, 6, 12, 24, 48)
PROTECTED = (
    {"defence": "none"},
    {"defence": "small_cells:10"},
    {"defence": "small_cells:10", "data": "support2", "people": 9000},
    {"defence": "count_noise:10"},
    {"defence": "count_noise:1"},
    {"statistic": "curves", "defence": "none"},
    {"statistic": "curves", "defence": "small_cells:10"},
)


def share(measure: object) -> str:
    return f"{100 * measure.value:.0f} %" if isinstance(measure, Estimate) else "not readable"


def points(finding: Finding) -> str:
    excess = finding.excess
    if not isinstance(excess, Estimate):
        return "unmeasured"
    return f"{100 * excess.value:.0f} ({100 * excess.low:.0f} to {100 * excess.high:.0f})"


def told(params: dict[str, Any]) -> list[Finding]:
    return run(find("federated_analytics"), params).result.findings


def main() -> None:
    print("| hospitals | statistic | by another hospital | others | excess |\n|---|---|---|---|---|")
    for statistic in ("histograms", "curves"):
        for clients in SITES:
            params = {"data": "support2", "statistic": statistic, "clients": clients, "people": 6000, "rounds": 25}
            finding = told(params)[1]
            row = f"{share(finding.measure)} | {share(finding.control)} | {points(finding)}"
            print(f"| {clients} | {statistic} | {row} |", flush=True)
    print("\n| statistic | defence | by the coordinator | others | excess | likeness |\n|---|---|---|---|---|---|")
    for params in PROTECTED:
        result = run(find("federated_analytics"), params).result
        finding = result.findings[0]
        useful = result.utility[-1].measure if result.utility else None
        like = f"{useful.value:.2f}" if isinstance(useful, Estimate) else "1"
        row = f"{share(finding.measure)} | {share(finding.control)} | {points(finding)} | {like}"
        which = f"{params.get('statistic', 'histograms')}, {params.get('data', 'heart or support2')}"
        print(f"| {which} | `{params['defence']}` | {row} |", flush=True)


if __name__ == "__main__":
    main()
