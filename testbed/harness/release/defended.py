"""A synthetic table behind its defences, and other people's rows as an attacker sees them who knows these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from testbed.core.defence import Defence, Draft, check_where
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data.tables.encode import Frames, encode
from testbed.defences.tables import kind_of, numbers, with_columns
from testbed.findings.plan import UNAWARE
from testbed.findings.schema import Finding, Utility
from testbed.harness.release import utility

OF_FILES = "It changes how the table is made. testbed synthesise --generator mst --epsilon 1 makes a private one."
FIRST_MEMBERSHIP = "TB-MEMBERSHIP-001"
"""The attack on membership that is shown even where it only informs."""
OF_SCENARIOS = "Use it with the scenario that it belongs to (docs/defences.md)."


@dataclass(frozen=True, slots=True)
class Defended:
    """A table after its defences. `told` says what they did.

    `alike` does to other people's rows what the defences did to released ones, if that is known without the original.
    """

    release: pd.DataFrame
    alike: Callable[[pd.DataFrame], pd.DataFrame]
    told: tuple[str, ...]


def check_defences(defences: Sequence[Defence]) -> None:
    """Raises `UsageError` for a defence that does not change the table itself."""
    generators = [d for d in defences if d.where == "generator"]
    check_where(
        generators or defences, ("table",), "a table that was made already", OF_FILES if generators else OF_SCENARIOS
    )


def defended(draft: Draft, defences: Sequence[Defence], seed: int = 0) -> Defended:
    """The table after these defences, applied from left to right.

    A later defence compares the release with the owner's original and control at the level that an earlier one left.
    Raises `UsageError` for a defence that cannot change this table.
    """
    check_defences(defences)
    steps: list[Callable[[pd.DataFrame], pd.DataFrame]] = []
    told: list[str] = []
    for number, one in enumerate(defences):
        done = one.build(int(keyed_rng(seed, "defence", str(number)).integers(2**62)))(draft)
        draft = done.draft
        told += [f"{one.name}: {line}" for line in done.told]
        if done.alike is not None:
            steps.append(done.alike)
            known = {"original": draft.original, "control": draft.control}
            draft = replace(draft, **{name: done.alike(t) for name, t in known.items() if t is not None})

    def alike(people: pd.DataFrame) -> pd.DataFrame:
        for step in steps:
            people = step(people)
        return people

    return Defended(draft.release, alike, tuple(told))


def check_generator(defences: Sequence[Defence]) -> None:
    """Raises `UsageError` for a generator that is not the first defence: it replaces the table that others changed."""
    if any(d.where == "generator" for d in defences[1:]):
        raise UsageError(
            "TB-DEFENCE-044",
            "A private generator must be the first defence, and the only generator.",
            "It makes the table anew, so what an earlier defence did to the table would be lost.",
            "Write it first, such as defence=private_synthesis:1+rounding:5.",
        )


def as_unaware(findings: Sequence[Finding]) -> list[Finding]:
    """The deciding findings, and the first attack on membership, as those of an attacker who does not know the defence.

    They inform: the same attacks with that knowledge decide.
    """
    return [
        f.model_copy(update={"primary": False, "target": UNAWARE + (f", {f.target}" if f.target else "")})
        for f in findings
        if f.primary or f.rule == FIRST_MEMBERSHIP
    ]


def beside(release: pd.DataFrame, people: pd.DataFrame) -> Frames:
    """A table beside real people, whose numbers no band of the table makes coarser: bands count as their middle."""
    middles = {n: numbers(n, release[n]) for n in release.columns if kind_of(n, people[n]) == "numeric"}
    return encode(people, with_columns(release, middles))


def worth(release: pd.DataFrame, people: pd.DataFrame, seed: int, which: str) -> list[Utility]:
    """The utility of a table beside real people, whose cells no defence made coarser. `which` says what table it is.

    The figures are those for which more is better, so that a defence's cost is a difference.
    """
    coded = beside(release, people)
    found = utility.utility(coded.synthetic, coded.original, seed)
    return [
        Utility(name=f"{one.name}, {which}", measure=one.measure)
        for one in found
        if not one.name.startswith("propensity")
    ]
