"""Attackers under defences: which pairs make sense, and in words which defence stops whom, at what cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from testbed.core.defence import Where
from testbed.data.cohorts import Source
from testbed.defences import named
from testbed.defences.guards import named as guards
from testbed.findings.measures import percent
from testbed.findings.schema import Estimate, Finding, Series, Utility
from testbed.harness.outcome import Outcome

GUARDS = "guards="
"""How guards begin among defences: `guards=weight_law+layer_drift`."""
NAIVE = "naive_attacker"
Budget = Literal["minutes", "hours"]


@dataclass(frozen=True, slots=True)
class Attacker:
    """Who attacks, as a scenario with its parameters for each budget, and on which defences the attacker may meet.

    `meets` says where a defence must work to change what this attacker sees. `watched` is the side whose guards may
    notice the attacker. `suits` says on which data it can be run. `checks` means that the scenario has its protocol
    built in: secure aggregation, with or without the check `consistent_unmasking`.
    """

    scenario: str
    meets: frozenset[Where]
    minutes: Mapping[str, Any]
    hours: Mapping[str, Any]
    watched: Literal["client", "server", ""] = ""
    suits: Callable[[Source], bool] = lambda _: True
    checks: bool = False

    def params(self, defence: str, budget: Budget) -> dict[str, Any]:
        """The scenario's parameters under this defence."""
        own = dict(self.minutes if budget == "minutes" else self.hours)
        if self.checks:
            return {**own, "check": "consistent_unmasking" in defence}
        return own | ({"guards": guards_in(defence)} if guards_in(defence) else {"defence": defence})

    def under(self, defence: str) -> bool:
        """Can this defence change what this attacker sees? Without any, the attacker is always run."""
        if names := guards_in(defence):
            return any(g.side == self.watched for g in guards.configured(names))
        parts = named.configured(defence)
        if self.checks:
            return any(p.where == "protocol" for p in parts)
        if any(p.where == "message" for p in parts):  # a check that no other attacker provokes
            return False
        return not parts or any(p.where in self.meets for p in parts)


def guards_in(defence: str) -> str:
    """The guards that a defence's text names, or an empty text."""
    return defence.removeprefix(GUARDS) if defence.startswith(GUARDS) else ""


def strongest(outcome: Outcome) -> Finding:
    """The finding of a cell: of those that decide, the one with the largest excess."""
    deciding = [f for f in outcome.findings if f.primary]
    return max(deciding, key=lambda f: f.excess.value if isinstance(f.excess, Estimate) else -2.0)


@dataclass(frozen=True, slots=True)
class Price:
    """What a defence costs in a cell: accuracy lost, or the share of honest rounds with an alarm; None if not told."""

    lost: float | None
    alarms: float | None = None

    @staticmethod
    def of(utility: Sequence[Utility]) -> Price:
        """The price that an outcome's figures of utility tell."""
        told = {u.name: u.measure.value for u in utility if isinstance(u.measure, Estimate)}
        pairs = [
            (value, told[name.split(", with ")[0] + ", without a defence"])
            for name, value in told.items()
            if ", with " in name and name.split(", with ")[0] + ", without a defence" in told
        ]
        wrong = [value for name, value in told.items() if name.startswith("honest rounds with an alarm")]
        diverged = any(", with " in u.name and not isinstance(u.measure, Estimate) for u in utility)
        lost = 1.0 if diverged else max((plain - kept for kept, plain in pairs), default=None)
        return Price(0.0 if lost is None and wrong else lost, max(wrong, default=None))

    @property
    def words(self) -> str:
        if self.alarms is not None:
            return f"false alarms in {100 * self.alarms:.3g} % of honest rounds"
        if self.lost is None:
            return "cost not measured"
        points = round(100 * self.lost, 1)
        return "costs nothing measurable" if points <= 0 else f"costs {points:g} points of use"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One attacker under one defence: the finding, and the defence's price."""

    finding: Finding
    price: Price

    def verdict(self, most: float) -> Literal["stopped", "not stopped", "open"]:
        """Whether the excess is at most `most`, above it, or its interval holds it (open), or it is unmeasured (open).

        What only an attacker who does not know the defence was run against is never stopped.
        """
        excess = self.finding.excess
        if not isinstance(excess, Estimate):
            return "open"
        if excess.low > most:
            return "not stopped"
        return "stopped" if excess.high <= most and NAIVE not in self.finding.validity.flags else "open"

    @property
    def words(self) -> str:
        excess = self.finding.excess
        if not isinstance(excess, Estimate):
            return f"not measured ({excess.unmeasured})"
        found = f"{100 * excess.value:.0f} points ({100 * excess.low:.0f} to {100 * excess.high:.0f})"
        naive = ", naive attacker" if NAIVE in self.finding.validity.flags else ""
        return f"{found}{naive}; {self.price.words}"


