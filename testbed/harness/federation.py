"""A federation under attack: recorded once in every cell, attacked as often as one likes, judged against the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from testbed import findings as findings_
from testbed import judge, models
from testbed.attacks.kit import Attack, find, keyed_rng
from testbed.core import (
    Act,
    Array,
    Batch,
    Cell,
    Cohort,
    Evidence,
    Group,
    Reconstruction,
    Records,
    Scores,
    Split,
    Threat,
    Transcript,
    Unavailable,
)
from testbed.errors import InputError
from testbed.federation import transcript
from testbed.federation.apps import batches
from testbed.federation.run import Federation, by_party
from testbed.federation.tap import seen_by
from testbed.findings import Plan
from testbed.report.schema import Finding, Series, Unmeasured

LARGEST_LINE_UP = 1000
SMALLEST_LINE_UP = 100
Key = tuple[int, int]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Members and controls in one random order: who was used (n,) bool, and the client asked about (n,) int."""

    people: Cohort
    used: Array
    suspected: Array


@dataclass(frozen=True, slots=True)
class Truth:
    """What the judge knows: whose records lay behind which exchange, or who of the pooled people was used.

    `batches` holds, by cell name ("true", "control", "positive"), the records of each exchange; `pooled` holds by
    cell the people asked about.
    """

    plans: tuple[Plan, ...]
    threat: Threat
    auxiliary: Cohort
    seed: int
    classes: int
    batches: Mapping[str, Mapping[Key, Cohort]] = field(default_factory=dict[str, Mapping[Key, Cohort]])
    decoys: Cohort | None = None
    pooled: Mapping[str, Pooled] = field(default_factory=dict[str, "Pooled"])
    columns: tuple[tuple[str, int], ...] = ()
    """Of tables, each column and the number of its features."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The views of one run by cell, and the truth behind them."""

    views: Mapping[Cell, Transcript]
    truth: Truth


@dataclass(frozen=True, slots=True)
class Assessed:
    findings: list[Finding]
    evidence: dict[str, Evidence]
    claims: dict[str, Reconstruction]


