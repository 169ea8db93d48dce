"""May this hospital's synthetic table go out?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from testbed.attacks.kit import keyed_rng
from testbed.data import dataset, load_table
from testbed.data.splits import split_people
from testbed.errors import UsageError
from testbed.evaluate import NOT_TESTED, SEES, evaluate
from testbed.harness.targets import RECIPIENT
from testbed.report import results
from testbed.report.schema import Subject, ThreatModel
from testbed.scenario import Outcome, Scenario, main, scenario
from testbed.synthesis.marginals import independent_marginals
from testbed.synthesis.planted import planted

GENERATORS = ("gaussian_copula", "independent_marginals", "none")


def generate(generator: str, original: pd.DataFrame, fresh: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A release of the original's size; `none` plays further people of the same hospital as synthetic."""
    if generator == "gaussian_copula":
        from testbed.synthesis.copula import gaussian_copula

        return gaussian_copula(original, len(original))
    if generator == "independent_marginals":
        return independent_marginals(original, len(original), keyed_rng(seed, "generator"))
    if generator == "none":
        return fresh
    raise UsageError(
        "TB-SCENARIO-008",
        f"There is no generator called {generator!r}.",
        "It makes the release that is evaluated.",
        f"Use one of: {', '.join(GENERATORS)}.",
    )


@scenario(question="May this hospital's synthetic table go out?", position="recipient")
def hospital_release(
    data: str = "support2",
    generator: str = "gaussian_copula",
    planted_share: float = 0.0,
    secrets: str = "",
    attacks: int = 0,
    seed: int = 0,
) -> Scenario:
    """A third of the patients is synthesised, a third is the control, and a third is left for `generator=none`.

    `planted_share` replaces that share of the release by original rows; `secrets` names columns (a,b), all by
    default; `attacks` bounds the guesses, 0 leaves the defaults.
    """
    known = dataset(data)
    table = load_table(data)
    parts = split_people(table, {"original": 1 / 3, "control": 1 / 3, "fresh": 1 / 3}, known.person, seed)
    attributes = [c for c in table.columns if c != known.person]

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        progress(f"generator: {generator}")
        rows: dict[str, Any] = {name: part[attributes] for name, part in parts.items()}
        release = generate(generator, rows["original"], rows["fresh"], seed)
        if planted_share:
            release = planted(release, rows["original"], planted_share, keyed_rng(seed, "planted"))
        done = evaluate(
            parts["original"],
            release,
            parts["control"],
            person=known.person,
            secrets=[s for s in secrets.split(",") if s],
            attacks=attacks or None,
            data_class=known.data_class,
            seed=seed,
            progress=progress,
        )
        return Outcome(done.result.findings, done.evidence, people=done.people)

    return Scenario(
        Subject(
            type="synthetic_table",
            name=f"{known.title}, {generator}" + (f", {planted_share:.0%} planted" if planted_share else ""),
            data_class=results.data_class(known.data_class),
            licence=known.licence,
            size_band=results.size_band(len(parts["original"])),
            columns=len(attributes),
        ),
        ThreatModel(
            position="recipient",
            malicious=False,
            knows=sorted(RECIPIENT.knows),
            access=RECIPIENT.access,
            sees=SEES,
            not_tested=NOT_TESTED,
        ),
        conduct,
        engines=("none",),
    )


if __name__ == "__main__":
    main(hospital_release)
