"""Singling out and linkability: a release's attacks in their cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from testbed import findings as findings_
from testbed import judge, stats
from testbed.attacks.kit import Attack, find, keyed_rng
from testbed.core import Cell, Evidence, Fields, Halves, Predicates, Release
from testbed.findings import Plan
from testbed.harness.near_copies import CONTAMINATED
from testbed.harness.targets import RECIPIENT, Setting, Targets, shorten
from testbed.matching import Index
from testbed.report.schema import Finding, Unmeasured
from testbed.stats import Interval

# --- singling out ---------------------------------------------------------------------------------------

ASKED = (("singling_out_univariate", 0.0), ("singling_out_multivariate", 0.0), ("singling_out_multivariate", 0.5))
"""The attacks, and from how far towards the next released value their half-lines begin."""


def singling_out(setting: Setting) -> list[Finding]:
    """The univariate attack decides where the release lets it form enough predicates, else the multivariate one.

    With a margin the latter informs: it sees through noise on everybody, and less of people who are copied as they are.
    """
    claims: list[tuple[Attack, float, list[Predicates]]] = []
    for name, margin in ASKED:
        setting.progress(name + (" with a margin" if margin else ""))
        claims.append((find(name), margin, _described(setting, find(name), {"margin": margin} if margin else {})))
    # Made after the attacks have let go of theirs: at 1,000,000 rows each takes 400 MB.
    members = Index.of(setting.members)
    controls = None if setting.controls is None else Index.of(setting.controls)
    made = [(attack, margin, *_judged(setting, attack, made, members, controls)) for attack, margin, made in claims]
    enough = max(findings_.FEW_GUESSES, findings_.enough_formed(setting.predicates))
    first = made[0][2].performed >= enough
    found: list[Finding] = []
    for number, (attack, margin, evidence, design) in enumerate(made, 1):
        plan = Plan(
            f"TB-SINGLING_OUT-{number:03d}",
            "singling_out",
            attack.name,
            "rate",
            "predicate",
            primary=number == (1 if first else 2),
            params=attack.defaults | ({"margin": margin} if margin else {}),
            target="half-way to the next released value" if margin else None,
        )
        setting.evidence[plan.rule] = evidence
        if not len(evidence.cell("true", "used")):
            why = Unmeasured(unmeasured="no_guess_formed", needs="a release with rows that differ from all others")
            found.append(findings_.unmeasured(plan, why, setting.predicates, 0))
            continue
        found.append(findings_.rates(plan, evidence, paired=controls is not None, design=design))
    return found


def _described(setting: Setting, attack: Attack, params: dict[str, float]) -> list[Predicates]:
    """What is claimed of the release, blindly, and of the subject known to leak."""
    question = Fields(setting.release.table.columns, setting.predicates)
    widths = {k: v for k, v in attack.defaults.items() if k in ("smallest", "largest")}
    return [
        attack.run(setting.release, question, None, setting.seed, RECIPIENT, params),
        find("random_predicates").run(setting.release, question, None, setting.seed, RECIPIENT, widths),
        attack.run(setting.leak, question, None, setting.seed, RECIPIENT, params),
    ]


def _judged(
    setting: Setting, attack: Attack, claims: list[Predicates], members: Index, controls: Index | None
) -> tuple[Evidence, float]:
    """The evidence of all cells, and the design effect of the release's."""
    claim, blind, positive = claims
    wanted, size = setting.predicates, min(members.people, (controls or members).people)
    evidence = Evidence.join(
        judge.predicates(claim, members, controls, "true", wanted),
        judge.predicates(blind, members, None, "blind", wanted, size),
        judge.predicates(positive, members, None, "positive", wanted, size),
    )
    rng = keyed_rng(setting.seed, "relabelling", attack.name)
    return evidence, 1.0 if controls is None else judge.predicates_design(claim, members, controls, rng)


# --- linkability ----------------------------------------------------------------------------------------

