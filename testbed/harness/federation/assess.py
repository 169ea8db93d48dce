"""Attacks on a recorded federation, and the judgement of their claims. A recording can be attacked many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack, find
from testbed.core import (
    Array,
    Batch,
    Cell,
    Cohort,
    Evidence,
    Group,
    Groups,
    Reconstruction,
    Records,
    Scores,
    Sources,
    Transcript,
    Unavailable,
    Values,
)
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding, Validity
from testbed.harness import cells
from testbed.harness.cells import Ask, Judged
from testbed.harness.federation import alarms, few_records, naive, repeated
from testbed.harness.federation.chosen import decide
from testbed.harness.federation.recorded import ABOUT_RECORDS, Key, Progress, Recorded, Truth
from testbed.harness.federation.series import by_parts, likeness_of_pictures, quality, shape_of
from testbed.harness.federation.similarities import Choice, choose
from testbed.judge import described
from testbed.judge.reconstructions import Similarities
from testbed.judge.similarity import Similarity, declared

SMALLEST_LINE_UP = 100
"""Look-alikes that a line-up needs."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """The findings, and by the plan's key their evidence and the reconstructions."""

    findings: list[Finding]
    evidence: dict[str, Evidence]
    claims: dict[str, Reconstruction]


def assess(recorded: Recorded, plans: tuple[Plan, ...] | None = None, progress: Progress = lambda _: None) -> Assessed:
    """The findings of every planned attack, judged in every recorded cell. A live run and a replay use it alike."""
    at_hand(plans or recorded.truth.plans)
    asked = _asker(recorded)
    judged: list[Judged] = []
    claims: dict[str, Reconstruction] = {}
    for plan in plans or recorded.truth.plans:
        progress(f"attack: {plan.attack}")
        if find(plan.attack).claim in ABOUT_RECORDS:
            judged.append(_about_records(recorded, plan))
            continue
        if find(plan.attack).claim in DESCRIBED:
            judged.append(_described(recorded, plan))
            continue
        rebuild = _by_part if plan.metric in ("exact_match", "token_recall") else _rebuilt
        try:
            rows, finding, claims[plan.key] = rebuild(recorded, plan, asked)
        except Unavailable as why:
            judged.append(cells.unmeasured(plan, why))
        else:
            judged.append(Judged(plan, finding, rows))
    return Assessed(cells.findings(judged), cells.evidence_by_key(judged), claims)


def best_of(assessed: Assessed, plans: Sequence[Plan], rule: str, seed: int) -> Assessed:
    """The same, with a new first finding on the best of these membership attacks. It decides, and the others inform."""
    decided = decide(plans, assessed.evidence, assessed.findings, rule, seed)
    if decided is None:
        return assessed
    evidence = {rule: decided.evidence, **assessed.evidence}
    return replace(assessed, findings=[decided.finding, *decided.others], evidence=evidence)


def _about_records(recorded: Recorded, plan: Plan) -> Judged:
    """The finding on who was used, or on which client holds a record. The second question names no client."""
    truth = recorded.truth
    pooled = {cell: truth.pooled.get(cell, truth.pooled["true"]) for cell in recorded.views}
    asks: dict[Cell, Ask] = {}
    for cell, view in recorded.views.items():
        question = pooled[cell].question()
        if find(plan.attack).claim is Sources:
            question = replace(question, suspected=None)
        silent = _of_nobody(view, plan, question)
        asks[cell] = Ask(view, question, truth.auxiliary, recorded.recipes.get(cell), silent=silent)

    def judged(cell: Cell, claim: Scores | Sources) -> Evidence:
        people = pooled[cell]
        if isinstance(claim, Sources):
            return judge.sources(claim, people.suspected, people.used, cell, people.people.persons)
        return judge.scores(claim, people.used, cell, people.people.persons)

    found = cells.run(plan, asks, judged, truth.seed, truth.threat)
    return replace(found, finding=naive.marked(found.finding, find(plan.attack), truth))


def _of_nobody(view: Transcript, plan: Plan, question: Records) -> Scores | Sources | None:
    """What an attacker says of these people if all clients refused: of everybody the same. None if no client did."""
    if not alarms.refused(view):
        return None
    nobody = np.zeros(len(question.people), np.int64)
    return Sources(nobody) if find(plan.attack).claim is Sources else Scores(nobody.astype(float))


