"""A federation of hospitals that send trees or statistics: recorded once in every cell, judged as any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from testbed.core import Array, Cell, Cohort, Threat, Transcript
from testbed.core.defence import Defence
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import Source, divide
from testbed.data.partition import partition
from testbed.findings.plan import Plan
from testbed.findings.schema import Subject, ThreatModel, Utility
from testbed.harness.federation import truth_file
from testbed.harness.federation.assess import SMALLEST_LINE_UP, assess
from testbed.harness.federation.recorded import LARGEST_LINE_UP, Key, Recorded, Truth
from testbed.harness.outcome import Outcome
from testbed.subjects.federation.tap import seen_by

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


class Run(Protocol):
    """A federation that runs on a list of cohorts, one a client, and gives what its server sees."""

    @property
    def seed(self) -> int: ...

    @property
    def defences(self) -> tuple[Defence, ...]: ...

    def run(self, partitions: list[Cohort], engine: str = ..., /) -> Transcript: ...


R = TypeVar("R", bound=Run)


@dataclass(frozen=True, slots=True)
class HospitalTrial(Generic[R]):
    """A federation with its people, the server's threat and its planned attacks.

    `of_client` are the attacks of one of the clients, which inform. `undefended` is the same federation without
    defences, the positive control; None if there are none.
    """

    people: Hospitals
    federation: R
    threat: Threat
    plans: tuple[Plan, ...]
    of_client: tuple[Plan, ...] = ()
    undefended: R | None = None
    columns: tuple[tuple[str, int], ...] = ()

    def run(self, engine: str, progress: Callable[[str], None] = lambda _: None) -> dict[Cell, Transcript]:
        """What the server sees in every cell: of members, of auxiliary people, and without a defence."""
        runs: dict[Cell, tuple[R, list[Cohort]]] = {
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

    def behind(self, view: Transcript, people: list[Cohort], threat: Threat) -> dict[Key, Cohort]:
        """Whom each exchange is asked about, of these people (one cohort a client)."""
        raise NotImplementedError

    def useful(self, views: Mapping[Cell, Transcript]) -> list[Utility]:
        """Of what use the federation's result is, with the defences and without."""
        raise NotImplementedError

    def recorded(self, views: Mapping[Cell, Transcript], threat: Threat, plans: tuple[Plan, ...]) -> Recorded:
        """The part of these views that a position sees, with the truth about the other hospitals' people."""
        batches = {
            "true": self.behind(views["true"], self.people.members, threat),
            "control": self.behind(views["true"], self.people.controls, threat),
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
        """The findings of the server's attacks and of a client's, and of what use the result is."""
        views = self.run(engine, progress)
        recorded = self.recorded(views, self.threat, self.plans)
        assessed = assess(recorded, progress=progress)
        findings, evidence = list(assessed.findings), dict(assessed.evidence)
        if self.of_client:
            client = Threat("client", knows=self.threat.knows, nodes=(CURIOUS,))
            seen = assess(self.recorded(views, client, self.of_client), progress=progress)
            findings, evidence = [*findings, *seen.findings], evidence | seen.evidence
        described = {"subject": subject.model_dump(), "threat": threat.model_dump()}
        return Outcome(findings, evidence, truth_file.files(recorded, described), utility=self.useful(views))


def together(people: list[Cohort]) -> Cohort:
    """All people as one cohort."""
    return Cohort(*(np.concatenate([getattr(p, part) for p in people]) for part in ("x", "y", "persons")))
