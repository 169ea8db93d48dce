"""May this hospital's synthetic table go out?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.cli.script import main
from testbed.core.randomness import keyed_rng, private_rng
from testbed.data import dataset, load_table
from testbed.data.splits import split_people
from testbed.findings.assemble import as_data_class, size_band
from testbed.findings.schema import Subject
from testbed.harness.outcome import Outcome
from testbed.harness.release.evaluate import evaluate, membership_decides, recipient
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.synthesis import synthesise
from testbed.subjects.synthesis.planted import planted


@scenario(question="May this hospital's synthetic table go out?", position="recipient")
def hospital_release(
    data: str = "support2",
    generator: str = "gaussian_copula",
    epochs: int = 100,
    planted_share: float = 0.0,
    plant: str = "exact",
    secrets: str = "",
    attacks: int = 0,
    seed: int = 0,
) -> Scenario:
    """A third of the patients is synthesised, a third is the control, and a third is the release of `generator=none`.

    `planted_share` replaces that share of the release by original rows (`plant`: exact, jittered or one_changed).
    `secrets` names columns (a,b); by default all are secrets. `attacks` limits the number of guesses; 0 is the default
    number.
    """
    known = dataset(data)
    table = load_table(data)
    parts = split_people(table, {"original": 1 / 3, "control": 1 / 3, "fresh": 1 / 3}, known.person, seed)
    attributes = [c for c in table.columns if c != known.person]

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        progress(f"generator: {generator}")
        rows: dict[str, Any] = {name: part[attributes] for name, part in parts.items()}
        release = rows["fresh"]
        if generator != "none":
            size, rng = len(rows["original"]), private_rng(seed, known.data_class, "generator")
            release = synthesise(generator, rows["original"], size, rng, epochs=epochs)
        if planted_share:
            release = planted(release, rows["original"], planted_share, keyed_rng(seed, "planted"), plant)
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
        return Outcome(done.result.findings, done.evidence, utility=done.result.utility, people=done.people)

    return Scenario(
        Subject(
            type="synthetic_table",
            name=f"{known.title}, {generator}" + (f", {planted_share:.0%} planted" if planted_share else ""),
            data_class=as_data_class(known.data_class),
            licence=known.licence,
            size_band=size_band(len(parts["original"])),
            columns=len(attributes),
        ),
        recipient(decided=membership_decides(parts["control"], known.person)),
        conduct,
        engines=("none",),
    )


if __name__ == "__main__":
    main(hospital_release)
