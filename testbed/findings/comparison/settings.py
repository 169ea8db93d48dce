# pyright: strict
"""Settings from batches of runs: what the strongest attack finds, what remains useful, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from testbed.findings import statistics
from testbed.findings.comparison import pairs
from testbed.findings.comparison.batches import Batch, Joined, interval, joined, question
from testbed.findings.comparison.pairs import Point
from testbed.findings.comparison.schema import (
    Difference,
    Entry,
    Leak,
    Protection,
    Setting,
    Use,
)
from testbed.findings.policy import RULED, Policy
from testbed.findings.schema import Defence, Estimate, Finding, Measure, Risk, Unmeasured, Verdict
from testbed.findings.statistics import Interval

ATTACK = "attack"
"""The parameter that names an attacker. Runs that differ in it are of one setting, seen by several attackers."""
OF_DEFENCES = ("defence", "guards", "noise", "clip")
"""Parameters in which a setting may differ from its reference, which has no defence."""
NO_LIMIT = Unmeasured(unmeasured="no_policy", needs="a policy (--policy) that limits this risk")
NO_REFERENCE = Unmeasured(unmeasured="no_reference", needs="the same setting without a defence")
GRAVITY: dict[Verdict, int] = {"none": 0, "pass": 1, "review": 2, "fail": 3}
NOT_RANKED = ("0.5 is best", "commonest class")
"""Parts of the names of figures of utility that rank no settings: more is not better, or all settings have the same."""


@dataclass(frozen=True, slots=True)
class Attacked:
    """A finding of a setting, with the figures by seed of its attack."""

    finding: Finding
    excess_by_seed: Mapping[int, Interval]

    @property
    def value(self) -> float:
        """The excess, by which attacks are ranked; below any other if it is unmeasured."""
        return self.finding.excess.value if isinstance(self.finding.excess, Estimate) else -2.0


@dataclass(frozen=True, slots=True)
class Group:
    """The batches of one setting, one for each attack that was named."""

    name: str
    params: Mapping[str, Any]
    key: Mapping[str, Any]
    batches: Sequence[Joined]

    @property
    def undefended(self) -> bool:
        return not any(b.defences for b in self.batches)

    @property
    def verdict(self) -> Verdict:
        return gravest([b.verdict for b in self.batches])

    @property
    def runs(self) -> int:
        return max(len(b.seeds) for b in self.batches)

    def attacked(self) -> dict[Risk, list[Attacked]]:
        """The findings that decide, the strongest attack on each risk first; all findings where none decides."""
        every = [Attacked(f, b.excess_by_seed.get(question(f), {})) for b in self.batches for f in b.findings]
        deciding = [a for a in every if a.finding.primary] or every
        risks = [r for r in get_args(Risk) if any(a.finding.risk == r for a in deciding)]
        ranked = sorted(deciding, key=lambda a: (-a.value, a.finding.attack.name))
        return {risk: [a for a in ranked if a.finding.risk == risk] for risk in risks}

    def point(self, risk: Risk) -> Point | None:
        """The figure of the strongest attack on a risk, for comparisons with other settings."""
        found = self.attacked().get(risk)
        if not found:
            return None
        strongest = found[0]
        return Point(self.name, strongest.excess_by_seed, interval(strongest.finding.excess), self.runs)


def gravest(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that outweighs the others."""
    return max(verdicts, key=lambda verdict: GRAVITY[verdict])


def groups(batches: Iterable[Batch], policy: Policy | None) -> tuple[list[Group], list[str]]:
    """The batches by setting, in the order of their parameters, and the parameters in which settings differ."""
    listed = sorted(batches, key=lambda b: (b.scenario, b.label, _order(b.params)))
    varied = _varied([_params(b) for b in listed])
    named: dict[str, list[Batch]] = {}
    for batch in listed:
        named.setdefault(_name(batch, varied), []).append(batch)
    made: list[Group] = []
    for name, same in named.items():
        params = _params(same[0])
        together = [joined(loaded, policy) for b in same if (loaded := b.load())]
        if together:
            made.append(Group(name, params, {k: params.get(k) for k in varied}, together))
    return sorted(made, key=lambda g: not g.undefended), varied


def _params(batch: Batch) -> dict[str, Any]:
    of = {"scenario": batch.scenario, **({"run": batch.label} if batch.label else {})}
    return {**of, **{k: v for k, v in batch.params.items() if k != ATTACK}}


