"""A synthetic table behind its defences, and other people's rows as an attacker sees them who knows these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from testbed.core.defence import Defence, Draft, check_where
from testbed.core.randomness import keyed_rng

OF_FILES = "It changes how the table is made. testbed synthesise --generator mst --epsilon 1 makes a private one."
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
