"""Attribute inference: every secret by the nearest row, the worst ones by a trained model, and half of the columns at
once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack, find, fitting
from testbed.attacks.release import linear_reconstruction
from testbed.core import Array, Cell, Column, Evidence, Gaps, Guesses, Release, Table, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan, numbered
from testbed.findings.schema import Estimate, Finding, Series
from testbed.harness.cells import Ask, Judged, attempt, planned, unmeasured
from testbed.harness.cells import evidence as evidence_of
from testbed.harness.release.setting import RECIPIENT, Setting, Targets, shorten

BLIND = "marginal_guess"
"""The attack in the blind cell: it predicts the commonest value, or the median."""
SECRETS, BLOCK = 100, 300
"""Added to the number of the attack's own rule: for the finding on a secret (plus its place in the list), and for the
finding on a block of columns."""
LISTED = 100
"""Most findings on single secrets. A table with more secrets lists the most exposed ones."""
CROSSED = 1.36
"""Design effect of cross-fitting. If both halves pick the same secret, their results are correlated: for k secrets by
E[max]^2 / (k - 1), at most 0.36, at three or four secrets. So n guesses count as n / 1.36."""
MODELLED = 6
"""Secrets that a model is trained for, if the user names none: those that the nearest row reveals most."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """All findings, the deciding one first, and the evidence of the deciding attack for each secret."""

    judged: list[Judged]
    by_secret: Mapping[str, Evidence]


def attribute_inference(setting: Setting, secrets: Sequence[str]) -> Inferred:
    """The primary finding, on the most exposed secret, and one finding for each secret.

    Each half of the people chooses the most exposed secret, and the other half is judged on it. So nobody is judged
    on a secret that their own half chose, and everybody is judged once.
    """
    if not (attacks := setting.attacks(Guesses)):
        return Inferred([], {})
    attack, *others = attacks
    columns = {c.name: c for c in setting.members.columns}
    names = list(dict.fromkeys(secrets)) or list(columns)
    primary = planned(attack.name, primary=setting.attack is None)
    if len(columns) < 2:
        return Inferred([unmeasured(primary, Unavailable("one_column", "a second column from which to guess"))], {})
    if setting.attack is not None:
        return Inferred(_alone(setting, attack, [columns[n] for n in names]), {})
    setting.progress(f"attribute inference of {len(names)} secrets")
    asked = tuple(columns[n] for n in names)
    evidence = _each(setting, attack, asked)
    first = setting.targets.half(keyed_rng(setting.seed, "halves of people"))
    chosen = [
        (max(names, key=lambda n: _sure_excess(setting.targets.of(evidence[n], half))), half)
        for half in (first, ~first)
    ]
    decided = Evidence.join(*(setting.targets.of(evidence[name], ~half) for name, half in chosen))
    everybody = len(decided.cell("true", "used"))
    decided = replace(decided, requested=everybody, performed=everybody)
    worst = " or ".join(dict.fromkeys(name for name, _ in chosen))
    ranked = sorted(names, key=lambda n: -_sure_excess(setting.targets.of(evidence[n], first)))
    listed = names if len(names) <= LISTED else ranked[:LISTED]
    single = [_finding(attack, name, evidence[name], SECRETS + i) for i, name in enumerate(listed, 1)]
    judged = _measured(replace(primary, target=worst), decided, CROSSED if len(names) > 1 else 1.0)
    plain = judged.finding.plain
    if len(listed) < len(names):
        plain += f" The table has {len(names)} secrets. The {LISTED} most exposed ones are listed."
    update = {"series": [_secrets_chart([s.finding for s in single])], "plain": plain}
    results = [replace(judged, finding=judged.finding.model_copy(update=update)), *single]
    # Secrets that were chosen on the first half of the people are asked about the other half alone.
    modelled, people = (names[:LISTED], None) if secrets else (ranked[:MODELLED], ~first)
    for other in others:
        if other.traits.get("asks") == "everybody":
            results += _reconstructed(setting, other, asked)
        else:
            results += _modelled(setting, other, [columns[n] for n in modelled], people)
    return Inferred([*results, *_block(setting, attack)], evidence)


def _alone(setting: Setting, attack: Attack, secrets: list[Column]) -> list[Judged]:
    """One finding for each secret, on everybody: nothing chooses among them, so nobody need be kept for judging."""
    if attack.traits.get("asks") == "everybody":
        return _reconstructed(setting, attack, tuple(secrets))
    nearest_row = next(a for a in fitting("release", RECIPIENT.knows) if a.claim is Guesses)
    return _modelled(setting, attack, secrets[:LISTED], None, SECRETS + 1 if attack == nearest_row else 2 * SECRETS)


def _each(setting: Setting, attack: Attack, secrets: tuple[Column, ...]) -> dict[str, Evidence]:
    """The evidence for each secret, in all cells. One question asks about all secrets."""
    blind = find(BLIND)
    leaked = setting.targets.members()
    claims: list[tuple[Cell, Targets, Guesses]] = [
        ("true", setting.targets, _ask(setting, attack, setting.release, setting.targets, secrets)),
        ("blind", setting.targets, _ask(setting, blind, setting.release, setting.targets, secrets)),
        ("positive", leaked, _ask(setting, attack, setting.leak, leaked, secrets)),
    ]
    return {
        s.name: Evidence.join(*(_judged(claim, (s,), targets, view) for view, targets, claim in claims))
        for s in secrets
    }


def _ask(setting: Setting, attack: Attack, release: Release, targets: Targets, secrets: tuple[Column, ...]) -> Guesses:
    known = targets.table
    if len(secrets) == 1:
        known = Gaps(known, secrets).without(secrets[0])
    return attack.run(release, Gaps(known, secrets), None, setting.seed, RECIPIENT)


def _judged(claim: Guesses, secrets: Sequence[Column], targets: Targets, view: Cell) -> Evidence:
    return judge.guesses(claim, secrets, targets.table, targets.used, view, targets.table.persons)


def _finding(attack: Attack, target: str, evidence: Evidence, place: int) -> Judged:
    plan = planned(attack.name, target=target)
    return _measured(replace(plan, rule=numbered(plan.rule, place)), evidence)


def _measured(plan: Plan, evidence: Evidence, design: float = 1.0) -> Judged:
    if not len(evidence.cell("true", "used")):
        why = Unavailable("too_few_targets", "more people: some to choose the most exposed secret, others to judge it")
        return replace(unmeasured(plan, why), evidence=evidence)
    return Judged(plan, findings_.rates(plan, evidence, design=design), evidence)


def _sure_excess(evidence: Evidence) -> float:
    """Lower bound of the excess. Ranked by it, a secret with a noisy estimate is not taken for the most exposed."""
    rates = [
        statistics.proportion(cell.success, cell.cluster)
        for g in ("used", "unused")
        if len(cell := evidence.cell("true", g))
    ]
    if len(rates) == 2:
        return statistics.excess(rates[0], rates[1]).low
    return rates[0].low if rates else -1.0


def _modelled(
    setting: Setting, attack: Attack, secrets: list[Column], people: Array | None, place: int = 2 * SECRETS
) -> list[Judged]:
    """Findings of a model trained on the release, one for each secret; `place` is added to the attack's own rule.

    Its rate for the control shows how much of a secret is general knowledge.
    """
    setting.progress(f"{attack.name.replace('_', ' ')}: {len(secrets)} secrets")
    evidence = _each(setting, attack, tuple(secrets))
    if people is not None:
        chosen = {name: setting.targets.of(rows, people) for name, rows in evidence.items()}
        evidence = {
            name: replace(e, requested=len(e.cell("true", "used")), performed=len(e.cell("true", "used")))
            for name, e in chosen.items()
        }
    return [_finding(attack, s.name, evidence[s.name], place + i) for i, s in enumerate(secrets)]


def _block(setting: Setting, attack: Attack) -> list[Judged]:
    """The finding on every second column, predicted from the others. A success is the share predicted correctly."""
    columns = setting.members.columns
    known, missing = columns[::2], columns[1::2]
    if len(missing) < 2:
        return []
    names = tuple(c.name for c in known)
    targets: dict[Cell, Targets] = dict.fromkeys(("true", "blind"), setting.targets)
    targets["positive"] = setting.targets.members()
    asked = {cell: Gaps(t.table.select(names), missing) for cell, t in targets.items()}
    plan = planned(attack.name, target=f"the block {shorten(tuple(c.name for c in missing))}")
    asks: dict[Cell, Ask] = {
        "true": Ask(setting.release, asked["true"]),
        "blind": Ask(setting.release, asked["blind"], attack=BLIND, params={}),
        "positive": Ask(setting.leak, asked["positive"]),
    }
    rows = evidence_of(
        plan, asks, lambda cell, claim: _judged(claim, missing, targets[cell], cell), setting.seed, RECIPIENT
    )
    return [_measured(replace(plan, rule=numbered(plan.rule, BLOCK)), rows)]


def _reconstructed(setting: Setting, attack: Attack, secrets: tuple[Column, ...]) -> list[Judged]:
    """The finding on the first secret with two values, reconstructed for everybody at once.

    The attack is run twice: once on the members, and once on the controls as if they were the original's people.
    """
    binary = [s for s in secrets if len(s.levels) == 2 or (s.kind == "numeric" and _binary(setting.members, s.name))]
    most = linear_reconstruction.MOST_PEOPLE
    if not binary or setting.controls is None or len(setting.members) > most or len(setting.members.columns) < 3:
        return []
    setting.progress(f"{attack.name.replace('_', ' ')}: {binary[0].name}")
    rng = keyed_rng(setting.seed, "reconstructed")
    size = min(len(setting.members), len(setting.controls))  # equal sizes: the attack is stronger on more people
    groups: list[tuple[Table, bool]] = [
        (table.take(np.sort(rng.permutation(len(table))[:size])), used)
        for table, used in ((setting.members, True), (setting.controls, False))
    ]
    cells: tuple[tuple[Cell, Attack, Release], ...] = (
        ("true", attack, setting.release),
        ("blind", find(BLIND), setting.release),
        ("positive", attack, setting.leak),
    )

    def work() -> Evidence:
        parts: list[Evidence] = []
        for view, asked, release in cells:
            for people, used in groups if view != "positive" else groups[:1]:
                targets = Targets(people, np.full(len(people), used))
                parts.append(_judged(_ask(setting, asked, release, targets, (binary[0],)), binary[:1], targets, view))
        everybody = len(setting.members)
        return replace(Evidence.join(*parts), requested=everybody, performed=everybody)

    return [attempt(planned(attack.name, target=binary[0].name), work)]


def _binary(table: Table, name: str) -> bool:
    (values,) = table.select((name,)).values
    return len(np.unique(values[~np.isnan(values)])) == 2


def _secrets_chart(findings: list[Finding]) -> Series:
    """Chart of the excess of each secret, the largest first."""
    measured = [(f.target or "", f.excess) for f in findings if isinstance(f.excess, Estimate)]
    measured = sorted(measured, key=lambda m: -m[1].value)[:60]
    return Series(
        name="Excess by secret",
        kind="bars",
        x_label="excess over people who were not in the data",
        y_label="secret",
        labels=[name for name, _ in measured],
        x=[e.value for _, e in measured],
        low=[e.low for _, e in measured],
        high=[e.high for _, e in measured],
    )
