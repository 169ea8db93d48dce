"""Which defence stops which attacker, at what cost?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.cli.script import main
from testbed.core import Evidence
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source, source
from testbed.defences import named
from testbed.findings.schema import Defence, Estimate, Finding, Series, Subject, ThreatModel, Utility
from testbed.harness.federation.prepare import about
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, find, scenario

NOT_TESTED = ["defences and attacks that are not in the list", "several attackers at once"]
SEES = "each position by itself: a server sees every update, a client the global models and its own updates"
USUAL = "none; clip:1; gaussian:0.1; gaussian:1; dpsgd:8; percentile; topk:0.1; quantise:8; secagg; central_dp:1"
SMALL: dict[str, Any] = {"clients": 2, "rounds": 20}
POSITIONS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "a server that reads updates": ("curious_server", {"minutes": SMALL, "hours": {"clients": 4, "rounds": 50}}),
    "a client that reads models": ("curious_client", {"minutes": SMALL, "hours": {"clients": 2, "rounds": 50}}),
    "a server that asks who was used": ("curious_server_membership", {"minutes": {}, "hours": {"rounds": 30}}),
    "a server that changes the model": ("malicious_server", {"minutes": {}, "hours": {}}),
}
"""Each attacker with its scenario, and that scenario's parameters for each budget."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every attacker under every defence, on this data."""

    known: Source
    defences: tuple[str, ...]
    positions: tuple[str, ...]
    budget: str
    seed: int

    def cell(self, position: str, defence: str) -> Scenario:
        """The prepared scenario of one attacker under one defence."""
        name, budgets = POSITIONS[position]
        return find(name)(**budgets[self.budget], data=self.known.name, defence=defence, seed=self.seed)

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """The findings of all cells, attacker by attacker; the first of each attacker has the chart of its defences."""
        findings: list[Finding] = []
        evidence: dict[str, Evidence] = {}
        costs: dict[str, Utility] = {}
        broken: dict[tuple[str, str], Finding] = {}
        for position in self.positions:
            mine: dict[str, Finding] = {}
            for number, defence in enumerate(self.defences):
                if _seen_before(position, defence):
                    continue
                progress(f"{position}, {defence}")
                outcome = self.cell(position, defence).conduct(engine, progress, store)
                decided = next(f for f in outcome.findings if f.primary)
                mine[defence] = decided.model_copy(update={"primary": False, "target": f"{position}, {defence}"})
                rows = outcome.evidence.get(decided.rule)
                if rows is not None:
                    evidence[f"{decided.rule}.{self.positions.index(position)}.{number:02d}"] = rows
                for found in outcome.findings:
                    if "claim_exceeded" in found.validity.flags:  # it fails the matrix, as it fails the scenario
                        broken.setdefault((found.rule, defence), found.model_copy(update={"target": defence}))
                for one in outcome.utility:
                    costs.setdefault(one.name, one)
            ordered = list(mine.values())
            if ordered:
                ordered[0] = ordered[0].model_copy(update={"series": [*ordered[0].series, chart(position, mine)]})
            findings += ordered
        return Outcome([*findings, *broken.values()], evidence, utility=list(costs.values()))


def _seen_before(position: str, defence: str) -> bool:
    """Does this attacker see the updates before the defence acts? Then it is as if there were none."""
    parts = named.configured(defence)
    return "server" in position and bool(parts) and all(d.where == "server" for d in parts)


def chart(position: str, by_defence: Mapping[str, Finding]) -> Series:
    """The excess of one attacker under each defence, with its interval; the largest first."""
    measured = {d: f.excess for d, f in by_defence.items() if isinstance(f.excess, Estimate)}
    order = sorted(measured, key=lambda d: -measured[d].value)
    return Series(
        name=f"What is left for {position}",
        kind="bars",
        x_label="success on people whose records were used, minus success on others",
        y_label="defences",
        labels=order,
        x=[measured[d].value for d in order],
        low=[measured[d].low for d in order],
        high=[measured[d].high for d in order],
    )


@scenario(question="Which defence of this federation stops which attacker, and what does it cost?")
def defence_matrix(
    data: str = "heart", defences: str = USUAL, attackers: str = "", budget: str = "minutes", seed: int = 0
) -> Scenario:
    """Every attacker under every defence, beside the accuracy that each defence leaves.

    `defences` and `attackers` are separated by semicolons; no attacker named means all. Each figure is that of an
    attack that knows the defence, if the attack adapts. `budget` is minutes or hours:
    the second has more rounds, and so narrower intervals. A defence of the server is not run against a server, which
    sees the updates before it.
    """
    known = source(data)
    chosen = tuple(part.strip() for part in defences.split(";") if part.strip())
    wanted = tuple(part.strip() for part in attackers.split(";") if part.strip()) or tuple(POSITIONS)
    if (
        not chosen
        or len(set(chosen)) < len(chosen)
        or set(wanted) - set(POSITIONS)
        or budget not in ("minutes", "hours")
    ):
        raise UsageError(
            "TB-SCENARIO-035",
            "These parameters make no matrix.",
            "It needs defences, each once, attackers that it has, and a budget.",
            f"Attackers: {'; '.join(POSITIONS)}. Budget: minutes or hours.",
        )
    matrix = Matrix(known, chosen, wanted, budget, seed)
    prepared = {(p, d): matrix.cell(p, d) for p in wanted for d in chosen if not _seen_before(p, d)}
    told: dict[str, Defence] = {f"{one.name} {one.params}": one for cell in prepared.values() for one in cell.defences}
    subject: Subject = about(known, f"{known.title} ({len(chosen)} defences, {len(wanted)} attackers)", 40)
    knows = sorted({word for cell in prepared.values() for word in cell.threat.knows})
    threat = ThreatModel(
        position="server", malicious=True, knows=knows, access="white", sees=SEES, not_tested=NOT_TESTED
    )
    return Scenario(subject, threat, matrix.conduct, list(told.values()))


if __name__ == "__main__":
    main(defence_matrix)
