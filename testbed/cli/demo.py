"""`make demo`: two scenarios on real data, each with a report in the same form."""

from __future__ import annotations

import sys
from pathlib import Path

from testbed.cli import terminal
from testbed.core.shown import shown
from testbed.findings import policy
from testbed.harness import scenario
from testbed.harness.run import run
from testbed.report import store

RUNS = Path("runs/demo")
QUESTIONS = (
    ("curious_server", {"data": "heart", "clients": 4, "rounds": 10}, "federation"),
    ("hospital_release", {}, "release"),
)


def main() -> None:
    """Run the scenarios with the example policy, and print where the reports are."""
    decided = policy.load()
    for name, params, folder in QUESTIONS:
        registered = scenario.find(name)
        sys.stderr.write(f"{registered.question}\n")
        done = run(registered, params, seed=1, policy=decided, progress=terminal.progress)
        where = store.write(RUNS / folder, done.result, done.outcome.evidence, done.outcome.people, done.outcome.files)
        sys.stderr.write("\n")
        print(f"{done.result.decision.verdict.upper():7} {shown(done.result.subject.name)}")
        for finding in done.result.findings:
            if finding.primary:
                print(f"        {shown(finding.plain)}")
        print(f"        {where / 'share' / 'report.html'}\n")


if __name__ == "__main__":
    main()