@dataclass(frozen=True, slots=True)
class Trial:
    """A federation, the people in it, who attacks it and how; what a federated scenario returns.

    `positive` is a federation known to leak, with as many of the members and clients as given; None means that the
    trial's own view is one (an undefended batch of one). `control_party` gives the natural site of each control.
    """

    split: Split
    federation: Federation
    threat: Threat
    plans: tuple[Plan, ...]
    positive: Federation | None = None
    positive_members: int | None = None
    positive_clients: int | None = None
    act_params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    control_party: Array | None = None
    columns: tuple[tuple[str, int], ...] = ()

    def record(self, engine: str, progress: Progress = lambda _: None, store: Path | None = None) -> Recorded:
        """Run the federation in every cell: on the members, on auxiliary records, and as the positive control.

        With a `store` each finished federation is kept there, and one that is there already is not run again.
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
            "blind": (self.federation, _slices(auxiliary, sizes)),
        }
        if self.positive is not None:
            share = 1.0 if self.positive_members is None else self.positive_members / sum(sizes)
            few = [p.take(np.arange(max(1, round(len(p) * share)))) for p in parts]
            runs["positive"] = (self.positive, few[: self.positive_clients])
        views: dict[Cell, Transcript] = {}
        for cell, (federation, partitions) in runs.items():
            progress(f"federation: {cell} view on {engine}")
            act = self._act(acting, federation) if acting else None
            name = acting.name if acting else None
            kept = store / f"{_digest(engine, federation, partitions, act, name)}.transcript" if store else None
            if kept and kept.is_file():
                views[cell] = seen_by(transcript.read(kept), self.threat)
                continue
            seen = federation.run(partitions, engine, act, name)
            if kept:
                transcript.write(kept, seen)
            views[cell] = seen_by(seen, self.threat)
        return Recorded(views, self._truth({cell: parts for cell, (_, parts) in runs.items()}))

    def _act(self, attack: Attack, federation: Federation) -> Act:
        attack.permit(self.threat)
        shape, classes = models.input_of(federation.model)
        question = Batch((), shape, classes)
        rng = keyed_rng(federation.seed, attack.name, "act")
        assert attack.act is not None
        return attack.act(question, self.split.auxiliary, rng, federation.model, **self.act_params)

    def _truth(self, partitions: Mapping[Cell, list[Cohort]]) -> Truth:
        controls, decoys = self.split.controls, self.split.decoys
        assert isinstance(controls, Cohort)
        assert isinstance(self.split.auxiliary, Cohort)
        _, classes = models.input_of(self.federation.model)
        truth = Truth(
            self.plans, self.threat, self.split.auxiliary, self.federation.seed, classes, columns=self.columns
        )
        if find(self.plans[0].attack).claim is Scores:
            pooled = {"true": self._pool(partitions["true"], controls, "true")}
            if "positive" in partitions:
                pooled["positive"] = self._pool(partitions["positive"], controls, "positive")
            return replace(truth, pooled=pooled)
        assert isinstance(decoys, Cohort)
        held: dict[str, dict[Key, Cohort]] = {
            "true": self._behind(self.federation, partitions["true"]),
        }
        held["control"] = _others(held["true"], controls)
        if self.positive is not None:
            held["positive"] = self._behind(self.positive, partitions["positive"])
        crowd = decoys.take(np.arange(min(len(decoys), LARGEST_LINE_UP - 1)))
        return replace(truth, batches=held, decoys=crowd)

    def _behind(self, federation: Federation, partitions: list[Cohort]) -> dict[Key, Cohort]:
        """The records that each client used in each round, by the client's own rule."""
        protocol = federation.protocol
        behind: dict[Key, Cohort] = {}
        for round_ in range(1, protocol.rounds + 1):
            for client, people in enumerate(partitions):
                if self.threat.position == "client" and client in self.threat.nodes:
                    continue
                used = np.unique(np.concatenate(list(batches(protocol, federation.seed, client, round_, len(people)))))
                behind[round_, client] = people.take(used)
        return behind

    def _pool(self, partitions: list[Cohort], controls: Cohort, cell: str) -> Pooled:
        """Members, each with the client that holds it; controls, each with a client who might have.

        A client asks about others' records: its own are left out.
        """
        own = self.threat.nodes if self.threat.position == "client" else ()
        kept = [i for i in range(len(partitions)) if i not in own]
        partitions = [partitions[i] for i in kept]
        people = [*partitions, controls]
        pooled = Cohort(*(np.concatenate([getattr(p, f) for p in people]) for f in ("x", "y", "persons")))
        used = np.arange(len(pooled)) < len(pooled) - len(controls)
        holder = np.repeat(kept, [len(p) for p in partitions])
        asked = self.control_party
        if asked is None:
            # As many controls are asked about a client as it has members, up to rounding.
            asked = holder[np.linspace(0, len(holder) - 1, len(controls)).round().astype(int)]
        order = keyed_rng(self.federation.seed, "pool", cell).permutation(len(pooled))
        return Pooled(pooled.take(order), used[order], np.concatenate([holder, asked])[order])


def _digest(engine: str, federation: Federation, partitions: list[Cohort], act: Act | None, name: str | None) -> str:
    """What a federation's transcript depends on: the recipe, every record, who acts, and the code's version."""
    told = (metadata.version("leakage-testbed"), engine, repr(federation), name, act and act.model)
    parts = [repr(told).encode()]
    parts += [np.ascontiguousarray(a).tobytes() for p in partitions for a in (p.x, p.y)]
    parts += [np.ascontiguousarray(v).tobytes() for v in (act.remember.values() if act else ())]
    return hashlib.sha256(b"|".join(parts)).hexdigest()[:32]


