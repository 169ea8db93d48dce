"""Which defence stops which attacker, at what cost?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.cli.script import main
from testbed.core import Evidence
from testbed.core.defence import Where
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source, source
from testbed.findings.schema import Defence, Finding, Subject, ThreatModel, Utility
from testbed.harness.federation.prepare import about
from testbed.harness.matrix import Attacker, Budget, Judgement, Price, chart, strongest, summary
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, find, scenario

NOT_TESTED = ["defences and attacks that are not in the list", "several attackers at once"]
SEES = "each position by itself: a server sees every update, a client the global models, a recipient what is released"
USUAL = (
    "none; clip:1; gaussian:0.1; gaussian:1; dpsgd:8; percentile; topk:0.1; quantise:8; secagg; "
    "secagg+consistent_unmasking; central_dp:1; guards=weight_law+layer_drift+nested_neurons; round:1; "
    "private_synthesis:1; near_copy_filter"
)
AT_CLIENTS: frozenset[Where] = frozenset({"update", "training", "protocol", "rules"})
ANYWHERE: frozenset[Where] = frozenset({*AT_CLIENTS, "server"})
SMALL: dict[str, Any] = {"clients": 2, "rounds": 20}
MANY_CLASSES = 9


def tables(known: Source) -> bool:
    """Is it a table?"""
    return bool(known.columns)


ATTACKERS: dict[str, Attacker] = {
    "a server that reads updates": Attacker("curious_server", AT_CLIENTS, SMALL, {"clients": 4, "rounds": 50}),
    "a client that reads models": Attacker("curious_client", ANYWHERE, SMALL, {"clients": 2, "rounds": 50}),
    "a server that asks who was used": Attacker(
        "curious_server_membership", AT_CLIENTS, {"members": 300, "controls": 300, "clients": 5}, {"rounds": 30}
    ),
    "a server that changes the model": Attacker("malicious_server", AT_CLIENTS, {}, {"rounds": 50}, "client"),
    "a server that lies about who dropped out": Attacker(
        "secure_aggregation", frozenset({"protocol"}), {"rounds": 5}, {"rounds": 50}, checks=True
    ),
    "a client that sends the training astray": Attacker(
        "malicious_client",
        ANYWHERE,
        {"runs": 3, "rounds": 5, "each": 60},
        {},
        "server",
        lambda known: known.classes >= MANY_CLASSES,
    ),
    "a recipient of the model": Attacker(
        "released_model", frozenset({"training", "answers", "queries", "pipeline"}), {}, {"people": 1000, "shadows": 32}
    ),
    "a recipient of a synthetic table": Attacker(
        "released_table", frozenset({"table", "generator"}), {"people": 1000}, {}, suits=tables
    ),
}
"""Each attacker with its scenario, that scenario's parameters for each budget, and the defences that it meets."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every attacker under every defence, on this data."""

    known: Source
    defences: tuple[str, ...]
    attackers: tuple[str, ...]
    budget: Budget
    most: float
    seed: int

    def cells(self) -> list[tuple[str, str]]:
        """The pairs of attacker and defence that make sense, attacker by attacker."""
        return [(a, d) for a in self.attackers for d in self.defences if ATTACKERS[a].under(d)]

    def cell(self, attacker: str, defence: str) -> Scenario:
        """The prepared scenario of one attacker under one defence."""
        made = ATTACKERS[attacker]
        return find(made.scenario)(**made.params(defence, self.budget), data=self.known.name, seed=self.seed)

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """The findings of all cells, attacker by attacker; the first of each attacker has the chart of its defences."""
        findings: list[Finding] = []
        evidence: dict[str, Evidence] = {}
        costs: dict[str, Utility] = {}
        broken: dict[tuple[str, str], Finding] = {}
        judged: dict[str, dict[str, Judgement]] = {}
        for attacker, defence in self.cells():
            progress(f"{attacker}, {defence}")
            outcome = self.cell(attacker, defence).conduct(engine, progress, store)
            decided = strongest(outcome)
            target = {"primary": False, "target": f"{attacker}, {defence}"}
            mine = judged.setdefault(attacker, {})
            mine[defence] = Judgement(decided.model_copy(update=target), Price.of(outcome.utility))
            rows = outcome.evidence.get(decided.rule)
            if rows is not None:
                place = f"{self.attackers.index(attacker)}.{self.defences.index(defence):02d}"
                evidence[f"{decided.rule}.{place}"] = rows
            for found in outcome.findings:
                if "claim_exceeded" in found.validity.flags:  # it fails the matrix, as it fails the scenario
                    broken.setdefault((found.rule, defence), found.model_copy(update={"target": defence}))
            for one in outcome.utility:
                costs.setdefault(one.name, one)
        for attacker, mine in judged.items():
            ordered = [j.finding for j in mine.values()]
            shown = chart(attacker, {d: j.finding for d, j in mine.items()})
            ordered[0] = ordered[0].model_copy(update={"series": [*ordered[0].series, shown]})
            findings += ordered
        told = summary(judged, self.most)
        return Outcome([*findings, *broken.values()], evidence, utility=list(costs.values()), summary=told)


@scenario(question="Which defence stops which attacker, and what does it cost?")
def defence_matrix(
    data: str = "heart",
    defences: str = USUAL,
    attackers: str = "",
    budget: str = "minutes",
    most: float = 0.1,
    seed: int = 0,
) -> Scenario:
    """Every attacker under every defence that can meet it, beside the accuracy that each defence leaves.

    `defences` and `attackers` are separated by semicolons; no attacker named means all that fit the data. Guards are
    named as `guards=weight_law+layer_drift`. Each figure is that of an attack that knows the defence, if the attack
    adapts. `budget` is minutes or hours: the second has more rounds and people, and so narrower intervals. A defence
    is run only against attackers for whom it changes anything: a server sees updates before its own defence.

    The first page says in words which defence stops which attacker: if the excess is at most `most`, at the upper end
    of its interval.
    """
    known = source(data)
    chosen = tuple(part.strip() for part in defences.split(";") if part.strip())
    fit = tuple(name for name, a in ATTACKERS.items() if a.suits(known))
    wanted = tuple(part.strip() for part in attackers.split(";") if part.strip()) or fit
    if (
        not chosen
        or len(set(chosen)) < len(chosen)
        or set(wanted) - set(fit)
        or budget not in ("minutes", "hours")
        or not 0 <= most < 1
    ):
        raise UsageError(
            "TB-SCENARIO-035",
            "These parameters make no matrix.",
            "It needs defences, each once, attackers that fit the data, a budget, and a limit from 0 to 1.",
            f"Attackers on {known.name}: {'; '.join(fit)}. Budget: minutes or hours.",
        )
    matrix = Matrix(known, chosen, wanted, budget, most, seed)
    prepared = {(a, d): matrix.cell(a, d) for a, d in matrix.cells()}
    told: dict[str, Defence] = {f"{one.name} {one.params}": one for cell in prepared.values() for one in cell.defences}
    subject: Subject = about(known, f"{known.title} ({len(chosen)} defences, {len(wanted)} attackers)", 40)
    knows = sorted({word for cell in prepared.values() for word in cell.threat.knows})
    threat = ThreatModel(
        position="server", malicious=True, knows=knows, access="white", sees=SEES, not_tested=NOT_TESTED
    )
    return Scenario(subject, threat, matrix.conduct, list(told.values()))


if __name__ == "__main__":
    main(defence_matrix)
