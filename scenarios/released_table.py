"""What does a synthetic table give away about its people, under this defence, and what does the defence cost?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from testbed.cli.script import main
from testbed.core.defence import Defence, Exposure, check_where
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng, private_rng
from testbed.data import dataset, load_table
from testbed.data.splits import split_people
from testbed.defences import named
from testbed.defences.tables import drafted
from testbed.findings.assemble import as_data_class, size_band
from testbed.findings.schema import Subject
from testbed.harness.outcome import Outcome
from testbed.harness.protected import reported
from testbed.harness.release.defended import Defended, as_unaware, check_generator, defended, worth
from testbed.harness.release.evaluate import Evaluation, evaluate, membership_decides, recipient
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.synthesis import check, synthesise
from testbed.subjects.synthesis.planted import planted

PARTS = ("original", "control", "outside")
"""Groups of equal size: whose rows are used, who are held out, and the people whom the owner of the table compares
with, or may publish. The attacks never meet the last ones."""
FEWEST = 40


@dataclass(frozen=True, slots=True)
class Trial:
    """A table that is made from these `parts`, protected and evaluated. `rows` makes it without a defence."""

    parts: Mapping[str, pd.DataFrame]
    rows: Callable[[pd.DataFrame], pd.DataFrame]
    defences: tuple[Defence, ...]
    person: str | None
    asked: Mapping[str, Any]
    seed: int
    data_class: str

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """The findings on the defended table, and the utility of the table with its defences and without."""
        progress("the table")
        plain = self.rows(self._attributes("original"))
        protected = self._protected(plain)
        progress("attacks that know the defence" if self.defences else "attacks")
        done = self._evaluated(protected.release, protected.alike, progress)
        findings, evidence = list(done.result.findings), dict(done.evidence)
        raw = done.people
        if any(not protected.alike(self.parts[n]).equals(self.parts[n]) for n in ("original", "control")):
            progress("attacks that do not know the defence")
            unaware = self._evaluated(protected.release, lambda people: people, progress)
            raw = unaware.people
            findings += as_unaware(unaware.result.findings)
            evidence |= {f"{key}.unaware": rows for key, rows in unaware.evidence.items()}
        progress("utility")
        tables = {"without a defence": plain}
        if self.defences:
            tables[f"with {named.text_of(self.defences)}"] = protected.release
        control = self._attributes("control")
        useful = [u for which, made in tables.items() for u in worth(made, control, self.seed, which)]
        return Outcome(findings, evidence, utility=useful, people=replace(raw, tables=list(self.parts.values())))

    def _attributes(self, part: str) -> pd.DataFrame:
        rows: Any = self.parts[part]
        return rows.drop(columns=[self.person] if self.person else [])

    def _protected(self, plain: pd.DataFrame) -> Defended:
        generators = [d for d in self.defences if d.where == "generator"]
        made = plain
        if generators:
            own, public = self._attributes("original"), self._attributes("outside")
            made = generators[0].build(self.seed)(own, len(public), public)
        draft = drafted(made, self._attributes("original"), self._attributes("outside"))
        return defended(draft, [d for d in self.defences if d.where == "table"], self.seed)

    def _evaluated(
        self,
        release: pd.DataFrame,
        alike: Callable[[pd.DataFrame], pd.DataFrame],
        progress: Callable[[str], None] = lambda _: None,
    ) -> Evaluation:
        original, control = (alike(self.parts[part]) for part in ("original", "control"))
        return evaluate(
            original,
            release,
            control,
            person=self.person,
            data_class=self.data_class,
            seed=self.seed,
            progress=progress,
            **self.asked,
        )


@scenario(question="What does a synthetic table give away under this defence, at what cost?", position="recipient")
def released_table(
    data: str = "heart",
    generator: str = "independent_marginals",
    planted_share: float = 0.2,
    plant: str = "exact",
    people: int = 3000,
    epochs: int = 50,
    secrets: str = "",
    attacks: int = 0,
    defence: str = "none",
    seed: int = 0,
) -> Scenario:
    """A table is synthesised from `people` members, some of whom are copied, protected, and attacked by its recipient.

    `planted_share` of its rows are copies of the original (`plant`: exact, jittered or one_changed): something to
    defend. Attackers know the defence: they do to everybody's rows what it did to released ones. The same attacks
    without that knowledge stand beside. A defence that replaces the generator (`private_synthesis`) leaves no planted
    row. There are three groups of `people`, or of a third of the data set if this is fewer.
    """
    known = dataset(data)
    table = load_table(data)
    defences = tuple(replace(d, secret=known.data_class == "real") for d in named.configured(defence))
    check_where(
        defences,
        ("table", "generator"),
        "a released table",
        "Use it with a scenario of a federation or of a released model, such as curious_server or released_model.",
    )
    check(generator)
    check_generator(defences)
    parts = split_people(table, dict.fromkeys(PARTS, 1 / len(PARTS)), known.person, seed)
    parts = {name: part.head(people).reset_index(drop=True) for name, part in parts.items()}
    if min(map(len, parts.values())) < FEWEST:
        raise UsageError(
            "TB-SCENARIO-042",
            f"{min(map(len, parts.values()))} people in each group are too few to ask about.",
            "No rate can be estimated from so few people.",
            f"Use {FEWEST} people or more, on a data set with three times as many.",
        )

    def rows(original: pd.DataFrame) -> pd.DataFrame:
        rng = private_rng(seed, known.data_class, "generator")
        made = synthesise(generator, original, len(original), rng, epochs=epochs, public=original)
        return planted(made, original, planted_share, keyed_rng(seed, "planted"), plant) if planted_share else made

    asked = {"secrets": [s for s in secrets.split(",") if s], "attacks": attacks or None}
    trial = Trial(parts, rows, defences, known.person, asked, seed, known.data_class)
    threat = recipient(decided=membership_decides(parts["control"], known.person))
    told = f", {planted_share:.0%} planted" if planted_share else ""
    return Scenario(
        Subject(
            type="synthetic_table",
            name=f"{known.title}, {generator}{told}",
            data_class=as_data_class(known.data_class),
            licence=known.licence,
            size_band=size_band(len(parts["original"])),
            columns=len(parts["original"].columns) - (known.person is not None),
        ),
        threat.model_copy(update={"knows": sorted({*threat.knows, "defence"})}) if defences else threat,
        trial.conduct,
        reported(defences, Exposure(position="recipient"), adaptive=True),
        engines=("none",),
    )


if __name__ == "__main__":
    main(released_table)