def _slices(people: Cohort, sizes: list[int]) -> list[Cohort]:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return [people.take(np.arange(a, b)) for a, b in pairwise(starts)]


def _others(truth: Mapping[Key, Cohort], controls: Cohort) -> dict[Key, Cohort]:
    """For each exchange as many control records, each used once."""
    if len(controls) < sum(len(p) for p in truth.values()):
        raise InputError(
            "TB-SPLIT-009",
            "There are fewer control records than records sent.",
            "Each reconstruction is also compared with someone whose record was not used.",
            "Use fewer rounds or clients, or a larger data set.",
        )
    return dict(zip(truth, _slices(controls, [len(p) for p in truth.values()]), strict=True))


# --- attacking what was recorded ------------------------------------------------------------------------


def assess(recorded: Recorded, plans: tuple[Plan, ...] | None = None, progress: Progress = lambda _: None) -> Assessed:
    """Every planned attack in every recorded cell, judged. The same for a live run and a replay."""
    findings: list[Finding] = []
    evidence: dict[str, Evidence] = {}
    claims: dict[str, Reconstruction] = {}
    for plan in plans or recorded.truth.plans:
        attack = find(plan.attack)
        progress(f"attack: {plan.attack}")
        try:
            if attack.claim is Scores:
                rows = _scores(recorded, attack, plan)
                made = findings_.area_under_curve if plan.metric == "auc" else findings_.membership
                finding = made(plan, rows)
            else:
                rebuild = _tabulated if plan.metric == "exact_match" else _rebuilt
                rows, finding, claim = rebuild(recorded, attack, plan)
                claims[plan.rule] = claim
            evidence[plan.rule] = rows
        except Unavailable as why:
            finding = findings_.unmeasured(plan, Unmeasured(unmeasured=why.code, needs=why.needs))
        findings.append(finding)
    return Assessed(findings, evidence, claims)


def _scores(recorded: Recorded, attack: Attack, plan: Plan) -> Evidence:
    truth = recorded.truth
    parts: list[Evidence] = []
    for cell, view in recorded.views.items():
        pooled = truth.pooled.get(cell, truth.pooled["true"])
        question = Records(pooled.people, pooled.suspected)
        claim = attack.run(view, question, truth.auxiliary, truth.seed, truth.threat, dict(plan.params))
        parts.append(judge.scores(claim, pooled.used, cell, pooled.people.persons))
    return Evidence.join(*parts)


def _rebuilt(recorded: Recorded, attack: Attack, plan: Plan) -> tuple[Evidence, Finding, Reconstruction]:
    truth = recorded.truth
    assert truth.decoys is not None
    line_up = judge.LineUp(truth.decoys)
    if line_up.size < SMALLEST_LINE_UP:
        raise Unavailable("line_up_too_small", f"{SMALLEST_LINE_UP} look-alikes; there are {line_up.size}")
    claims: dict[Cell, Reconstruction] = {}
    parts: list[Evidence] = []
    for cell, view in recorded.views.items():
        held = truth.batches["positive" if cell == "positive" else "true"]
        claims[cell] = attack.run(
            view, _question(truth, held), truth.auxiliary, truth.seed, truth.threat, dict(plan.params)
        )
        groups: list[tuple[Group, Mapping[Key, Cohort]]] = [("used", held)]
        if cell != "positive":
            groups.append(("unused", truth.batches["control"]))
        parts += [judge.reconstruction(claims[cell], people, line_up, cell, group) for group, people in groups]
    if "positive" not in recorded.views:
        parts.append(judge.reconstruction(claims["true"], truth.batches["true"], line_up, "positive", "used"))
    evidence = Evidence.join(*parts)
    aimed = replace(plan, target=f"line-up of {line_up.size}" + (f", {plan.target}" if plan.target else ""))
    finding = findings_.rates(aimed, evidence)
    return evidence, finding.model_copy(update={"series": [_quality(evidence)]}), claims["true"]


MOST_COLUMNS = 16


