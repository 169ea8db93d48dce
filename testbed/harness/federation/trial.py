"""A federation under attack: recorded once in every cell, then attacked many times and judged against the truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from testbed import models
from testbed.attacks.registry import Attack, find
from testbed.core import (
    Act,
    Array,
    Batch,
    Cell,
    Cohort,
    Question,
    Recipe,
    Records,
    Split,
    Threat,
    Transcript,
)
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.findings.plan import Plan
from testbed.harness.federation import disguises, repeated
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.recorded import (
    ABOUT_RECORDS,
    LARGEST_LINE_UP,
    Key,
    Pooled,
    Progress,
    Recorded,
    Truth,
    as_members,
)
from testbed.harness.recipes import Remembered
from testbed.subjects.federation import transcript
from testbed.subjects.federation.apps import batches
from testbed.subjects.federation.attendance import TRAINED, Turn, worked
from testbed.subjects.federation.federation import Federation, by_party
from testbed.subjects.federation.tap import seen_by, summed


@dataclass(frozen=True, slots=True)
class Trial:
    """A federation with its people, the threat and the planned attacks.

    `positive` is a federation known to leak. None means that the trial's own view is one (an undefended batch of one).
    `control_party` is the natural site of each control. With `sum_only` the server sees only the clients' weighted mean
    of each round, as under secure aggregation.
    """

    split: Split
    federation: Federation
    threat: Threat
    plans: tuple[Plan, ...]
    positive: Leaky | None = None
    act_params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    control_party: Array | None = None
    columns: tuple[tuple[str, int], ...] = ()
    sum_only: bool = False
    once: bool = False
    """Is each client's last answer alone asked about? It is where the same people are trained on in every round."""
    hides: bool = False
    """Does a malicious server hide from the guards what it changes (`disguises.of`)?"""

    @property
    def sums(self) -> bool:
        """Does the server see nothing but the clients' mean?"""
        return self.sum_only or self.federation.secured is not None

    def record(
        self,
        engine: str,
        progress: Progress = lambda _: None,
        store: Path | None = None,
        cells: Collection[Cell] = ("true", "blind", "positive"),
    ) -> Recorded:
        """The recorded federation of every cell: on members, on auxiliary records, and as the positive control.

        With a `store`, each finished federation is kept there and is not run again. Raises `InputError` if there are
        too few auxiliary records or controls.
        """
        members, auxiliary = self.split.members, self.split.auxiliary
        assert isinstance(members, Cohort)
        assert isinstance(auxiliary, Cohort)
        assert self.split.party is not None
        parts = by_party(members, self.split.party)
        sizes = [len(p) for p in parts]
        if len(auxiliary) < sum(sizes):
            raise InputError(
                "TB-SPLIT-008",
                "There are fewer auxiliary records than members.",
                "The blind cell needs a federation of the same size on other people's records.",
                "Use fewer members, or a larger data set.",
            )
        acting = next((a for p in self.plans if (a := find(p.attack)).act is not None), None)
        runs: dict[Cell, tuple[Federation, list[Cohort]]] = {
            "true": (self.federation, parts),
            "blind": (self.federation, _alike(auxiliary, parts, keyed_rng(self.federation.seed, "blind"))),
        }
        if self.positive is not None:
            few = self.positive.parties(parts, keyed_rng(self.federation.seed, "few"))
            runs["positive"] = (self.positive.federation, few)
        runs = {cell: run for cell, run in runs.items() if cell in cells}
        views: dict[Cell, Transcript] = {}
        for cell, (federation, partitions) in runs.items():
            progress(f"federation: {cell} view on {engine}")
            about = runs["positive" if cell == "positive" else "true"][1]
            act = self._act(acting, federation, about) if acting else None
            name = acting.name if acting else None
            repeats = (self.federation.defences, repeated.REPEATS) if cell == "positive" and self._repeats() else None
            told = repr((name, dict(self.act_params), self.hides, _people_digest(*about, self.split.controls), repeats))
            kept = store / f"{_digest(engine, federation, partitions, act, told)}.transcript" if store else None
            if kept and kept.is_file():
                views[cell] = self._seen(transcript.read(kept))
                continue
            seen = federation.run(partitions, engine, act, name)
            if cell == "positive" and self._repeats():
                seen = repeated.beside(seen, federation, self.federation.defences, partitions, engine)
            if kept:
                transcript.write(kept, seen)
            views[cell] = self._seen(seen)
        recipes: dict[Cell, Recipe] = {
            cell: Remembered(self._recipe(federation, engine, len(parties)), federation.seed)
            for cell, (federation, parties) in runs.items()
        }
        # Both cells have the same recipe, so its shadow federations are shared.
        recipes["blind"] = recipes["true"]
        return Recorded(views, self._truth({cell: parts for cell, (_, parts) in runs.items()}, views), recipes)

    def _repeats(self) -> bool:
        """Is there also a positive control under the defence? Only for a server that reads single updates."""
        reads = self.threat.position == "server" and not self.threat.malicious and not self.sum_only
        about_records = find(self.plans[0].attack).claim in ABOUT_RECORDS
        if (
            self.positive is None
            or self.threat.turns is not None
            or not reads
            or about_records
            or self.federation.secured
        ):
            return False
        return repeated.possible(self.positive.federation, self.federation.defences)

    def _seen(self, transcript_: Transcript) -> Transcript:
        return summed(transcript_) if self.sum_only else seen_by(transcript_, self.threat)

    def _recipe(self, federation: Federation, engine: str, clients: int) -> Recipe:
        """A recipe that runs this federation on other people: a cohort for each client.

        With `sum_only`, one cohort of everybody is dealt to the clients at random. An attacker who trains shadow
        federations does so at home: where the federation is deployed, they run in this process.
        """
        at_home = "in-process" if engine == "deployment" else engine

        def run(parties: Sequence[Cohort], rng: np.random.Generator, act: Act | None = None) -> Transcript:
            if self.sums and len(parties) == 1:
                dealt = np.arange(len(parties[0])) % clients
                parties = by_party(parties[0].take(rng.permutation(len(dealt))), dealt)
            fresh = replace(federation, seed=int(rng.integers(2**31)), guards=())
            while fresh.nobody(len(parties)):  # by chance, in a small federation whose clients drop out
                fresh = replace(fresh, seed=int(rng.integers(2**31)))
            return self._seen(fresh.run(parties, at_home, act))

        return run

    def _act(self, attack: Attack, federation: Federation, partitions: list[Cohort]) -> Act:
        """The adversary's act. It is given the question without the answer: people asked about, or a record's shape."""
        attack.permit(self.threat)
        shape, classes = models.input_of(federation.model)
        question: Question = Batch((), shape, classes)
        if attack.claim in ABOUT_RECORDS:
            assert isinstance(self.split.controls, Cohort)
            positive = self.positive is not None and federation is self.positive.federation
            question = self._pool(partitions, "positive" if positive else "true").question()
            question = Records(question.people) if self.sums else question
        rng = keyed_rng(federation.seed, attack.name, "act")
        assert attack.act is not None
        granted = attack.granted(self.split.auxiliary, self.threat)
        made = attack.act(question, granted, rng, federation.model, **self.act_params)
        if self.hides and federation.guards and (disguise := disguises.of(attack.name)) is not None:
            assert isinstance(self.split.auxiliary, Cohort)
            made = disguise(made, self.split.auxiliary, keyed_rng(federation.seed, "disguise"))
        return replace(made, nodes=self.threat.nodes)

    def _truth(self, partitions: Mapping[Cell, list[Cohort]], views: Mapping[Cell, Transcript]) -> Truth:
        controls, decoys = self.split.controls, self.split.decoys
        assert isinstance(controls, Cohort)
        assert isinstance(self.split.auxiliary, Cohort)
        _, classes = models.input_of(self.federation.model)
        truth = Truth(
            self.plans,
            self.threat,
            self.split.auxiliary,
            self.federation.seed,
            classes,
            columns=self.columns,
            defences=self.federation.defences,
        )
        if find(self.plans[0].attack).claim in ABOUT_RECORDS:
            pooled = {"true": self._pool(partitions["true"], "true")}
            if "positive" in partitions:
                pooled["positive"] = self._pool(partitions["positive"], "positive")
            return replace(truth, pooled=pooled)
        assert isinstance(decoys, Cohort)
        held: dict[str, dict[Key, Cohort]] = {
            "true": self._behind(self.federation, partitions["true"], views["true"]),
        }
        held["control"] = _others(held["true"], controls)
        if self.positive is not None:
            held["positive"] = self._behind(self.positive.federation, partitions["positive"], views["positive"])
            again = repeated.only_one(partitions["positive"])
            held["positive"] |= {key: again[key[1]] for key in repeated.under_defence(views["positive"])}
        crowd = decoys.take(np.arange(min(len(decoys), LARGEST_LINE_UP - 1)))
        return replace(truth, batches=held, decoys=crowd)

    def _behind(self, federation: Federation, partitions: list[Cohort], view: Transcript) -> dict[Key, Cohort]:
        """The records that each client used in each round in which it answered, drawn by the client's own rule.

        Behind a sum are the records of all clients, or those of the client that the attack targets.
        """
        protocol, turns = federation.protocol, federation.turns(len(partitions))
        behind: dict[Key, Cohort] = {}
        for round_ in range(1, protocol.rounds + 1):
            for client, people in enumerate(partitions):
                if client in self.threat.own or (self.threat.turns is not None and round_ not in self.threat.turns):
                    continue
                turn = Turn.ANSWERS if turns is None else turns[round_ - 1, client]
                if turn in TRAINED:
                    steps = list(batches(protocol, federation.seed, client, round_, len(people)))
                    steps = worked(turn, federation.seed, client, round_, steps)
                    behind[round_, client] = people.take(np.unique(np.concatenate(steps)))
        if self.once:
            behind = {key: people for key, people in behind.items() if key == max(k for k in behind if k[1] == key[1])}
        apart = len({e.client for e in view.exchanges}) > 1
        if apart or not (self.sum_only or federation.secured):
            return behind
        aimed = self.act_params.get("target")
        in_sum = range(len(partitions)) if aimed is None else (int(aimed),)
        return {
            (r, 0): _together([behind[r, c] for c in in_sum if (r, c) in behind]) for r in range(1, protocol.rounds + 1)
        }

    def _pool(self, partitions: list[Cohort], cell: str) -> Pooled:
        """Members, each with the client that holds it, and controls, each with a client that might have held it.

        An adversary that is a client asks about other clients' records, so its own records are left out. So are those
        of clients that never answered, which were not used.
        """
        own = self.threat.own
        controls = self.split.controls
        assert isinstance(controls, Cohort)
        federation = self.positive.federation if cell == "positive" and self.positive else self.federation
        turns = federation.turns(len(partitions))
        away = () if turns is None else np.flatnonzero(~np.isin(turns, TRAINED).any(0)).tolist()
        own = (*own, *away)
        if cell == "positive" and self.positive is not None:
            controls = self.positive.known(controls, keyed_rng(self.federation.seed, "classes of controls"))
        kept = [i for i in range(len(partitions)) if i not in own]
        partitions = [partitions[i] for i in kept]
        asked = self.control_party
        if asked is not None and own:
            others = np.flatnonzero(~np.isin(asked, own))
            controls, asked = controls.take(others), asked[others]
        people = [*partitions, controls]
        pooled = _together(people)
        used = np.arange(len(pooled)) < len(pooled) - len(controls)
        holder = np.repeat(kept, [len(p) for p in partitions])
        if asked is None:
            asked = as_members(holder, pooled.y[used], controls.y)
        suspected = np.concatenate([holder, asked])
        if self.sums:
            suspected = np.zeros_like(suspected)  # in a sum, client 0 stands for all clients
        order = keyed_rng(self.federation.seed, "pool", cell).permutation(len(pooled))
        return Pooled(pooled.take(order), used[order], suspected[order])