def _varied(params: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(k for p in params for k in p)
    return [k for k in keys if len({repr(p.get(k)) for p in params}) > 1]


def _name(batch: Batch, varied: Sequence[str]) -> str:
    params = _params(batch)
    return ", ".join(f"{k}={_text(params[k])}" for k in varied if k in params) or batch.label or batch.scenario


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _order(params: Mapping[str, Any]) -> tuple[Any, ...]:
    """A key that sorts numbers as numbers and texts as texts, whatever kinds a parameter mixes."""
    return tuple(
        (k, 0, float(v), "") if isinstance(v, int | float) else (k, 1, 0.0, str(v)) for k, v in sorted(params.items())
    )


def entries(group: Group) -> list[Entry]:
    """All attacks under a setting, those that decide first."""
    found = [f for b in group.batches for f in b.findings]
    return [
        Entry(
            setting=group.name,
            risk=f.risk,
            attack=f.attack.name,
            target=f.target,
            primary=f.primary,
            measure=f.measure,
            excess=f.excess,
            verdict=f.verdict,
            flags=f.validity.flags,
        )
        for f in sorted(found, key=lambda f: not f.primary)
    ]


def compared(made: Sequence[Group], tests: int) -> tuple[list[Setting], list[Difference]]:
    """The settings with their costs and letters, and their differences. Bounds hold for `tests` settings together."""
    references = _references(made)
    risks = [r for r in get_args(Risk) if any(r in g.attacked() for g in made)]
    found: list[Difference] = []
    marks: dict[Risk, dict[str, str]] = {}
    for risk in risks:
        points = [p for g in made if (p := g.point(risk)) is not None]
        between = pairs.differences(risk, points, next(iter(references.values()), None))
        marks[risk] = pairs.letters(points, between)
        found += between
    use = main_utility(made)
    by_name = {g.name: g for g in made}
    settings = [_setting(g, by_name.get(references.get(g.name, "")), tests, marks) for g in made]
    worse = {risk: _dominated(settings, risk, use) for risk in risks}
    marked = [
        s.model_copy(update={"leaks": [k.model_copy(update={"dominated": s.name in worse[k.risk]}) for k in s.leaks]})
        for s in settings
    ]
    return marked, found


def _setting(group: Group, reference: Group | None, tests: int, marks: Mapping[Risk, Mapping[str, str]]) -> Setting:
    return Setting(
        name=group.name,
        params=dict(group.key),
        runs=group.runs,
        reference=None if reference is None else reference.name,
        protections=[_protection(d, _naive(group)) for d in group.batches[0].defences],
        leaks=[_leak(risk, of, tests, marks[risk].get(group.name, "")) for risk, of in group.attacked().items()],
        utility=_uses(group, reference),
        traffic=group.batches[0].first.traffic,
        verdict=group.verdict,
        reasons=list(dict.fromkeys(r for b in group.batches for r in b.reasons)),
    )


def _leak(risk: Risk, attacked: Sequence[Attacked], tests: int, marks: str) -> Leak:
    strongest = attacked[0].finding
    bounds = [
        statistics.upper_bound_of_many(over, tests)
        for a in attacked
        if (over := interval(a.finding.excess)) is not None
    ]
    return Leak(
        risk=risk,
        attack=strongest.attack.name,
        target=strongest.target,
        attacks=len(attacked),
        measure=strongest.measure,
        control=strongest.control,
        excess=strongest.excess,
        upper=max(bounds) if len(bounds) == len(attacked) and risk not in RULED else None,
        limit=NO_LIMIT if strongest.verdict == "none" else strongest.limit,
        verdict=gravest([a.finding.verdict for a in attacked]),
        letters=marks,
    )


def _naive(group: Group) -> bool:
    """Was any finding of these runs by attacks that may be blind to the defence?"""
    return any("naive_attacker" in f.validity.flags for b in group.batches for f in b.findings if f.primary)


def _protection(defence: Defence, naive: bool) -> Protection:
    return Protection(
        name=defence.name,
        params=defence.params,
        guarantee="formal" if isinstance(defence.epsilon, Estimate) else "heuristic",
        epsilon=defence.epsilon,
        adaptive=defence.adaptive and not naive,
    )


def _uses(group: Group, reference: Group | None) -> list[Use]:
    of = group.batches[0]
    return [Use(name=name, measure=m, cost=_cost(name, group, reference)) for name, m in of.utility.items()]


def _cost(name: str, group: Group, reference: Group | None) -> Measure:
    """The reference's utility minus the setting's own; of the reference itself none."""
    if reference is None or reference is group:
        return NO_REFERENCE
    one, other = _use(name, reference), _use(name, group)
    return NO_REFERENCE if one is None or other is None else pairs.subtracted(one, other)[0]


def _use(name: str, group: Group) -> Point | None:
    of = group.batches[0]
    if name not in of.utility:
        return None
    return Point(group.name, of.utility_by_seed.get(name, {}), interval(of.utility[name]), group.runs)


def _references(made: Sequence[Group]) -> dict[str, str]:
    """Each setting's reference: the only one without a defence, or else the one that differs in the defence alone."""
    plain = [g for g in made if g.undefended]
    if len(plain) == len(made):
        return {}
    if len(plain) == 1:
        return {g.name: plain[0].name for g in made}
    alike: dict[str, list[str]] = {}
    for group in plain:
        alike.setdefault(_apart(group), []).append(group.name)
    return {g.name: same[0] for g in made if len(same := alike.get(_apart(g), [])) == 1}


def _apart(group: Group) -> str:
    return repr({k: v for k, v in group.key.items() if k not in OF_DEFENCES})


def main_utility(made: Sequence[Group]) -> str | None:
    """The figure of utility that most settings have, the first of several; None if there is none."""
    counts: dict[str, int] = {}
    for group in made:
        for name, measure in group.batches[0].utility.items():
            if isinstance(measure, Estimate) and not any(part in name for part in NOT_RANKED):
                counts[name] = counts.get(name, 0) + 1
    return max(counts, key=counts.__getitem__) if counts else None


def utility_of(setting: Setting, name: str | None) -> Estimate | None:
    """The measured figure of that name, or None."""
    found = next((u.measure for u in setting.utility if u.name == name), None)
    return found if isinstance(found, Estimate) else None


def leak_of(setting: Setting, risk: Risk) -> Leak | None:
    """What was found on that risk, or None."""
    return next((k for k in setting.leaks if k.risk == risk), None)


def _dominated(settings: Sequence[Setting], risk: Risk, use: str | None) -> set[str]:
    points: list[tuple[str, float, float]] = []
    for setting in settings:
        leak, useful = leak_of(setting, risk), utility_of(setting, use)
        if leak is not None and isinstance(leak.excess, Estimate) and useful is not None:
            points.append((setting.name, leak.excess.value, useful.value))
    return pairs.dominated(points)
