"""A federation of boosted trees under attack: recorded once in every cell, then judged as any other recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from testbed.core import Array, Cell, Cohort, Threat, Transcript
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import Source, divide
from testbed.data.partition import partition
from testbed.defences import named
from testbed.findings import statistics
from testbed.findings.measures import estimate
from testbed.findings.plan import Plan
from testbed.findings.schema import Subject, ThreatModel, Utility
from testbed.harness.federation import truth_file
from testbed.harness.federation.assess import SMALLEST_LINE_UP, assess
from testbed.harness.federation.recorded import LARGEST_LINE_UP, Key, Recorded, Truth
from testbed.harness.outcome import Outcome
from testbed.subjects.federation.tap import seen_by
from testbed.subjects.federation.trees import TreeFederation, predictions

GROUPS = ("members", "controls", "auxiliary")
LOOK_ALIKES = 130
"""People kept for line-ups, of all clients together."""


@dataclass(frozen=True, slots=True)
class Hospitals:
    """The people of each client by group, of the same number in every group, and look-alikes from all clients."""

    members: list[Cohort]
    controls: list[Cohort]
    auxiliary: list[Cohort]
    decoys: Cohort

    @staticmethod
    def of(source: Source, clients: int, people: int, seed: int, classes: int | None = 2) -> Hospitals:
        """The largest natural sites as clients, or random parts if there are none; `people` of a group at most.

        Raises `UsageError` for other than so many `classes` (None takes any number), or too few people.
        """
        if classes is not None and source.classes != classes:
            raise UsageError(
                "TB-SCENARIO-046",
                f"{source.name} has {source.classes} classes.",
                "These trees predict one of two classes (binary:logistic).",
                "Use heart, support2 or breast-cancer, or a table with two classes.",
            )
        everybody = source.people
        site = partition(
            "site" if source.sites is not None else "iid",
            everybody.y,
            clients,
            keyed_rng(seed, "partition"),
            sites=source.sites,
        )
        first = dict(zip(everybody.persons.tolist()[::-1], site.tolist()[::-1], strict=True))
        site = np.where(
            [first[p] == s for p, s in zip(everybody.persons.tolist(), site.tolist(), strict=True)], site, -1
        )
        taken: dict[str, list[Cohort]] = {name: [] for name in GROUPS}
        rest: list[Array] = []
        share = 1 - LOOK_ALIKES / max(1, int((site >= 0).sum()))
        for client in range(clients):
            rows = np.flatnonzero(site == client)
            each = min(people // clients, int(len(rows) * share) // len(GROUPS))
            if each < FEWEST:
                raise UsageError(
                    "TB-SCENARIO-047",
                    f"A client would have fewer than {FEWEST} people of each group.",
                    "Members, controls and auxiliary people of each client are as many, and look-alikes are left.",
                    "Use fewer clients, or a larger table.",
                )
            drawn = divide(everybody.take(rows), dict.fromkeys(GROUPS, each), keyed_rng(seed, "site", client))
            used = np.concatenate(list(drawn.values()))
            for name in GROUPS:
                taken[name].append(everybody.take(rows[drawn[name][:each]]))
            rest.append(rows[~np.isin(np.arange(len(rows)), used)])
        crowd = keyed_rng(seed, "decoys").permutation(np.concatenate(rest))[: LARGEST_LINE_UP - 1]
        return Hospitals(taken["members"], taken["controls"], taken["auxiliary"], everybody.take(crowd))


FEWEST = 10
"""People of a client in each group at least."""
CURIOUS = 1
"""The client that looks at what it is sent. The first one is sent nothing before it trains."""
assert LOOK_ALIKES > SMALLEST_LINE_UP


@dataclass(frozen=True, slots=True)
class TreeTrial:
    """A federation of trees with its people, the server's threat and its planned attacks.

    `of_client` are the attacks of one of the clients, which inform.
    `undefended` is the same federation without defences, the positive control; None if there are none.
    """

    people: Hospitals
    federation: TreeFederation
    threat: Threat
    plans: tuple[Plan, ...]
    of_client: tuple[Plan, ...] = ()
    undefended: TreeFederation | None = None
    columns: tuple[tuple[str, int], ...] = ()

    def run(self, engine: str, progress: Callable[[str], None] = lambda _: None) -> dict[Cell, Transcript]:
        """What the server sees in every cell: on members, on auxiliary people, and without a defence."""
        runs: dict[Cell, tuple[TreeFederation, list[Cohort]]] = {
            "true": (self.federation, self.people.members),
            "blind": (self.federation, self.people.auxiliary),
        }
        if self.undefended is not None:
            runs["positive"] = self.undefended, self.people.members
        views: dict[Cell, Transcript] = {}
        for cell, (federation, parts) in runs.items():
            progress(f"federation: {cell} view on {engine}")
            views[cell] = federation.run(parts, engine)
        return views

    def recorded(self, views: Mapping[Cell, Transcript], threat: Threat, plans: tuple[Plan, ...]) -> Recorded:
        """The part of these views that a position sees, with the truth about the other clients' first exchanges."""
        first: dict[int, Key] = {}
        for exchange in views["true"].exchanges:
            if exchange.client not in threat.nodes:
                first.setdefault(exchange.client, exchange.key)
        keys = sorted(first.values())
        batches = {
            "true": {key: self.people.members[key[1]] for key in keys},
            "control": {key: self.people.controls[key[1]] for key in keys},
        }
        if self.undefended is not None:
            batches["positive"] = batches["true"]
        truth = Truth(
            plans,
            threat,
            together(self.people.auxiliary),
            self.federation.seed,
            2,
            batches,
            self.people.decoys,
            columns=self.columns,
            defences=self.federation.defences,
        )
        return Recorded({cell: seen_by(view, threat) for cell, view in views.items()}, truth)

    def conduct(
        self,
        engine: str,
        progress: Callable[[str], None],
        store: Path | None,
        subject: Subject,
        threat: ThreatModel,
    ) -> Outcome:
        """The findings, with the AUC of the model on the controls, with and without the defences."""
        views = self.run(engine, progress)
        recorded = self.recorded(views, self.threat, self.plans)
        assessed = assess(recorded, progress=progress)
        client = Threat("client", knows=self.threat.knows, nodes=(CURIOUS,))
        passed = assess(self.recorded(views, client, self.of_client), progress=progress)
        described = {"subject": subject.model_dump(), "threat": threat.model_dump()}
        files = truth_file.files(recorded, described)
        findings, evidence = [*assessed.findings, *passed.findings], {**assessed.evidence, **passed.evidence}
        return Outcome(findings, evidence, files, utility=self._useful(views))

    def _useful(self, views: Mapping[Cell, Transcript]) -> list[Utility]:
        """The AUC on people nobody trained on, of the last model with the defences and without any."""
        tested = together(self.people.controls)
        cells: dict[Cell, str] = {"true": "without a defence"}
        if self.federation.defences:
            cells = {"positive": "without a defence", "true": f"with {named.text_of(self.federation.defences)}"}
        return [
            Utility(name=f"AUC on people nobody trained on, {how}", measure=auc(views[cell], tested))
            for cell, how in cells.items()
        ]


def auc(view: Transcript, tested: Cohort):
    said = predictions(view.final, tested.x)
    return estimate("auc", statistics.auc(said[tested.y == 1], said[tested.y == 0]), "record")


def together(people: list[Cohort]) -> Cohort:
    """All people as one cohort."""
    return Cohort(*(np.concatenate([getattr(p, part) for p in people]) for part in ("x", "y", "persons")))