def _digest(engine: str, federation: Federation, partitions: list[Cohort], act: Act | None, name: str | None) -> str:
    """A digest of everything a transcript depends on: the recipe, every record, the act, and the code's version."""
    told = (metadata.version("leakage-testbed"), engine, repr(federation), name, act and act.model)
    parts = [repr(told).encode()]
    parts += [np.ascontiguousarray(a).tobytes() for p in partitions for a in (p.x, p.y)]
    parts += [np.ascontiguousarray(v).tobytes() for v in (act.remember.values() if act else ())]
    parts += [np.ascontiguousarray(v).tobytes() for v in (federation.start or {}).values()]
    return hashlib.sha256(b"|".join(parts)).hexdigest()[:32]


def _people_digest(*people: object) -> str:
    parts = [a.tobytes() for p in people if isinstance(p, Cohort) for a in (p.x, p.y)]
    return hashlib.sha256(b"|".join(parts)).hexdigest()


def _slices(people: Cohort, sizes: list[int]) -> list[Cohort]:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return [people.take(np.arange(a, b)) for a, b in pairwise(starts)]


def _alike(people: Cohort, parts: Sequence[Cohort], rng: np.random.Generator) -> list[Cohort]:
    """Other people for each client, with the same number of each class as far as possible, then filled up at random."""
    free: dict[int, list[int]] = {}
    for row in rng.permutation(len(people)).tolist():
        free.setdefault(int(people.y[row]), []).append(row)
    chosen: list[list[int]] = []
    for part in parts:
        wanted = Counter(part.y.tolist())
        chosen.append(
            [free[label].pop() for label, n in wanted.items() for _ in range(min(n, len(free.get(label, []))))]
        )
    left = rng.permutation([row for rows in free.values() for row in rows]).tolist()
    for mine, part in zip(chosen, parts, strict=True):
        mine += [left.pop() for _ in range(len(part) - len(mine))]
    return [people.take(np.array(mine, np.int64)) for mine in chosen]


def _together(people: Sequence[Cohort]) -> Cohort:
    return Cohort(*(np.concatenate([getattr(p, f) for p in people]) for f in ("x", "y", "persons")))


def _others(truth: Mapping[Key, Cohort], controls: Cohort) -> dict[Key, Cohort]:
    """For each exchange, as many control records as it has records. Each control is used once.

    Raises `InputError` if there are too few.
    """
    if len(controls) < sum(len(p) for p in truth.values()):
        raise InputError(
            "TB-SPLIT-014",
            "There are fewer control records than records sent.",
            "Each reconstruction is also compared with a person whose record was not used.",
            "Use fewer rounds or clients, or a larger data set.",
        )
    return dict(zip(truth, _slices(controls, [len(p) for p in truth.values()]), strict=True))
