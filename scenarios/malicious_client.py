"""What does a client learn about classes whose records it has never seen, and does it help to poison the training?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from testbed.cli.script import main
from testbed.core import Classes, Protocol, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.defences.guards.named import configured as watched
from testbed.findings.schema import ThreatModel
from testbed.harness.cells import planned
from testbed.harness.federation.alarms import unhidden
from testbed.harness.federation.class_worlds import ADVERSARY, FEWEST, ClassWorlds
from testbed.harness.federation.facts import completed
from testbed.harness.federation.prepare import about, cnn, defended, described, mlp
from testbed.harness.federation.property_worlds import halves
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation

KNOWS = frozenset({"architecture"})
SEES = "the global models that it receives, and its own records"
NOT_TESTED = ["collusion of clients", "clients of one class each", "single people's records"]
ATTACKS = ("class_generator", "class_generator_poisoning")


@scenario(
    question="Does a client learn what classes look like that only others hold?", position="client", malicious=True
)
def malicious_client(
    data: str = "digits",
    clients: int = 4,
    each: int = 100,
    rounds: int = 10,
    epochs: int = 1,
    batch: int = 10,
    learning_rate: float = 0.1,
    runs: int = 10,
    steps: int = 40,
    fakes: int = 64,
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A client trains a generator against the global models, and makes records of classes that only others hold.

    In each of `runs` federations, a third of the classes is the client's own, a third is nobody's, and only other
    clients hold the rest. One attack only reads the models. The other also sends the training astray, with `fakes`
    made-up records in each round (Hitaj et al. 2017). The difference is measured in the same federations. Clients
    return weights (FedAvg).
    """
    known = source(data)
    if known.classes < 3 * FEWEST or clients < 2 or runs < 2 or rounds < 2 or epochs < 1:
        raise UsageError(
            "TB-SCENARIO-014",
            "With these parameters there are no classes that only other clients hold.",
            f"The scenario needs {3 * FEWEST} classes, two clients, two runs, two rounds and one epoch, or more.",
            "Use the data digits or mnist5k, and larger numbers.",
        )
    pictures = len(known.shape) == 3
    spec = cnn(known) if pictures else mlp(known, 64)
    spec = replace(spec, arguments={**spec.arguments, "activation": "relu"})  # sigmoids learn nothing here
    protocol = Protocol("fedavg", batch, epochs, learning_rate=learning_rate, rounds=rounds, clients=clients)
    everybody, few = halves(known.people, seed), 500
    witnesses, people = everybody[1].take(np.arange(min(few, len(everybody[1])))), known.people
    people = people.take(np.flatnonzero(~np.isin(people.persons, witnesses.persons)))
    question = Classes(known.classes, people.x.min(0), people.x.max(0))
    federation = Federation(
        spec, protocol, seed, defended(defence, noise, clip, known.data_class), guards=watched(guards)
    )
    made = ClassWorlds(
        people,
        witnesses,
        federation,
        question,
        each,
        runs,
        {"steps": steps, "fakes": fakes},
    )
    threat = Threat("client", malicious=True, knows=KNOWS, nodes=(ADVERSARY,))
    plans = {
        name: planned(name, unit="class", primary=number == 0, params={"steps": steps}, target=target)
        for number, (name, target) in enumerate(zip(ATTACKS, ("by looking", "by poisoning"), strict=True))
    }

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        found, evidence = made.conduct(plans, threat, engine, seed, progress)
        outcome = Outcome(unhidden(found, federation.guards), evidence)
        return completed(outcome, known, known.people, federation, each, "client")

    return Scenario(
        about(known, f"{known.title} ({protocol.kind}, {clients} clients)", each * clients),
        ThreatModel(
            position="client", malicious=True, knows=sorted(KNOWS), access="white", sees=SEES, not_tested=NOT_TESTED
        ),
        conduct,
        described(federation, each, "client"),
    )


if __name__ == "__main__":
    main(malicious_client)