Judgements = Mapping[str, Mapping[str, Judgement]]
"""By attacker and defence."""
TITLES = {"stopped": "Stopped by", "not stopped": "Not stopped by", "open": "Not certain under"}


def summary(found: Judgements, most: float) -> list[str]:
    """For a data-protection officer: which defence stops which attacker at what cost, one line each, and the cheapest.

    An attacker is stopped if the upper end of the excess's interval is at most `most`.
    """
    how = (
        "How to read this: an attacker is stopped if success on people whose records were used exceeds that on others "
        f"by at most {100 * most:g} points, at the upper end of the interval. Each number is this excess, with its "
        "interval; then what the defence costs. Points of use are accuracy or, for tables, what the report names."
    )
    lines = [how]
    for attacker, cells in found.items():
        plain = cells.get(named.NONE)
        parts = [f"{attacker}."]
        if plain is not None:
            rate = percent(plain.finding.measure)
            parts.append(f"Without a defence: right for {rate} of people used, excess {plain.words.split(';')[0]}.")
        for verdict, title in TITLES.items():
            those = [(d, c) for d, c in cells.items() if d != named.NONE and c.verdict(most) == verdict]
            if those:
                parts.append(f"{title}: " + "; ".join(f"{d}: {c.words}" for d, c in those) + ".")
        lines.append(" ".join(parts))
    return [*lines, cheapest(found, most)]


def cheapest(found: Judgements, most: float) -> str:
    """The sentence on the defence that stops every attacker against whom it was run, at the smallest loss of use."""
    needed = {a for a, cells in found.items() if named.NONE in cells and cells[named.NONE].verdict(most) != "stopped"}
    every = dict.fromkeys(d for cells in found.values() for d in cells if d != named.NONE)
    against = {d: [a for a in needed if d in found[a]] for d in every}
    stopping = {d: [a for a in them if found[a][d].verdict(most) == "stopped"] for d, them in against.items() if them}
    best = sorted(stopping, key=lambda d: (-len(stopping[d]), _lost(found, d)))
    if not needed:
        return "No attacker that was run needs a defence under this limit."
    if not best or not stopping[best[0]]:
        return "No defence that was run stops any of these attackers for certain. Nothing can be recommended."
    first, stops = best[0], stopping[best[0]]
    left = sorted(needed - set(stops))
    text = f"Of the defences that were run, {first} stops most: {len(stops)} of {len(needed)} attackers who need one"
    text += f" ({'; '.join(sorted(stops))}). Its largest loss is {100 * max(0.0, _lost(found, first)):.3g} points."
    return text + (f" It does not stop, or was not run against: {'; '.join(left)}." if left else "")


def _lost(found: Judgements, defence: str) -> float:
    """The largest loss of use that this defence causes in any cell; what is not told counts as everything."""
    prices = [cells[defence].price.lost for cells in found.values() if defence in cells]
    return max(1.0 if p is None else p for p in prices)


def chart(attacker: str, by_defence: Mapping[str, Finding]) -> Series:
    """The excess of one attacker under each defence, with its interval; the largest first."""
    measured = {d: f.excess for d, f in by_defence.items() if isinstance(f.excess, Estimate)}
    order = sorted(measured, key=lambda d: -measured[d].value)
    return Series(
        name=f"What is left for {attacker}",
        kind="bars",
        x_label="success on people whose records were used, minus success on others",
        y_label="defences",
        labels=order,
        x=[measured[d].value for d in order],
        low=[measured[d].low for d in order],
        high=[measured[d].high for d in order],
    )
