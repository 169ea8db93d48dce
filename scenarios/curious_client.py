"""What does one hospital see of another hospital's records in the global model?"""

from __future__ import annotations

from dataclasses import replace

from testbed.attacks.registry import Attack
from testbed.cli.script import main
from testbed.core import Protocol, Reconstruction, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.defences.guards.named import configured as watched
from testbed.harness.cells import planned
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import by_a_curious_server, chosen, defended, mlp, prepared, readers
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation, ruled

NOT_TESTED = ["a client that poisons the training", "secure aggregation, which does not hide the sum"]
SEES = "the global models that it receives and its own updates; nothing of another client's messages"
KNOWS = frozenset({"architecture", "hyper_parameters", "auxiliary", "batch_size"})


def fitting() -> list[Attack]:
    """The server's attacks that can read an aggregate minus the adversary's own updates."""
    return [
        a for a in readers("server", KNOWS, Reconstruction) if a.traits.get("suits") not in ("table", "text", "trees")
    ]


@scenario(question="Can one hospital of this federation see another's records?", position="client")
def curious_client(
    data: str = "heart",
    clients: int = 2,
    colluding: int = 1,
    rounds: int = 20,
    batch: int = 1,
    epochs: int = 0,
    learning_rate: float = 0.1,
    hidden: int = 32,
    reader: str = "analytic_linear",
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A client subtracts its own update from the global model's step. With two clients, the rest is the other's update.

    `colluding` clients subtract all their updates. `reader` is the server's attack that reads the rest. `epochs=0` is
    FedSGD. With `epochs`, clients train that many times on the same `batch` records in each round, and send weights.

    The server of the same federation, which sees each update, is shown for comparison.
    """
    known = source(data)
    if not 0 < colluding < clients:
        raise UsageError(
            "TB-SCENARIO-024",
            f"{colluding} of {clients} clients cannot collude against another client.",
            "At least one client must collude, and at least one must be left to attack.",
            "Use more clients, or fewer colluding ones.",
        )
    reads = chosen(reader, fitting())
    protection = defended(defence, noise, clip, known.data_class)
    watching = watched(guards)
    asked = ruled(Protocol("fedsgd", batch, rounds=rounds), protection)
    batch, rounds = asked.batch_size or batch, asked.rounds
    split = hospitals(known, clients, batch if epochs else rounds * batch, seed, clients * rounds * batch)
    protocol = Protocol("fedsgd", batch_size=batch, learning_rate=learning_rate, rounds=rounds, clients=clients)
    if epochs:
        protocol = replace(protocol, kind="fedavg", local_epochs=epochs)
    spec = mlp(known, hidden)
    # The positive control is known to leak: all but one collude, there is no defence, and each gradient has one record.
    alone = colluding + 1
    one_record = Protocol("fedsgd", 1, learning_rate=0.1, rounds=rounds, clients=alone)
    undefended = Leaky(Federation(spec, one_record, seed), clients=alone)
    unit = "record" if batch == 1 and not epochs else "batch"
    trial = Trial(
        split,
        Federation(spec, protocol, seed, protection, guards=watching),
        Threat("client", knows=KNOWS, nodes=tuple(range(colluding))),
        (planned("aggregate_difference", unit=unit, primary=True, params={"reader": reads.name}),),
        positive=None if (clients, batch, epochs, protection, watching) == (alone, 1, 0, (), ()) else undefended,
    )
    server = replace(
        trial,
        threat=Threat("server", knows=KNOWS),
        plans=(by_a_curious_server(unit, reads.name),),
    )
    return prepared(known, trial, SEES, NOT_TESTED, server)


if __name__ == "__main__":
    main(curious_client)
