"""Attribute inference: every secret by the nearest row, the worst ones by a trained model, and a block at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack, find
from testbed.attacks.release import linear_reconstruction
from testbed.core import Array, Cell, Column, Evidence, Gaps, Guesses, Release, Table, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding, Series, Unmeasured
from testbed.harness.release.setting import RECIPIENT, Setting, Targets, shorten

RISK, PRIMARY = "attribute_inference", "TB-ATTRIBUTE_INFERENCE-001"
LISTED = 100
"""Findings on secrets; of a wider table's, those of which most is told."""
CROSSED = 1.36
"""Two halves that choose for each other hang together where they choose alike: for k secrets by E[max]^2 / (k - 1),
at most .36 (at three or four secrets), so guesses are worth that much less."""
MODELLED = 6
"""Secrets that a model is trained for where none are named: the ones that the nearest row reveals most of."""


def attribute_inference(setting: Setting, secrets: Sequence[str]) -> list[Finding]:
    """One finding per secret; the primary one is the worst, chosen on half the people and decided on the rest.

    Both ways round: what each half chooses is decided on the other, so that everybody is judged once.
    """
    attack = find("attribute_inference")
    columns = {c.name: c for c in setting.members.columns}
    names = list(dict.fromkeys(secrets)) or list(columns)
    if len(columns) < 2:
        why = Unmeasured(unmeasured="one_column", needs="a second column from which to guess")
        return [
            findings_.unmeasured(
                Plan(rule=PRIMARY, risk=RISK, attack=attack.name, metric="rate", unit="record", primary=True), why
            )
        ]
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
    found = [_finding(setting, attack, worst, decided, 1, True, CROSSED if len(names) > 1 else 1.0)]
    setting.by_secret = evidence
    ranked = sorted(names, key=lambda n: -_sure_excess(setting.targets.of(evidence[n], first)))
    listed = names if len(names) <= LISTED else ranked[:LISTED]
    found += [_finding(setting, attack, name, evidence[name], number) for number, name in enumerate(listed, 2)]
    found[0] = found[0].model_copy(update={"series": [_secrets_chart(found[1:])]})
    if len(listed) < len(names):
        plain = f"{found[0].plain} Of {len(names)} secrets, the {LISTED} of which most is told are listed."
        found[0] = found[0].model_copy(update={"plain": plain})
    # What was chosen on the first half of the people is asked of the other half alone.
    modelled, people = (names[:LISTED], None) if secrets else (ranked[:MODELLED], ~first)
    found += _modelled(setting, [columns[n] for n in modelled], len(found) + 1, people)
    found += _block(setting, len(found) + 1)
    return [*found, *_reconstructed(setting, asked, len(found) + 1)]


def _each(setting: Setting, attack: Attack, secrets: tuple[Column, ...]) -> dict[str, Evidence]:
    """Evidence by secret, all cells; every secret is asked about in one question."""
    blind = find("marginal_guess")
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


def _finding(
    setting: Setting,
    attack: Attack,
    target: str,
    evidence: Evidence,
    number: int,
    primary: bool = False,
    design: float = 1.0,
) -> Finding:
    rule = f"TB-ATTRIBUTE_INFERENCE-{number:03d}"
    plan = Plan(
        rule=rule,
        risk=RISK,
        attack=attack.name,
        metric="rate",
        unit="record",
        primary=primary,
        params=attack.defaults,
        target=target,
    )
    setting.evidence[plan.rule] = evidence
    if not len(evidence.cell("true", "used")):
        why = Unmeasured(unmeasured="too_few_targets", needs="people to choose the worst secret on, and others")
        return findings_.unmeasured(plan, why)
    return findings_.rates(plan, evidence, design=design)


def _sure_excess(evidence: Evidence) -> float:
    """The lower bound of the excess, so that among many secrets a noisy one does not pass for the worst."""
    rates = [
        statistics.proportion(cell.success, cell.cluster)
        for g in ("used", "unused")
        if len(cell := evidence.cell("true", g))
    ]
    if len(rates) == 2:
        return statistics.excess(rates[0], rates[1]).low
    return rates[0].low if rates else -1.0


