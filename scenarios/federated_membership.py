"""Who was in the training data, asked from every position of one federation, beside the final model alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from testbed.attacks.registry import Attack
from testbed.cli.script import main
from testbed.core import Protocol, Scores, Sources, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source, source
from testbed.defences.guards.named import configured as watched
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Subject, ThreatModel
from testbed.findings.wording import WHICH_CLIENT
from testbed.harness.cells import planned
from testbed.harness.federation import paired, truth_file
from testbed.harness.federation.alarms import unhidden
from testbed.harness.federation.assess import assess, best_of
from testbed.harness.federation.axes import Axes, axes
from testbed.harness.federation.facts import completed
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.naive import meets
from testbed.harness.federation.people import groups, sited
from testbed.harness.federation.prepare import about, defended, described, mlp, readers
from testbed.harness.federation.trial import Trial
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.attendance import Attendance
from testbed.subjects.federation.federation import Federation

SEES = (
    "the server: every global model and what each client returns, or their weighted mean (view=sum); a client: the "
    "global models alone; with topology=swarm also a hospital that is the server in turns; an auditor: the final model "
    "alone (loss_threshold)"
)
NOT_TESTED = ["label-only access", "servers that know more of the records than themselves"]
KNOWS = frozenset({"architecture", "recipe", "target_records"})
THREAT = ThreatModel(
    position="server", malicious=True, knows=sorted(KNOWS), access="white", sees=SEES, not_tested=NOT_TESTED
)
ALONE = "loss_threshold"
DECIDES = "TB-MEMBERSHIP-500"
LOOKING = "global_models"
TURNS, FIXED = "server in turns", "passive server"
"""How the targets begin of findings on a hospital that aggregates in turns, and on a server that always does."""


def positions() -> list[tuple[str, bool, tuple[Attack, ...]]]:
    """Who attacks, whether they act, and how: passive positions with all attacks that fit, each act by itself."""
    by_kind = [a for claim in (Scores, Sources) for a in readers("server", KNOWS, claim)]
    made = [("server", False, tuple(sorted(by_kind, key=lambda a: a.rule)))]
    made.append(("client", False, tuple(readers("client", KNOWS, Scores))))
    for position in ("server", "client"):
        made += [(position, True, (a,)) for a in readers(position, KNOWS, Scores, acting=True)]
    return made


OVERFITTED = 0.1
VIEWS = (("updates", "star"), ("sum", "star"), ("updates", "swarm"))


@dataclass(frozen=True, slots=True)
class Comparison:
    """All positions on one federation, in `runs` runs of it: with each run's number its people and weights change.

    With `summed` the server sees the clients' weighted mean alone.
    """

    known: Source
    federation: Federation
    subject: Subject
    members: int
    controls: int
    runs: int
    partition: str
    alpha: float
    summed: bool
    swarm: bool = False

    def trials(self, run: int) -> list[Trial]:
        """One trial a position, all on the same people; `run` is the seed of everything."""
        protocol = self.federation.protocol
        # The server's rule changes the next model alone, and a positive control has to be learnt by heart.
        by_heart = replace(protocol, batch_size=2, local_epochs=2, server=None, server_rate=None)
        people = groups(self.known, self.members, self.controls, self.members, run)
        split, control_party = sited(self.known, people, self.partition, protocol.clients, self.alpha, run)
        places = [
            (
                Threat(position, malicious, KNOWS, nodes=(0,) if position == "client" else ()),  # type: ignore[arg-type]
                plans(position, malicious, found),
            )
            for position, malicious, found in positions()
        ]
        if self.swarm:
            turns = tuple(range(1, protocol.rounds + 1, protocol.clients))
            places.append((Threat("server", knows=KNOWS, nodes=(0,), turns=turns), in_turns()))
        return [
            Trial(
                split,
                replace(self.federation, seed=run),
                threat,
                planned_,
                positive=Leaky(
                    Federation(self.federation.model, by_heart, run),
                    members=max(2 * protocol.clients, round(OVERFITTED * self.members)),
                    by_heart=True,
                ),
                control_party=control_party,
                sum_only=self.summed and threat.position == "server",
            )
            for threat, planned_ in places
        ]

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """The first run's findings with all controls, and the paired differences over all runs."""
        seed = self.federation.seed
        with tempfile.TemporaryDirectory() as folder:
            kept = store or Path(folder)
            first = [t.record(engine, progress, kept) for t in self.trials(seed)]
            assessed = [assess(recorded, progress=progress) for recorded in first]
            guards = self.federation.guards
            assessed = [replace(a, findings=unhidden(a.findings, guards)) for a in assessed]
            every = [[f for a in assessed for f in a.findings]]
            # A server that only reads sees all that the other passive positions see.
            assessed[0] = best_of(assessed[0], first[0].truth.plans, DECIDES, seed)
            for run in range(1, self.runs):
                progress(f"run {run + 1} of {self.runs}")
                found: list[Finding] = []
                for trial in self.trials(seed + run):
                    found += assess(trial.record(engine, store=kept, cells=("true",))).findings
                every.append(found)
        by_clients = {a.name for position, _, attacks in positions() if position == "client" for a in attacks}
        fixed = [[f for f in found if not (f.target or "").startswith(TURNS)] for found in every]
        scored = [[f for f in found if f.attack.name != "source_inference"] for found in fixed]
        clients_only = [[f for f in found if f.attack.name in by_clients] for found in fixed]
        told = {"subject": self.subject.model_dump(), "threat": THREAT.model_dump()}
        outcome = Outcome(
            [f for a in assessed for f in a.findings]
            + [*paired.beside(scored, ALONE), *paired.beside(clients_only, LOOKING, "paired_clients")]
            + (paired.in_turns(every, TURNS, FIXED) if self.swarm else []),
            {rule: rows for a in assessed for rule, rows in a.evidence.items()},
            truth_file.files(first[0], told),
        )
        each = self.members // self.federation.protocol.clients
        return completed(outcome, self.known, self.known.people, self.federation, each, "server")


