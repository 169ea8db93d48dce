"""What are a hospital's patients like as a whole? The attacks read its updates, or only the global models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from testbed.attacks.registry import find
from testbed.cli.script import main
from testbed.core import Property, Protocol, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.defences.guards.named import configured as watched
from testbed.findings.schema import ThreatModel
from testbed.harness.cells import planned
from testbed.harness.federation.alarms import unhidden
from testbed.harness.federation.facts import completed
from testbed.harness.federation.prepare import about, defended, described, mlp
from testbed.harness.federation.property_worlds import Worlds, column_of, halves
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation

KNOWS = frozenset({"architecture", "auxiliary", "hyper_parameters"})
SEES = "the server: a client's updates; another client: only the global models, which one attack also trains on a task"
NOT_TESTED = ["properties of single rounds"]


@scenario(question="Can the coordinator, or another hospital, tell what a hospital's patients are like as a whole?")
def property_inference(
    data: str = "support2",
    column: str = "sex",
    few: float = 0.35,
    many: float = 0.85,
    clients: int = 4,
    each: int = 100,
    rounds: int = 3,
    epochs: int = 2,
    batch: int = 10,
    learning_rate: float = 0.1,
    hidden: int = 32,
    worlds: int = 30,
    shadows: int = 60,
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """In each world a coin decides whether `few` or `many` of a client's records have the property.

    The property is a column's commonest category, or a number in the upper half of its range. The attacker has half of
    all people, and the worlds are drawn from the other half. `epochs=0` is FedSGD. In FedAvg, another client also acts:
    it trains the global model on a second task, to recognise the property.
    """
    known = source(data)
    names = [n for n, _ in known.columns]
    if column not in names or not 0 <= few < many <= 1 or worlds < 2 or clients < 2:
        raise UsageError(
            "TB-SCENARIO-012",
            "With these parameters there is no property to infer.",
            "The column must exist, few must be below many, and there must be two worlds and two clients or more.",
            f"Columns of {data}: {', '.join(names[:12]) or 'none; it is no table'}.",
        )
    protocol = (
        Protocol("fedavg", batch, epochs, learning_rate=learning_rate, rounds=rounds, clients=clients)
        if epochs
        else Protocol("fedsgd", batch, learning_rate=learning_rate, rounds=rounds, clients=clients)
    )
    question = Property(0, column_of(known.columns, column), (few, many), (each,) * clients)
    people, others = halves(known.people, seed)
    protection = defended(defence, noise, clip, known.data_class)
    federation = Federation(mlp(known, hidden), protocol, seed, protection, guards=watched(guards))
    made = Worlds(people, others, federation, question, worlds)
    params = {"shadows": shadows}
    by = [
        ("property_inference", "by the server", ()),
        ("property_from_models", "by a client", (1,)),
        *([("property_two_tasks", "by a client that trains on it", (1,))] if epochs else []),
    ]
    plans = [
        (
            planned(attack, metric="rate", unit="run", primary=number == 1, params=params, target=target),
            Threat("client" if nodes else "server", find(attack).malicious, KNOWS, nodes=nodes),
        )
        for number, (attack, target, nodes) in enumerate(by, 1)
    ]

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        found, evidence = made.conduct(plans, engine, seed, progress)
        outcome = Outcome(unhidden(found, federation.guards), evidence)
        return completed(outcome, known, known.people, federation, each, "server")

    return Scenario(
        about(known, f"{known.title} ({protocol.kind}, {clients} clients)", each * clients),
        ThreatModel(
            position="server", malicious=False, knows=sorted(KNOWS), access="white", sees=SEES, not_tested=NOT_TESTED
        ),
        conduct,
        described(federation, each, "server"),
    )


if __name__ == "__main__":
    main(property_inference)
