"""A synthetic table against its original: every attack in every cell, from files to findings.

A user's table cannot be made again from other people, so the blind cell is a guess that looks at nothing of the
person: random predicates, the column's most common value, or for linkability the closed form of chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from testbed import findings as findings_
from testbed import judge, stats
from testbed.attacks.kit import Attack, find, keyed_rng
from testbed.core import (
    Array,
    Cell,
    Column,
    Evidence,
    Fields,
    Gaps,
    Halves,
    Release,
    Split,
    Table,
    Threat,
)
from testbed.errors import UsageError
from testbed.findings import Plan
from testbed.report.schema import Estimate, Finding, Series, Unmeasured, Validity
from testbed.stats import Interval

RECIPIENT = Threat("recipient", knows=frozenset({"known_columns"}), access="score")
TARGETS = 2000
"""Guesses per attack and group unless asked otherwise: enough for a bound of two points at a rate of one half."""
PREDICATES = 500
"""Descriptions per singling-out attack unless asked otherwise."""
SHIFT_P, OVERLAP_P = 0.01, 0.001
SHIFT_SAMPLE = 20_000

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Examined:
    findings: list[Finding]
    evidence: dict[str, Evidence]


@dataclass(frozen=True, slots=True)
class Targets:
    """People drawn from both groups, pooled and shuffled; `used` is the truth that attacks never see."""

    table: Table
    used: Array

    @staticmethod
    def draw(members: Table, controls: Table | None, wanted: int, rng: np.random.Generator) -> Targets:
        parts = [(members, True)] + ([] if controls is None else [(controls, False)])
        tables, used = [], []
        for table, is_member in parts:
            rows = rng.permutation(len(table))[:wanted]
            tables.append(table.take(rows))
            used.append(np.full(len(rows), is_member))
        pooled = Table(
            members.columns,
            tuple(np.concatenate(v) for v in zip(*(t.values for t in tables), strict=True)),
            # A person named in two tables is two persons to the judge, and an error to the split.
            np.concatenate([t.persons for t in tables]),
        )
        order = rng.permutation(len(pooled))
        return Targets(pooled.take(order), np.concatenate(used)[order])

    def half(self, rng: np.random.Generator) -> Array:
        """Half of the people of each group (n,) bool; all rows of a person fall on one side."""
        chosen = np.zeros(len(self.used), dtype=bool)
        for group in (self.used, ~self.used):
            names = np.unique(self.table.persons[group])
            mine = rng.permutation(names)[: len(names) // 2]
            chosen[group] = np.isin(self.table.persons[group], mine)
        return chosen


def examine(
    split: Split,
    release: Release,
    *,
    secrets: Sequence[str] = (),
    links: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
    attacks: int | None = None,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> Examined:
    """All risks of a release. `secrets` default to every column, `links` to one split of all columns in two.

    The first link is the primary one. `attacks` bounds the guesses of each attack; by default 2,000 people a group
    and 500 predicates. Raises `UsageError` for a column that does not exist.
    """
    members, controls = split.members, split.controls
    assert isinstance(members, Table)
    assert controls is None or isinstance(controls, Table)
    _check_names([*secrets, *(n for pair in links for side in pair for n in side)], members.columns)
    run = _Run(members, controls, release, Release(members), attacks, seed, progress)
    found: list[Finding] = []
    found += run.singling_out()
    found += run.linkability(links)
    found += run.attribute_inference(secrets)
    found.append(run.copying())
    flags = control_flags(members, controls, keyed_rng(seed, "control check"))
    return Examined([_flagged(f, flags) for f in found], run.evidence)


def _check_names(names: Sequence[str], columns: Sequence[Column]) -> None:
    known = [c.name for c in columns]
    if unknown := [n for n in names if n not in known]:
        raise UsageError(
            "TB-DATA-060",
            f"There is no column called {unknown[0]!r}.",
            "It was named as a secret or in a link.",
            f"Columns are: {', '.join(known[:12])}{' …' if len(known) > 12 else ''}.",
        )


@dataclass
class _Run:
    members: Table
    controls: Table | None
    release: Release
    leak: Release
    wanted: int | None
    seed: int
    progress: Progress

    evidence: dict[str, Evidence] = field(init=False, default_factory=dict[str, Evidence])
    targets: Targets = field(init=False)
    leak_targets: Targets = field(init=False)

    @property
    def predicates(self) -> int:
        return self.wanted or PREDICATES

    def __post_init__(self) -> None:
        self.targets = Targets.draw(
            self.members, self.controls, self.wanted or TARGETS, keyed_rng(self.seed, "targets")
        )
        used = np.flatnonzero(self.targets.used)
        self.leak_targets = Targets(self.targets.table.take(used), np.ones(len(used), dtype=bool))

    # --- singling out -----------------------------------------------------------------------------------

    def singling_out(self) -> list[Finding]:
        """The univariate attack decides where the release lets it form enough predicates, else the other one."""
        made: list[tuple[Attack, Evidence]] = []
        for name in ("singling_out_univariate", "singling_out_multivariate"):
            self.progress(name)
            attack = find(name)
            widths = {k: v for k, v in attack.defaults.items() if k in ("smallest", "largest")}
            made.append((attack, self._predicates(attack, widths)))
        enough = max(findings_.FEW_GUESSES, findings_.FEW_FORMED * self.predicates)
        first = made[0][1].performed >= enough
        found: list[Finding] = []
        for number, (attack, evidence) in enumerate(made, 1):
            plan = Plan(
                f"TB-SINGLING_OUT-{number:03d}",
                "singling_out",
                attack.name,
                "rate",
                "predicate",
                primary=(number == 1) == first,
                params=attack.defaults,
            )
            self.evidence[plan.rule] = evidence
            if not len(evidence.cell("true", "used")):
                why = Unmeasured(unmeasured="no_guess_formed", needs="a release with rows that differ from all others")
                found.append(findings_.unmeasured(plan, why, self.predicates, 0))
                continue
            found.append(findings_.rates(plan, evidence, paired=self.controls is not None))
        return found

    def _predicates(self, attack: Attack, widths: dict[str, int]) -> Evidence:
        question = Fields(self.release.table.columns, self.predicates)
        claim = attack.run(self.release, question, None, self.seed, RECIPIENT)
        parts = [judge.predicates(claim, self.members, self.controls, "true", self.predicates)]
        size = min(len(self.members), len(self.members if self.controls is None else self.controls))
        blind = find("random_predicates").run(self.release, question, None, self.seed, RECIPIENT, widths)
        parts.append(judge.predicates(blind, self.members, None, "blind", self.predicates, size))
        positive = attack.run(self.leak, question, None, self.seed, RECIPIENT)
        parts.append(judge.predicates(positive, self.members, None, "positive", self.predicates, len(self.members)))
        return Evidence.join(*parts)

    # --- linkability ------------------------------------------------------------------------------------

    def linkability(self, links: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[Finding]:
        names = [c.name for c in self.members.columns]
        pairs = [(tuple(a), tuple(b)) for a, b in links] or [(tuple(names[::2]), tuple(names[1::2]))]
        return [self._link(number, *pair) for number, pair in enumerate(pairs, 1) if pair[1]]

    def _link(self, number: int, left: tuple[str, ...], right: tuple[str, ...]) -> Finding:
        self.progress(f"linkability {number}")
        attack = find("linkability")
        tied = 0.0

        def cell(view: Cell, release: Release, targets: Targets) -> Evidence:
            nonlocal tied
            order = keyed_rng(self.seed, "halves", view, number).permutation(len(targets.table))
            partner = np.argsort(order)
            question = Halves(targets.table.select(left), targets.table.select(right).take(order))
            claim = attack.run(release, question, None, self.seed, RECIPIENT)
            tied = claim.tied if view == "true" else tied
            return judge.links(claim, partner, targets.used, view, targets.table.persons)

        evidence = Evidence.join(
            cell("true", self.release, self.targets), cell("positive", self.leak, self.leak_targets)
        )
        plan = Plan(
            f"TB-LINKABILITY-{number:03d}",
            "linkability",
            attack.name,
            "rate",
            "record",
            primary=number == 1,
            params={**attack.defaults, "tied": round(tied, 3)},
            target=f"{_shorten(left)} | {_shorten(right)}",
        )
        self.evidence[plan.rule] = evidence
        finding = findings_.rates(plan, evidence)
        # Two rows drawn blindly from the release meet as often as k of n and k of n share a row.
        k, n = attack.defaults["neighbours"], len(self.release.table)
        chance = 1 - (1 - k / n) ** k
        guess = findings_.estimate("rate", Interval(chance, chance, chance, 1.0, "closed form", n), "record")
        return finding.model_copy(update={"baseline": guess})

    # --- attribute inference ----------------------------------------------------------------------------

    def attribute_inference(self, secrets: Sequence[str]) -> list[Finding]:
        """One finding per secret; the primary one is the worst, chosen on half the people, decided on the rest."""
        attack, blind = find("attribute_inference"), find("marginal_guess")
        names = list(secrets) or [c.name for c in self.members.columns]
        if len(self.members.columns) < 2:
            plan = Plan("TB-ATTRIBUTE_INFERENCE-001", "attribute_inference", attack.name, "rate", "record")
            why = Unmeasured(unmeasured="one_column", needs="a second column from which to guess")
            return [findings_.unmeasured(plan, why)]
        evidence: dict[str, Evidence] = {}
        for name in names:
            self.progress(f"attribute inference: {name}")
            evidence[name] = Evidence.join(
                self._guesses(attack, name, "true", self.release, self.targets),
                self._guesses(blind, name, "blind", self.release, self.targets),
                self._guesses(attack, name, "positive", self.leak, self.leak_targets),
            )
        choosing = self.targets.half(keyed_rng(self.seed, "halves of people"))
        worst = max(names, key=lambda n: _raw_excess(evidence[n], choosing))
        findings = [self._inferred(attack, worst, _judged_on(evidence[worst], ~choosing), 1, True)]
        findings += [
            self._inferred(attack, name, evidence[name], number, False) for number, name in enumerate(names, 2)
        ]
        chart = _secrets_chart(findings[1:])
        return [findings[0].model_copy(update={"series": [chart]}), *findings[1:]]

    def _guesses(self, attack: Attack, name: str, view: Cell, release: Release, targets: Targets) -> Evidence:
        columns = {c.name: c for c in self.members.columns}
        known = tuple(n for n in columns if n != name)
        question = Gaps(targets.table.select(known), columns[name])
        claim = attack.run(release, question, None, self.seed, RECIPIENT)
        truth = targets.table.select((name,)).values[0]
        return judge.guesses(claim, columns[name], truth, targets.used, view, targets.table.persons)

    def _inferred(self, attack: Attack, name: str, evidence: Evidence, number: int, primary: bool) -> Finding:
        plan = Plan(
            f"TB-ATTRIBUTE_INFERENCE-{number:03d}",
            "attribute_inference",
            attack.name,
            "rate",
            "record",
            primary=primary,
            params=attack.defaults,
            target=name,
        )
        self.evidence[plan.rule] = evidence
        if not len(evidence.cell("true", "used")):
            why = Unmeasured(unmeasured="too_few_targets", needs="people to choose the worst secret on, and others")
            return findings_.unmeasured(plan, why)
        return findings_.rates(plan, evidence)

    # --- copies -----------------------------------------------------------------------------------------

    def copying(self) -> Finding:
        self.progress("copies")
        found = judge.copies(self.release.table, self.members, self.controls)
        plan = Plan("TB-COPYING-001", "copying", "copied_rows", "rate", "person")
        controlled = self.controls is not None
        people = len(set(self.members.persons.tolist()))
        others = len(set(self.controls.persons.tolist())) if self.controls is not None else 0
        return findings_.copying(plan, found, controlled, people, others)


def _raw_excess(evidence: Evidence, choosing: Array) -> float:
    chosen = _judged_on(evidence, choosing)
    rates = [float(cell.success.mean()) if len(cell := chosen.cell("true", g)) else 0.0 for g in ("used", "unused")]
    return rates[0] - rates[1]


def _judged_on(evidence: Evidence, people: Array) -> Evidence:
    """The rows of those targets; positive-control rows, which have targets of their own, all stay."""
    index = np.minimum(evidence.item, len(people) - 1)
    kept = evidence.where((evidence.view == "positive") | people[index])
    judged = len(kept.cell("true", "used")) + len(kept.cell("true", "unused"))
    return Evidence(
        kept.view, kept.group, kept.item, kept.cluster, kept.score, kept.success, judged, judged, kept.notes
    )


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


def _shorten(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# --- is the control a control? --------------------------------------------------------------------------


def control_flags(members: Table, controls: Table | None, rng: np.random.Generator) -> list[str]:
    """Overlap beyond chance, and a shift between original and control, both by permuting who is in which."""
    if controls is None:
        return []
    flags = []
    if overlap_p(members, controls, rng) < OVERLAP_P:
        flags.append("control_overlap")
    if shift_p(members, controls, rng) < SHIFT_P:
        flags.append("control_shift")
    return flags


def overlap_p(members: Table, controls: Table, rng: np.random.Generator, permutations: int = 1999) -> float:
    """One-sided p that equal rows fall across the two groups more often than within them.

    In a table of few categories different people share rows within and across groups alike; the same people in
    both groups share them across only.
    """
    rows = np.concatenate([np.stack([v.astype(float) for v in t.values], 1) for t in (members, controls)])
    rows = np.where(np.isnan(rows), np.inf, rows)
    _, value, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    value = value.reshape(-1)
    repeated = counts[value] > 1
    if not repeated.any():
        return 1.0
    is_member = np.arange(len(rows)) < len(members)
    _, group = np.unique(value[repeated], return_inverse=True)
    label = is_member[repeated]
    size = np.bincount(group)

    def across(of_members: Array) -> float:
        mine = np.bincount(group, weights=of_members, minlength=len(size))
        return float((mine * (size - mine)).sum())

    observed = across(label)
    # How many of the repeated rows are members' varies too when labels are drawn anew.
    drawn = rng.hypergeometric(len(members), len(controls), int(repeated.sum()), permutations)
    template = np.arange(len(label))
    at_least = sum(across(rng.permutation(template < k)) >= observed for k in drawn)
    return (1 + at_least) / (1 + permutations)


def shift_p(members: Table, controls: Table, rng: np.random.Generator, permutations: int = 499) -> float:
    """Two-sample permutation p: the largest standardised difference in means of ranks, gaps and categories.

    Persons, not rows, change sides; at most 20,000 rows are looked at.
    """
    sampled = [t.take(np.sort(rng.permutation(len(t))[: SHIFT_SAMPLE // 2])) for t in (members, controls)]
    features = _features(sampled[0], sampled[1])
    persons = np.unique(np.concatenate([t.persons for t in sampled]), return_inverse=True)[1]
    sums = np.zeros((persons.max() + 1, features.shape[1]))
    np.add.at(sums, persons, features)
    rows = np.bincount(persons)
    is_member = np.zeros(len(rows), dtype=bool)
    is_member[persons[: len(sampled[0])]] = True

    def largest(labels: Array) -> float:
        inside = labels @ rows
        outside = rows.sum() - inside
        mine = labels @ sums
        return float(np.abs(mine / inside - (sums.sum(0) - mine) / outside).max())

    observed = largest(is_member.astype(float))
    at_least = sum(largest(rng.permutation(is_member).astype(float)) >= observed for _ in range(permutations))
    return (1 + at_least) / (1 + permutations)


def _features(members: Table, controls: Table, most_levels: int = 20) -> Array:
    blocks: list[Array] = []
    for column, mine, other in zip(members.columns, members.values, controls.values, strict=True):
        values = np.concatenate([mine, other]).astype(float)
        if column.kind == "numeric":
            gaps = np.isnan(values)
            ranks = stats.scipy_stats.rankdata(np.where(gaps, np.inf, values))
            ranks[gaps] = ranks[~gaps].mean() if (~gaps).any() else 0
            blocks += [ranks, gaps.astype(float)]
        else:
            levels, counts = np.unique(values, return_counts=True)
            blocks += [(values == v).astype(float) for v in levels[np.argsort(-counts)[:most_levels]]]
    block = np.stack([b for b in blocks if b.std() > 0] or [np.zeros(len(members) + len(controls))], 1)
    return (block - block.mean(0)) / np.where(block.std(0) > 0, block.std(0), 1)


def _flagged(finding: Finding, flags: list[str]) -> Finding:
    if not flags:
        return finding
    return finding.model_copy(update={"validity": Validity(ok=False, flags=sorted({*finding.validity.flags, *flags}))})