DESCRIBED: dict[Any, Callable[..., Evidence]] = {Groups: described.groups, Values: described.values}
"""The judges of claims that describe a client's people without reconstructing anybody."""


def _described(recorded: Recorded, plan: Plan) -> Judged:
    """The finding on groups, or values, of a client's people. The control are as many others of the same client."""
    truth = recorded.truth
    question = _question(truth, truth.batches["true"])
    plain = replace(question, defences=None)  # the positive control has no defence
    asks: dict[Cell, Ask] = {
        cell: Ask(view, plain if cell == "positive" else question, truth.auxiliary)
        for cell, view in recorded.views.items()
    }
    claims = DESCRIBED[find(plan.attack).claim]

    def judged(cell: Cell, claim: Any) -> Evidence:
        used = claims(claim, truth.batches["true"], cell, "used")
        if cell == "positive":
            return used
        unused = claims(claim, truth.batches["control"], cell, "unused")
        if cell == "true" and "positive" not in recorded.views:  # the federation itself is known to leak
            again = replace(used, view=np.full(len(used), "positive"))
            return Evidence.join(used, unused, again)
        return Evidence.join(used, unused)

    found = cells.run(plan, asks, judged, truth.seed, naive.threat_of(plan, truth.threat))
    finding = found.finding.model_copy(update={"plain": _words(find(plan.attack), found.finding)})
    return replace(found, finding=finding if plan.unaware else naive.marked(finding, find(plan.attack), truth))


def _words(attack: Attack, finding: Finding) -> str:
    """A sentence on what was found of a client's people."""
    if not isinstance(finding.measure, Estimate):
        return finding.plain
    got, control = (findings_.percent(m) for m in (finding.measure, finding.control))
    others = "Of other patients of the same hospitals, as many, the same numbers are right for"
    match attack.claim is Groups, attack.traits.get("suits") == "statistics":
        case True, True:
            text = (
                f"For {got} of the steps of the hospitals' survival curves, the attacker states exactly how many "
                "patients died then, and how many were lost from sight before the next step"
            )
            beside = f"{others} {control}"
        case True, False:
            text = (
                f"For {got} of the leaves of the hospitals' first trees, the attacker states exactly how many patients "
                "have these values, and how many of those have the diagnosis"
            )
            beside = f"{others} {control}"
        case False, True:
            text = f"{got} of the quantiles that the hospitals report are values of some patient of that hospital"
            beside = f"Some other patient of the same hospital, who is not counted, has {control} of them"
        case _:
            text = (
                f"{got} of the thresholds at which the hospitals' trees split are values of some patient of that "
                "hospital"
            )
            beside = f"Some other patient of the same hospital, whom nobody trained on, has {control} of them"
    return f"{text}. {beside}."


Asker = Callable[[Plan, Cell], Reconstruction]


def _asker(recorded: Recorded) -> Asker:
    """A function from a plan and a cell to the attack's claim. Two plans with the same attack share one run."""
    truth = recorded.truth
    claims: dict[tuple[str, str, Cell], Reconstruction] = {}

    def asked(plan: Plan, cell: Cell) -> Reconstruction:
        key = plan.attack, repr((plan.unaware, sorted(plan.params.items()))), cell
        if key not in claims:
            question = _question(truth, truth.batches["positive" if cell == "positive" else "true"])
            view, params = recorded.views[cell], dict(plan.params)
            threat = naive.threat_of(plan, truth.threat)
            silent = Reconstruction({}) if alarms.refused(view) else None
            asks = Ask(view, question, truth.auxiliary, params=params, silent=silent)
            claims[key] = asks.claim(plan, truth.seed, threat)
        return claims[key]

    return asked