Pair = tuple[tuple[str, ...], tuple[str, ...]]
LINK = "TB-LINKABILITY-001"
COMPARED = 500
"""People of the control who are linked through other people's rows, to see how often that happens by itself."""
FAR_ABOVE = 0.05
"""By so much more often must people of the control be linked through the release than through other people's rows."""


def linkability(setting: Setting, links: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[Finding]:
    """One finding per split of columns; the first decides."""
    return [_link(setting, number, *pair) for number, pair in enumerate(pairs(setting, links), 1)]


def pairs(setting: Setting, links: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[Pair]:
    """Every declared split, and three of all columns that nobody chose: every other, first and last, at random."""
    names = tuple(c.name for c in setting.members.columns)
    declared: list[Pair] = [(tuple(a), tuple(b)) for a, b in links]
    drawn = keyed_rng(setting.seed, "halves of columns").permutation(len(names))
    middle = (len(names) + 1) // 2
    automatic: list[Pair] = [
        (names[::2], names[1::2]),
        (names[:middle], names[middle:]),
        tuple(tuple(names[i] for i in sorted(part)) for part in (drawn[:middle], drawn[middle:])),  # type: ignore[list-item]
    ]
    return list(dict.fromkeys(p for p in [*declared, *automatic] if p[1]))


def _link(setting: Setting, number: int, left: tuple[str, ...], right: tuple[str, ...]) -> Finding:
    setting.progress(f"linkability {number}")
    attack = find("linkability")
    tied = 0.0

    def cell(view: Cell, release: Release, targets: Targets) -> Evidence:
        nonlocal tied
        order = keyed_rng(setting.seed, "halves", view, number).permutation(len(targets.table))
        partner = np.argsort(order)
        question = Halves(targets.table.select(left), targets.table.select(right).take(order))
        claim = attack.run(release, question, None, setting.seed, RECIPIENT)
        tied = claim.tied if view == "true" else tied
        return judge.links(claim, partner, targets.used, view, targets.table.persons)

    evidence = Evidence.join(
        cell("true", setting.release, setting.targets), cell("positive", setting.leak, setting.targets.members())
    )
    plan = Plan(
        f"TB-LINKABILITY-{number:03d}",
        "linkability",
        attack.name,
        "rate",
        "record",
        primary=number == 1,
        params={**attack.defaults, "tied": round(tied, 3)},
        target=f"{shorten(left)} | {shorten(right)}",
    )
    setting.evidence[plan.rule] = evidence
    finding = findings_.rates(plan, evidence)
    if number == 1 and _knows_the_control(setting, evidence, left, right):
        finding = findings_.flagged(finding, CONTAMINATED)
    # Two rows drawn blindly from the release meet as often as k of n and k of n share a row.
    k, n = attack.defaults["neighbours"], len(setting.release.table)
    chance = 1 - max(0.0, 1 - k / n) ** k
    guess = findings_.estimate("rate", Interval(chance, chance, chance, 1.0, "closed form", n), "record")
    return finding.model_copy(update={"baseline": guess})


def _knows_the_control(setting: Setting, evidence: Evidence, left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Are people of the control linked through the release far more often than through other people's real rows?

    Those are rows of the original, which the control cannot be in: as many as the release has, if there are so many.
    """
    used = ~setting.targets.used
    linked = evidence.cell("true", "unused")
    if not len(linked):
        return False
    rng = keyed_rng(setting.seed, "control linked through the original")
    rows = np.sort(rng.permutation(len(setting.members))[: len(setting.release.table)])
    controls = setting.targets.table.take(np.flatnonzero(used)[:COMPARED])
    order = rng.permutation(len(controls))
    question = Halves(controls.select(left), controls.select(right).take(order))
    claim = find("linkability").run(Release(setting.members.take(rows)), question, None, setting.seed, RECIPIENT)
    expected = judge.links(claim, np.argsort(order), np.zeros(len(controls), bool), "blind", controls.persons)
    through, chance = (stats.proportion(e.success, e.cluster) for e in (linked, expected))
    return stats.excess(through, chance, level=0.998).low > FAR_ABOVE