def _modelled(setting: Setting, secrets: list[Column], number: int, people: Array | None) -> list[Finding]:
    """Trees trained on the release; they also tell how much of a secret is general knowledge (the control)."""
    attack = find("trained_inference")
    setting.progress(f"attribute inference by a model: {len(secrets)} secrets")
    evidence = _each(setting, attack, tuple(secrets))
    if people is not None:
        chosen = {name: setting.targets.of(rows, people) for name, rows in evidence.items()}
        evidence = {
            name: replace(e, requested=len(e.cell("true", "used")), performed=len(e.cell("true", "used")))
            for name, e in chosen.items()
        }
    return [_finding(setting, attack, s.name, evidence[s.name], number + i) for i, s in enumerate(secrets)]


def _block(setting: Setting, number: int) -> list[Finding]:
    """Half of the columns guessed from the other half; success is the share of them that is right."""
    columns = setting.members.columns
    known, missing = columns[::2], columns[1::2]
    if len(missing) < 2:
        return []
    attack = find("attribute_inference")
    names = tuple(c.name for c in known)
    leaked = setting.targets.members()
    cells: tuple[tuple[Cell, Attack, Release, Targets], ...] = (
        ("true", attack, setting.release, setting.targets),
        ("blind", find("marginal_guess"), setting.release, setting.targets),
        ("positive", attack, setting.leak, leaked),
    )
    parts: list[Evidence] = []
    for view, asked, release, targets in cells:
        claim = asked.run(release, Gaps(targets.table.select(names), missing), None, setting.seed, RECIPIENT)
        parts.append(_judged(claim, missing, targets, view))
    target = f"the block {shorten(tuple(c.name for c in missing))}"
    return [_finding(setting, attack, target, Evidence.join(*parts), number)]


def _reconstructed(setting: Setting, secrets: tuple[Column, ...], number: int) -> list[Finding]:
    """The first binary secret, of everybody at once; members and controls each stand as the original's people."""
    binary = [s for s in secrets if len(s.levels) == 2 or (s.kind == "numeric" and _binary(setting.members, s.name))]
    most = linear_reconstruction.MOST_PEOPLE
    if not binary or setting.controls is None or len(setting.members) > most or len(setting.members.columns) < 3:
        return []
    attack, blind = find("linear_reconstruction"), find("marginal_guess")
    setting.progress(f"linear reconstruction: {binary[0].name}")
    rng = keyed_rng(setting.seed, "reconstructed")
    size = min(len(setting.members), len(setting.controls))  # of one size, on which the programme's strength depends
    groups: list[tuple[Table, bool]] = [
        (table.take(np.sort(rng.permutation(len(table))[:size])), used)
        for table, used in ((setting.members, True), (setting.controls, False))
    ]
    parts: list[Evidence] = []
    cells: tuple[tuple[Cell, Attack, Release], ...] = (
        ("true", attack, setting.release),
        ("blind", blind, setting.release),
        ("positive", attack, setting.leak),
    )
    try:
        for view, asked, release in cells:
            for people, used in groups if view != "positive" else groups[:1]:
                targets = Targets(people, np.full(len(people), used))
                parts.append(_judged(_ask(setting, asked, release, targets, (binary[0],)), binary[:1], targets, view))
    except Unavailable as reason:
        rule = f"TB-ATTRIBUTE_INFERENCE-{number:03d}"
        plan = Plan(
            rule=rule,
            risk=RISK,
            attack=attack.name,
            metric="rate",
            unit="record",
            primary=False,
            params=attack.defaults,
            target=binary[0].name,
        )
        return [findings_.unmeasured(plan, Unmeasured(unmeasured=reason.code, needs=reason.needs))]
    everybody = len(setting.members)
    evidence = replace(Evidence.join(*parts), requested=everybody, performed=everybody)
    return [_finding(setting, attack, binary[0].name, evidence, number)]


def _binary(table: Table, name: str) -> bool:
    (values,) = table.select((name,)).values
    return len(np.unique(values[~np.isnan(values)])) == 2


def _secrets_chart(findings: list[Finding]) -> Series:
    """Excess by secret, the largest first."""
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