def _rebuilt(recorded: Recorded, plan: Plan, asked: Asker) -> tuple[Evidence, Finding, Reconstruction]:
    truth = recorded.truth
    assert truth.decoys is not None
    if len(truth.decoys) + 1 < SMALLEST_LINE_UP:
        raise Unavailable("line_up_too_small", f"{SMALLEST_LINE_UP} look-alikes; there are {len(truth.decoys) + 1}")
    rebuilt: dict[Cell, Reconstruction] = {cell: asked(plan, cell) for cell in recorded.views}
    recorded, claims = _in_unit_range(recorded, rebuilt)
    truth = recorded.truth
    assert truth.decoys is not None
    line_up = judge.LineUp(truth.decoys)

    def judged(cell: Cell, people: Mapping[Key, Cohort], group: Group, by: Similarities) -> Evidence:
        rows = judge.reconstruction(claims[cell], people, line_up, cell, group, by)
        rows = rows.best_of_clusters() if plan.metric == "rate" else rows
        return alarms.counted(rows, claims[cell], people, recorded.views[cell])

    held, control = truth.batches["true"], truth.batches["control"]
    choice = choose(lambda *who: judged("true", *who), held, control, declared(shape_of(held)), truth.seed)
    parts: list[Evidence] = []
    for cell in recorded.views:
        if cell != "positive":
            parts.append(judged(cell, held, "used", choice.of(held)))
            parts.append(judged(cell, control, "unused", choice.of(control)))
    known, told, succeeds = _positive(recorded, lambda who: judged("positive", who, "used", choice.of(who)), parts[1])
    if plan.metric == "line_up_top1":
        told = few_records.words(parts[0], parts[1], held, claims["true"], line_up.size) + told
    if known is not None:
        parts.append(known)
    elif "positive" not in truth.batches:  # the federation itself is known to leak
        parts.append(replace(parts[0], view=np.full(len(parts[0]), "positive")))
    evidence = Evidence.join(*parts)
    aimed = replace(plan, target=f"line-up of {line_up.size}" + (f", {plan.target}" if plan.target else ""))
    finding = _told(findings_.rates(aimed, evidence, design=choice.design), choice, told)
    finding = finding if plan.unaware else naive.marked(finding, find(plan.attack), truth, succeeds)
    series = [quality(evidence), choice.series]
    if len(truth.decoys.x.shape) == 4:
        series += likeness_of_pictures(claims["true"], truth.batches["true"], truth.batches["control"], plan.perceptual)
    return evidence, finding.model_copy(update={"series": series}), rebuilt["true"]


def _in_unit_range(
    recorded: Recorded, claims: Mapping[Cell, Reconstruction]
) -> tuple[Recorded, Mapping[Cell, Reconstruction]]:
    """Records and claims with the range of their values mapped to [0, 1], in which pictures are compared."""
    low, high = recorded.truth.within
    if (low, high) == (0.0, 1.0):
        return recorded, claims

    def mapped(x: Array) -> Array:
        return ((x - low) / (high - low)).astype(np.float32)

    def people(cohort: Cohort) -> Cohort:
        return Cohort(mapped(cohort.x), cohort.y, cohort.persons)

    truth = recorded.truth
    batches = {name: {key: people(c) for key, c in held.items()} for name, held in truth.batches.items()}
    decoys = None if truth.decoys is None else people(truth.decoys)
    within: dict[Cell, Reconstruction] = {
        cell: Reconstruction({k: mapped(b) for k, b in c.batches.items()}) for cell, c in claims.items()
    }
    return replace(recorded, truth=replace(truth, batches=batches, decoys=decoys)), within


def _positive(
    recorded: Recorded, judged: Callable[[Mapping[Key, Cohort]], Evidence], control: Evidence
) -> tuple[Evidence | None, str, bool | None]:
    """The positive control's evidence and a sentence on it. Under the same defence, if the attack succeeds there.

    The third says whether it succeeds there, and None if that was not tried.
    """
    if "positive" not in recorded.views:
        return None, "", None
    known = recorded.truth.batches["positive"]
    again = repeated.under_defence(recorded.views["positive"])
    plain = judged({key: p for key, p in known.items() if key not in again})
    if not again:
        return plain, "", None
    return repeated.decided({True: judged({key: known[key] for key in again}), False: plain}, control)


def _told(finding: Finding, choice: Choice, positive: str) -> Finding:
    """The finding with a sentence on the similarity used, and a flag if there were too few batches to choose it."""
    flags = [*finding.validity.flags, *(["similarity_not_chosen"] if choice.unchosen else [])]
    return finding.model_copy(
        update={
            "plain": finding.plain + choice.words + positive,
            "validity": Validity(ok=not flags, flags=sorted(flags)),
        }
    )