def _tabulated(recorded: Recorded, attack: Attack, plan: Plan) -> tuple[Evidence, Finding, Reconstruction]:
    """Which cells of which records came back, beside the same guess for everybody: each column's commonest value."""
    truth = recorded.truth
    blocks = [width for _, width in truth.columns]
    held, control = truth.batches["true"], truth.batches["control"]

    def claimed(cell: Cell, people: Mapping[Key, Cohort]) -> Reconstruction:
        question = _question(truth, people)
        return attack.run(recorded.views[cell], question, truth.auxiliary, truth.seed, truth.threat, dict(plan.params))

    claim = claimed("true", held)
    usual = marginal_guess(truth.auxiliary, blocks)
    blind = Reconstruction({key: np.repeat(usual[None], len(p), 0) for key, p in held.items()})
    used, by_column = judge.cells(claim, held, blocks, "true", "used")
    guessed, by_guess = judge.cells(blind, held, blocks, "blind", "used")
    parts = [used, guessed, judge.cells(claim, control, blocks, "true", "unused")[0]]
    if "positive" in recorded.views:
        known = truth.batches["positive"]
        parts.append(judge.cells(claimed("positive", known), known, blocks, "positive", "used")[0])
    else:
        parts.append(judge.cells(claim, held, blocks, "positive", "used")[0])
    evidence = Evidence.join(*parts)
    finding = findings_.rates(plan, evidence)
    return evidence, finding.model_copy(update={"series": [_columns(truth, by_column, by_guess)]}), claim


def marginal_guess(people: Cohort, blocks: Sequence[int]) -> Array:
    """One record (features,) of each column's median or commonest category."""
    made: list[Array] = []
    start = 0
    for width in blocks:
        part = people.x[:, start : start + width].astype(np.float64)
        start += width
        made.append(np.median(part, 0) if width == 1 else np.eye(width)[int(part.sum(0).argmax())])
    return np.concatenate(made)


def _columns(truth: Truth, attacked: Array, guessed: Array) -> Series:
    """The columns of which the attack adds most, so many as a chart can show."""
    labels: list[str] = []
    values: list[float] = []
    best = np.sort(np.argsort(guessed - attacked, kind="stable")[:MOST_COLUMNS])
    for (name, _), one, other in zip((truth.columns[i] for i in best), attacked[best], guessed[best], strict=True):
        labels += [f"{name}, attack", f"{name}, same guess for all"]
        values += [float(one), float(other)]
    return Series(
        name="Cells that came back, by column",
        kind="bars",
        x_label="share of cells",
        y_label="columns",
        labels=labels,
        x=values,
        low=values,
        high=values,
    )


def _question(truth: Truth, held: Mapping[Key, Cohort]) -> Batch:
    """Which exchanges to rebuild. Sizes and labels are in it only where the threat grants them; rows never are."""
    shape = next(iter(held.values())).x.shape[1:]
    knows = truth.threat.knows
    return Batch(
        tuple(held),
        tuple(int(s) for s in shape),
        truth.classes,
        tuple(len(p) for p in held.values()) if "batch_size" in knows else None,
        tuple(np.sort(p.y) for p in held.values()) if "labels" in knows else None,
        blocks=tuple(w for _, w in truth.columns) if truth.columns and "known_columns" in knows else None,
    )


def _quality(evidence: Evidence) -> Series:
    """PSNR by decile, for people's own reconstructions and for those of people who were not in it."""
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    cells = {"sent": evidence.cell("true", "used"), "never sent": evidence.cell("true", "unused")}
    labels = [f"{name}, {round(100 * q)} % below" for name in cells for q in levels]
    values = [float(np.quantile(cell.score, q)) for cell in cells.values() for q in levels]
    return Series(
        name="PSNR of reconstructions",
        kind="bars",
        x_label="PSNR in dB (capped at 160)",
        y_label="records",
        labels=labels,
        x=values,
        low=values,
        high=values,
    )