@scenario(
    question="Who in a federation can tell whose records were used: and would an audit of the model have shown it?"
)
def federated_membership(
    data: str = "mnist5k",
    clients: int = 5,
    members: int = 500,
    controls: int = 500,
    rounds: int = 10,
    epochs: int = 5,
    batch: int = 8,
    learning_rate: float = 0.1,
    hidden: int = 128,
    runs: int = 10,
    view: str = "updates",
    topology: str = "star",
    partition: str = "iid",
    alpha: float = 0.5,
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    algorithm: str = "plain",
    participation: float = 1.0,
    dropouts: float = 0.0,
    stragglers: float = 0.0,
    late: bool = False,
    personal: int = 0,
    seed: int = 0,
) -> Scenario:
    """Passive and active server, passive and active client, and the final model alone, on an over-fitted federation.

    The first run has controls of every kind. Its server that only reads decides, by the best of its attacks: chosen on
    half of the people, judged on the other half. Further `runs`, each with other people,
    clients and initial weights, give the paired differences between every attack and the final model alone, and
    between clients that poison and one that only looks. `view` is updates, or sum: the clients' weighted mean, as
    secure aggregation would show it. `topology` is star (one fixed server), or swarm: the hospitals aggregate in turn.
    The training is the same. The first hospital, which sees all updates of every `clients`th round and the models alone
    of other rounds, stands beside the fixed server and beside a client that only receives models. `noise` with `clip`
    is a Gaussian defence at the clients. `algorithm`, `participation`, `dropouts`, `stragglers`, `late` and `personal`
    make the federation more realistic (docs/realism.md). People of clients that never answered are not asked about.
    """
    known = source(data)
    third = len(known.people) // 3
    members, controls = min(members, third), min(controls, third)
    if members < 2 * clients or runs < 2 or (view, topology) not in VIEWS:
        raise UsageError(
            "TB-SCENARIO-008",
            "These parameters make no federation that can be compared over runs.",
            "A client needs two records or more, an interval two runs or more; the view is updates or sum, and a swarm "
            "(topology=swarm) has no sums.",
            "Use fewer clients, more runs, view=updates, or topology=star.",
        )
    axes_ = axes(algorithm, personal, Attendance(participation, dropouts, stragglers, late))
    _check(axes_, view, topology)
    protocol = Protocol(
        "fedavg", batch, local_epochs=epochs, learning_rate=learning_rate, rounds=rounds, clients=clients
    )
    protocol = axes_.applied(protocol)
    protects = defended(defence, noise, clip, known.data_class)
    comparison = Comparison(
        known,
        Federation(mlp(known, hidden), protocol, seed, protects, guards=watched(guards), attendance=axes_.attendance),
        about(known, f"{known.title} ({protocol.kind}, {clients} clients{axes_.title})", members),
        members,
        controls,
        runs,
        partition,
        alpha,
        view == "sum",
        topology == "swarm",
    )
    adaptive = any(
        meets(a, protects, "server")
        for position, acts, found in positions()
        if position == "server" and not acts
        for a in found
    )
    told = described(comparison.federation, members // clients, "server", adaptive)
    return Scenario(comparison.subject, THREAT, comparison.conduct, told)


def _check(chosen: Axes, view: str, topology: str) -> None:
    """Raises `UsageError` for axes that a sum, or a server in turns, does not have."""
    in_sum = chosen.attendance.late or "controls" in chosen.rules
    elsewhere = bool(chosen.rules.keys() - {"proximal_mu"}) or not chosen.attendance.everybody
    if (view == "sum" and in_sum) or (topology == "swarm" and elsewhere):
        raise UsageError(
            "TB-SCENARIO-097",
            f"These axes do not go together with view={view} and topology={topology}.",
            "A sum of a round holds no late answers and one array of each client. A hospital that is the server in "
            "turns needs all clients, and a rule that the next server can continue.",
            "Use view=updates and topology=star. With view=sum leave out scaffold and late=true; a swarm has fedprox.",
        )


def plans(position: str, malicious: bool, attacks: Sequence[Attack]) -> tuple[Plan, ...]:
    """Each attack's TPR and AUC; of source inference the share of clients that are named correctly."""
    made: list[Plan] = []
    for attack in attacks:
        target = WHICH_CLIENT if attack.claim is Sources else f"{'active' if malicious else 'passive'} {position}"
        target = "final model alone" if attack.name == ALONE else target
        primary = position == "server" and not malicious and attack is attacks[0]
        plan = planned(attack.name, primary=primary, target=target)
        made += [plan] if attack.claim is Sources else [plan, plan.area()]
    return tuple(made)


def in_turns() -> tuple[Plan, ...]:
    """The plans of a fixed server that only reads, for one that is the server in turns. They inform."""
    passive = plans(*positions()[0])
    return tuple(
        replace(p, primary=False, variant="turns", target=f"{TURNS}, {p.target}".replace(f", {FIXED}", ""))
        for p in passive
        if p.attack != ALONE
    )


if __name__ == "__main__":
    main(federated_membership)