def _by_part(recorded: Recorded, plan: Plan, asked: Asker) -> tuple[Evidence, Finding, Reconstruction]:
    """The finding on single cells, or words, of records. The blind guess is the commonest value for everybody."""
    truth = recorded.truth
    held, control = truth.batches["true"], truth.batches["control"]

    def judged(claim: Reconstruction, people: Mapping[Key, Cohort], view: Cell, group: Group) -> tuple[Evidence, Array]:
        if choice is None:
            rows, by_column = judge.tokens(claim, people, view, group)
        else:
            rows, by_column = judge.cells(claim, people, widths, view, group, choice.of(people), crowd)
        seen = recorded.views.get(view, recorded.views["true"])
        return rows if view == "blind" else alarms.counted(rows, claim, people, seen), by_column

    def matched(people: Mapping[Key, Cohort], group: Group, by: Similarity) -> Evidence:
        return judge.cells(claim, people, widths, "true", group, dict.fromkeys(people, by), crowd)[0]

    claim = asked(plan, "true")
    widths, crowd = [width for _, width in truth.columns], truth.auxiliary.x
    choice: Choice | None = None
    if plan.metric != "token_recall":
        choice = choose(matched, held, control, declared(shape_of(held)), truth.seed)
    usual = _usual(truth, plan)
    blind = Reconstruction({key: np.repeat(usual[None], len(p), 0) for key, p in held.items()})
    used, by_part = judged(claim, held, "true", "used")
    guessed, by_guess = judged(blind, held, "blind", "used")
    parts = [used, guessed, judged(claim, control, "true", "unused")[0]]
    leaked = asked(plan, "positive") if "positive" in recorded.views else claim
    known, told, succeeds = _positive(recorded, lambda people: judged(leaked, people, "positive", "used")[0], parts[2])
    parts.append(known or judged(claim, held, "positive", "used")[0])
    evidence = Evidence.join(*parts)
    names = [name for name, _ in truth.columns] or [f"word {i + 1}" for i in range(len(by_part))]
    finding = findings_.rates(plan, evidence, design=choice.design if choice else 1.0)
    update = {"series": [by_parts(names, by_part, by_guess)], "plain": finding.plain + told}
    finding = finding.model_copy(update=update)
    return evidence, finding if plan.unaware else naive.marked(finding, find(plan.attack), truth, succeeds), claim


def _usual(truth: Truth, plan: Plan) -> Array:
    """One record with the commonest value of each column, or word at each place, among auxiliary people."""
    if plan.metric != "token_recall":
        return marginal_guess(truth.auxiliary, [width for _, width in truth.columns])
    words = truth.auxiliary.x.astype(int)
    return np.array([np.bincount(w[w > 0], minlength=1).argmax() for w in words.T])


def marginal_guess(people: Cohort, blocks: Sequence[int]) -> Array:
    """One record (features,) with each column's median or commonest category."""
    made: list[Array] = []
    start = 0
    for width in blocks:
        part = people.x[:, start : start + width].astype(np.float64)
        start += width
        made.append(np.median(part, 0) if width == 1 else np.eye(width)[int(part.sum(0).argmax())])
    return np.concatenate(made)


def _question(truth: Truth, held: Mapping[Key, Cohort]) -> Batch:
    """The question which exchanges to reconstruct. It has sizes and labels only if the threat grants them; no rows."""
    knows = truth.threat.knows
    return Batch(
        tuple(held),
        shape_of(held),
        truth.classes,
        tuple(len(p) for p in held.values()) if "batch_size" in knows else None,
        tuple(np.sort(p.y) for p in held.values()) if "labels" in knows else None,
        low=truth.within[0],
        high=truth.within[1],
        blocks=tuple(w for _, w in truth.columns) if truth.columns and "known_columns" in knows else None,
        defences=truth.defences,
    )


def at_hand(plans: Sequence[Plan]) -> None:
    """Fetches the weights that judging these plans needs. Raises `InputError` if they are not available."""
    if any(plan.perceptual for plan in plans):
        from testbed.data.datasets import weights

        weights.fetch()
