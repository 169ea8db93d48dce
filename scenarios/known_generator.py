"""How much more does a recipient learn who has the generator, and runs it on other people?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from testbed.cli.script import main
from testbed.core import Act, Release, Table
from testbed.core.disclosure import People
from testbed.core.errors import UsageError
from testbed.data import dataset, load_table
from testbed.data.splits import split_people
from testbed.data.tables.decoding import coded, decoded
from testbed.data.tables.encode import Meta, encode
from testbed.findings.assemble import as_data_class, size_band
from testbed.findings.schema import Subject, ThreatModel
from testbed.harness.outcome import Outcome
from testbed.harness.release.generator import INSIDER, Groups
from testbed.harness.release.generator import known_generator as attacked
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.synthesis import synthesise
from testbed.subjects.synthesis.planted import planted

FEWEST = 10
"""People or targets that the scenario needs at least."""
PARTS = ("members", "controls", "blind", "auxiliary")


@scenario(question="What does knowing the generator add to a recipient's attack?", position="recipient")
def known_generator(
    data: str = "support2",
    generator: str = "gaussian_copula",
    people: int = 500,
    targets: int = 100,
    shadows: int = 16,
    planted_share: float = 0.0,
    epochs: int = 50,
    seed: int = 0,
) -> Scenario:
    """Membership of the most exposed people in a release, by attackers who can run the generator on other people.

    There are four groups of `people`: members, controls, the people of the blind release, and the attacker's own. Of
    members and of controls, `targets` each are asked about. `shadows` is the number of times that the attacker runs the
    generator. `planted_share` copies that share of the original into every release. With few targets the finding is
    flagged and cannot pass.
    """
    if min(people, targets) < FEWEST:
        raise UsageError(
            "TB-SCENARIO-029",
            f"{min(people, targets)} people are too few to ask about.",
            "No rate can be estimated from so few people.",
            f"Use {FEWEST} or more; a false-positive rate of 10 in 100 needs 100 targets.",
        )
    known = dataset(data)
    table = load_table(data)
    parts = split_people(table, dict.fromkeys(PARTS, 1 / len(PARTS)), known.person, seed)
    heads: list[pd.DataFrame] = [parts[name].head(people) for name in PARTS]
    everybody = pd.concat(heads, ignore_index=True)
    coding = encode(everybody, everybody, None, Meta(known.person)).original
    ends = np.cumsum([0, *map(len, heads)])
    groups = Groups(*(coding.take(np.arange(a, b)) for a, b in pairwise(ends)))

    def recipe(given: Table, rng: np.random.Generator, act: Act | None = None) -> Release:
        frame: Any = decoded(given)
        made = synthesise(generator, frame, len(frame), rng, epochs=epochs)
        return Release(coded(planted(made, frame, planted_share, rng) if planted_share else made, given.columns))

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        found, evidence = attacked(groups, recipe, targets, shadows, seed, progress)
        return Outcome(found, evidence, people=People(heads, known.person))

    return Scenario(
        Subject(
            type="synthetic_table",
            name=f"{known.title}, {generator}" + (f", {planted_share:.0%} planted" if planted_share else ""),
            data_class=as_data_class(known.data_class),
            licence=known.licence,
            size_band=size_band(len(groups.members)),
            columns=len(coding.columns),
        ),
        ThreatModel(
            position="recipient",
            malicious=False,
            knows=sorted(INSIDER.knows),
            access=INSIDER.access,
            sees="the released table, and the generator, which runs again on the attacker's own records",
            not_tested=["people who are not outliers", "a generator that is queried about one person at a time"],
        ),
        conduct,
        engines=("none",),
    )


if __name__ == "__main__":
    main(known_generator)
