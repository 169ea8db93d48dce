"""How much does each generator reveal about its people, and how useful is its table?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from testbed.cli.script import main
from testbed.core import Evidence
from testbed.core.errors import UsageError
from testbed.core.randomness import private_rng
from testbed.data import dataset, load_table
from testbed.data.splits import split_people
from testbed.findings.assemble import as_data_class, size_band
from testbed.findings.schema import Finding, Subject, Utility
from testbed.harness.outcome import Outcome
from testbed.harness.release.evaluate import Evaluation, evaluate, membership_decides, recipient
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.synthesis import synthesise
from testbed.subjects.synthesis.planted import planted

PLANTED = 0.2
"""Share of the release of `planted` that is copied from the original. The rest are independent marginals."""


@scenario(question="How much does each generator reveal, and how useful is its table?", position="recipient")
def synthesizer_bakeoff(
    data: str = "support2",
    generators: str = "independent_marginals,gaussian_copula,tvae,noisy_marginals,planted",
    people: int = 3000,
    epochs: int = 50,
    epsilon: float = 1.0,
    secrets: str = "",
    attacks: int = 0,
    seed: int = 0,
) -> Scenario:
    """Several generators synthesise the same patients. Each release is attacked and measured, in one report.

    `generators` names them (a,b). `planted` is `independent_marginals` with a fifth of its rows copied from the
    original: a known leak, for comparison. `noisy_marginals`, `mst` and `aim` are differentially private at `epsilon`;
    the columns' categories and quantiles count as public. `people` is the most rows of the original and of the control.
    """
    known = dataset(data)
    table = load_table(data)
    names = [g for g in generators.split(",") if g]
    if not names:
        raise UsageError(
            "TB-SCENARIO-028",
            "No generator was named.",
            "There is nothing to compare.",
            "Name one or more, such as -s generators=gaussian_copula,tvae.",
        )
    parts = split_people(table, {"original": 0.5, "control": 0.5}, known.person, seed)
    original, control = (part.head(people) for part in parts.values())
    attributes = [c for c in table.columns if c != known.person]

    def release(generator: str) -> pd.DataFrame:
        rng = private_rng(seed, known.data_class, "generator", generator)
        rows: Any = original[attributes]
        if generator == "planted":
            made = synthesise("independent_marginals", rows, len(rows), rng)
            return planted(made, rows, PLANTED, rng)
        return synthesise(generator, rows, len(rows), rng, epochs=epochs, epsilon=epsilon, public=table)

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        findings: list[Finding] = []
        evidence: dict[str, Evidence] = {}
        useful: list[Utility] = []
        done: Evaluation | None = None
        for number, generator in enumerate(names, 1):
            progress(f"generator: {generator}")
            done = evaluate(
                original,
                release(generator),
                control,
                person=known.person,
                secrets=[s for s in secrets.split(",") if s],
                attacks=attacks or None,
                data_class=known.data_class,
                seed=seed,
                progress=progress,
            )
            for finding in _compared(done.result.findings):
                target = generator + (f": {finding.target}" if finding.target else "")
                findings.append(finding.model_copy(update={"target": target}))
                if finding.rule in done.evidence:
                    evidence[f"{finding.rule}.{number}"] = done.evidence[finding.rule]
            useful += [u.model_copy(update={"name": f"{generator}, {u.name}"}) for u in done.result.utility]
        return Outcome(findings, evidence, utility=useful, people=done.people if done else None)

    return Scenario(
        Subject(
            type="synthetic_table",
            name=f"{known.title}: {', '.join(names)}",
            data_class=as_data_class(known.data_class),
            licence=known.licence,
            size_band=size_band(len(original)),
            columns=len(attributes),
        ),
        recipient(decided=membership_decides(control, known.person)),
        conduct,
        engines=("none",),
    )


def _compared(findings: list[Finding]) -> list[Finding]:
    """The findings that decide, and the first membership attack even if it only informs."""
    return [f for f in findings if f.primary or f.rule == "TB-MEMBERSHIP-001"]


if __name__ == "__main__":
    main(synthesizer_bakeoff)
