"""Property inference, judged over worlds: federations that differ in one property of a client's records as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from testbed.attacks.properties.updates import drawn
from testbed.attacks.registry import Attack, find
from testbed.core import Act, Cell, Cohort, Evidence, Property, Scores, Threat, Transcript, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding
from testbed.harness import cells
from testbed.harness.cells import Judged
from testbed.harness.federation.alarms import refused
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.tap import seen_by

EXTREME = (0.02, 0.98)
"""Shares of records with the property in the positive control. No working attack should miss such a difference."""


@dataclass(frozen=True, slots=True)
class Worlds:
    """`count` federations on these people. In each, a coin decides if few or many of a client's records match."""

    people: Cohort
    auxiliary: Cohort
    federation: Federation
    question: Property
    count: int

    def conduct(
        self, plans: Sequence[tuple[Plan, Threat]], engine: str, seed: int, progress: Callable[[str], None]
    ) -> tuple[list[Finding], dict[str, Evidence]]:
        """Findings and evidence: the share of worlds for which each attack predicts the coin correctly.

        The control compares the same prediction with a second coin that decided nothing. The blind cell's client holds
        records with the property as often as all people. In the positive control nearly none, or nearly all, have it.
        """
        coin = keyed_rng(seed, "worlds")
        # The second coin is balanced within the worlds of each truth.
        four = coin.permutation(np.arange(self.count) % 4)
        truth, other = four % 2, four // 2
        rows: dict[str, list[Evidence]] = {plan.key: [] for plan, _ in plans}
        missing: dict[str, Unavailable] = {}
        for world in range(self.count):
            progress(f"world {world + 1} of {self.count}")
            rng = keyed_rng(seed, "world", world)
            plain = float((self.people.x.reshape(len(self.people), -1)[:, self.question.column] > 0.5).mean())
            shares: dict[Cell, float] = {
                "true": self.question.levels[truth[world]],
                "blind": plain,
                "positive": EXTREME[truth[world]],
            }
            for cell, share in shares.items():
                parties = [self.people.take(r) for r in drawn(self.people, self.question, share, rng)]
                asked = replace(self.question, levels=EXTREME) if cell == "positive" else self.question
                recorded: dict[str | None, Transcript] = {}
                for plan, threat in plans:
                    attack = find(plan.attack)
                    actor = attack.name if attack.act else None
                    try:
                        if actor not in recorded:
                            act = self._act(attack, asked, threat, seed + world)
                            federation = replace(self.federation, seed=seed + world)
                            recorded[actor] = federation.run(parties, engine, act, actor)
                        view = seen_by(recorded[actor], threat)
                        claim = attack.run(view, asked, self.auxiliary, seed + world, threat, dict(plan.params))
                    except Unavailable as why:
                        if not (actor in recorded and refused(recorded[actor])):
                            missing[plan.key] = why
                            continue
                        claim = Scores(np.zeros(1))  # clients refused, and there is nothing to judge by
                    guess = float(claim.values[0]) > 0
                    rows[plan.key].append(_row(cell, "used", guess == truth[world], world))
                    if cell != "positive":
                        rows[plan.key].append(_row(cell, "unused", guess == other[world], world))
        judged: list[Judged] = []
        for plan, _ in plans:
            if plan.key in missing:
                judged.append(cells.unmeasured(plan, missing[plan.key]))
                continue
            kept = _joined(rows[plan.key], self.count)
            told = _told(findings_.rates(plan, kept), self.question, find(plan.attack).malicious)
            judged.append(Judged(plan, told, kept))
        return cells.findings(judged), cells.evidence_by_key(judged)

    def _act(self, attack: Attack, asked: Property, threat: Threat, seed: int) -> Act | None:
        if attack.act is None:
            return None
        attack.permit(threat)
        rng = keyed_rng(seed, attack.name, "act")
        return replace(attack.act(asked, self.auxiliary, rng, self.federation.model), nodes=threat.nodes)


def _row(cell: Cell, group: str, right: bool, world: int) -> Evidence:
    return Evidence.rows(cell, group, success=[float(right)], item=[world], cluster=[world])  # type: ignore[arg-type]


def _joined(parts: list[Evidence], worlds: int) -> Evidence:
    made = Evidence.join(*parts)
    return replace(made, requested=worlds, performed=worlds)


def _told(finding: Finding, question: Property, acts: bool) -> Finding:
    low, high = (100 * level for level in question.levels)
    plain = (
        f"The attacker predicts whether {low:g} or {high:g} of 100 records of the client have the property. This is "
        f"correct in {findings_.percent(finding.measure)} of federations. For a coin that decided nothing it is "
        f"correct in {findings_.percent(finding.control)}. Without these records it is correct in "
        f"{findings_.percent(finding.baseline)}. "
        "The property describes the hospital's patients as a whole."
        + (" Here the attacker does not follow the protocol." if acts else "")
    )
    return finding.model_copy(update={"plain": plain})


def column_of(columns: tuple[tuple[str, int], ...], name: str) -> int:
    """The index of a column's first feature among the inputs; for a category this is its commonest value.

    Raises `KeyError` for an unknown column.
    """
    start = 0
    for known, width in columns:
        if known == name:
            return start
        start += width
    raise KeyError(name)


def halves(people: Cohort, seed: int) -> tuple[Cohort, Cohort]:
    """The records of the worlds' people, and of the attacker's people. Nobody is in both."""
    names, person = np.unique(people.persons, return_inverse=True)
    rng = keyed_rng(seed, "halves")
    ours = np.isin(person, rng.permutation(len(names))[: len(names) // 2])
    order = rng.permutation(len(people))
    return people.take(order[ours[order]]), people.take(order[~ours[order]])
