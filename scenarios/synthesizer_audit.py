"""Does a generator keep its promise of differential privacy?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from testbed.cli.script import main
from testbed.core import Evidence
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding, Subject, ThreatModel, Validity
from testbed.harness.dp_audit.generator import Audit, audit
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.synthesis.noisy_marginals import noisy_marginals

LEVELS = ("a", "b", "c", "d")
NOT_TESTED = ["neighbours other than the worst-case pair", "anything beyond the released table", "other generators"]


@scenario(question="Does this generator keep its promise of differential privacy?", position="recipient")
def synthesizer_audit(
    epsilon: float = 1.0,
    noise: bool = True,
    columns: int = 1,
    people: int = 200,
    rows: int = 500,
    runs: int = 1000,
    seed: int = 0,
) -> Scenario:
    """Noisy marginals are fitted many times, with and without one record that is like no other.

    The lower bound on epsilon is valid at 95 %. The report compares it with the claim and with the largest bound that
    so many runs can show. It also audits the generator without noise. `noise=false` audits a broken generator.
    """
    if runs < 20:
        why = "Half of the runs set the threshold, and only the other half give the bound."
        raise UsageError("TB-SCENARIO-010", f"{runs} runs are too few for an audit.", why, "Use 20 runs or more.")
    names = [f"x{i}" for i in range(columns)]
    domain = dict.fromkeys(names, LEVELS)

    def audited(noisy: bool) -> Audit:
        def fit(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
            return noisy_marginals(table, rows, rng, epsilon=epsilon, domain=domain, noise=noisy)

        common, record = dict.fromkeys(names, LEVELS[0]), dict.fromkeys(names, LEVELS[-1])
        return audit(fit, common, record, people, runs, keyed_rng(seed, "audit", str(noisy)))

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        progress(f"audit over {2 * runs} fits")
        made = audited(noise)
        broken = made if not noise else audited(False)
        evidence = Evidence.join(
            *(Evidence.rows("true", g, score=s) for g, s in zip(("used", "unused"), made.scores, strict=True))  # type: ignore[arg-type]
        )
        return Outcome([_finding(made, broken, epsilon, runs)], {"TB-EPSILON-001": evidence})

    return Scenario(
        Subject(
            type="synthetic_table",
            name=f"noisy marginals, epsilon {epsilon:g}" + ("" if noise else ", noise switched off"),
            data_class="synthetic",
            licence="made up",
            size_band="fewer than 1,000 rows",
            columns=columns,
        ),
        ThreatModel(
            position="recipient",
            malicious=False,
            knows=["generator", "target_records"],
            access="score",
            sees="the released tables of many fits on two neighbouring originals",
            not_tested=NOT_TESTED,
        ),
        conduct,
        engines=("none",),
    )


def _finding(made: Audit, broken: Audit, claimed: float, runs: int) -> Finding:
    plan = Plan(
        rule="TB-EPSILON-001",
        risk="epsilon",
        attack="synthesizer_audit",
        metric="epsilon_lower",
        unit="run",
        target=f"claim {claimed:g}",
        primary=True,
    )
    exceeded = made.bound.value > claimed
    could = broken.bound.value > claimed
    plain = f"With {runs} fits on each neighbour, epsilon is at least {made.bound.value:.2f} (95 % sure). "
    plain += f"The claim is {claimed:g}. This number of fits can show at most {made.ceiling:.2f}. "
    plain += f"With the noise switched off they show {broken.bound.value:.2f}."
    flags = (["claim_exceeded"] if exceeded else []) + ([] if could else ["positive_control_weak"])
    base: Any = findings_.unmeasured(plan, findings_.NOT_APPLICABLE, 2 * runs, 2 * runs)
    return base.model_copy(
        update={
            "measure": _estimate(made, runs),
            "positive_control": _estimate(broken, runs),
            "validity": Validity(ok=not flags, flags=flags),
            "plain": plain,
        }
    )


def _estimate(made: Audit, runs: int) -> Estimate:
    return findings_.estimate("epsilon_lower", made.bound, "run", 2 * runs)


if __name__ == "__main__":
    main(synthesizer_audit)
