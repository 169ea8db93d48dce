"""Class inversion over federations: does a client learn what classes look like that only other clients hold?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from testbed import judge
from testbed.attacks.registry import Attack, find
from testbed.core import Array, Cell, Classes, Cohort, Evidence, Threat, Transcript
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding
from testbed.harness.federation import paired
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.tap import seen_by

ADVERSARY = 0
"""The adversary's client number."""
FEWEST = 3
"""Fewest classes of each kind: the adversary's own, those that only others hold, and those that nobody holds."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One federation's people by client, and the classes held by others only, by nobody, and by the adversary."""

    parties: list[Cohort]
    others: Array
    nobodys: Array
    own: Array


@dataclass(frozen=True, slots=True)
class ClassWorlds:
    """`count` federations with `each` records a client. Classes are dealt to clients anew each time.

    There are three kinds of classes: the adversary's own, those that only other clients hold, and those that nobody
    holds. The other clients hold the first two kinds. `witnesses` are people of all classes who are in no federation.
    They train the classifier that recognises the adversary's pictures.
    """

    people: Cohort
    witnesses: Cohort
    federation: Federation
    question: Classes
    each: int
    count: int
    act_params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def conduct(
        self,
        plans: Mapping[str, Plan],
        threat: Threat,
        engine: str,
        seed: int,
        progress: Callable[[str], None],
    ) -> tuple[list[Finding], dict[str, Evidence]]:
        """Findings and evidence: the share of classes recognised in each attack's records; then attacks are compared.

        The attack cell has the classes that only others hold, the control those that nobody holds. The blind cell is
        the same attack on models that were never trained. In the positive control the others hold all classes.
        """
        says = _classifier(self.witnesses)
        rows: dict[str, list[Evidence]] = {name: [] for name in plans}
        for world in range(self.count):
            progress(f"federation {world + 1} of {self.count}")
            drawn = {cell: self._drawn(world, seed, whole=cell == "positive") for cell in ("true", "positive")}
            for name, plan in plans.items():
                attack = find(name)
                parts: list[Evidence] = []
                for cell in ("true", "positive"):
                    seen = self._seen(attack, drawn[cell], threat, engine, seed + world)
                    views: dict[Cell, Transcript] = {cell: seen}
                    if cell == "true":
                        views["blind"] = never_trained(seen)
                    for asked, view in views.items():
                        made = attack.run(view, self.question, None, seed + world, threat, dict(plan.params))
                        parts.append(judge.named(made, says, drawn[cell].others, asked, "used"))
                        if cell == "true":
                            parts.append(judge.named(made, says, drawn[cell].nobodys, asked, "unused"))
                rows[name].append(Evidence.join(*parts))
        kept = {plans[name].key: self._joined(parts) for name, parts in rows.items()}
        found = [_told(findings_.rates(plan, kept[plan.key])) for plan in plans.values()]
        first = next(iter(plans))
        per_run = [[findings_.rates(plan, rows[name][w]) for name, plan in plans.items()] for w in range(self.count)]
        return found + paired.beside(per_run, first), kept

    def _drawn(self, world: int, seed: int, *, whole: bool) -> Drawn:
        rng = keyed_rng(seed, "classes", world)
        order = rng.permutation(self.question.count)
        third = max(FEWEST, self.question.count // 3)
        own, nobodys, others = order[:third], order[third : 2 * third], order[2 * third :]
        if whole:
            others, nobodys = np.concatenate([others, nobodys]), nobodys[:0]
        mine = rng.permutation(np.flatnonzero(np.isin(self.people.y, own)))
        taken, rest = mine[: self.each], mine[self.each :]
        theirs = rng.permutation(np.concatenate([np.flatnonzero(np.isin(self.people.y, others)), rest]))
        clients = self.federation.protocol.clients
        needed = (clients - 1) * self.each
        if len(taken) < self.each or len(theirs) < needed:
            raise InputError(
                "TB-SPLIT-013",
                "There are too few records of these classes.",
                f"Each client holds {self.each} records, and a third of the classes is left out.",
                "Use fewer records a client, fewer clients, or a larger data set.",
            )
        parts = [taken, *np.split(theirs[:needed], clients - 1)]
        return Drawn([self.people.take(p) for p in parts], others, nobodys, own)

    def _seen(self, attack: Attack, drawn: Drawn, threat: Threat, engine: str, seed: int) -> Transcript:
        act = None
        if attack.act is not None:
            rng = keyed_rng(seed, attack.name, "act")
            own = tuple(int(c) for c in drawn.own)
            act = replace(
                attack.act(self.question, None, rng, self.federation.model, wrong=own, **self.act_params),
                nodes=(ADVERSARY,),
            )
        federation = replace(self.federation, seed=seed)
        return seen_by(federation.run(drawn.parties, engine, act, attack.name if act else None), threat)

    def _joined(self, parts: list[Evidence]) -> Evidence:
        """The rows of all federations. Each federation is one cluster, because its classes share a model."""
        numbered = [replace(p, cluster=np.full(len(p), world)) for world, p in enumerate(parts)]
        return replace(Evidence.join(*numbered), requested=self.count, performed=self.count)


def never_trained(view: Transcript) -> Transcript:
    """The same view, but with the first model sent in place of every later one."""
    first = next(e.sent for e in view.exchanges if e.sent is not None)
    sent = [replace(e, sent=None if e.sent is None else first) for e in view.exchanges]
    return replace(view, exchanges=tuple(sent), final=None if view.final is None else first)


def _classifier(people: Cohort) -> Callable[[Array], Array]:
    """A forest trained on these people. It is no network like the model attacked, and needs no scaling of records."""
    known = RandomForestClassifier(200, random_state=0).fit(people.x.reshape(len(people), -1), people.y)
    return lambda records: known.predict(records.reshape(len(records), -1))


def _told(finding: Finding) -> Finding:
    plain = (
        "A client uses the models it receives to construct a record of each class that only other clients hold. An "
        f"independent classifier recognises {findings_.percent(finding.measure)} of these classes. For classes that "
        f"nobody holds it recognises {findings_.percent(finding.control)}. From untrained models it recognises "
        f"{findings_.percent(finding.baseline)}. This reveals a property of the class. It is about a single person "
        "only if the class is one person."
    )
    return finding.model_copy(update={"plain": plain})
