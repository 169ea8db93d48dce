"""What does one hospital see of another's records in the global model?"""

from __future__ import annotations

from dataclasses import replace

from testbed.core import Protocol, Threat
from testbed.data.cohorts import source
from testbed.federation.run import Federation
from testbed.findings import Plan
from testbed.harness.federation import Trial
from testbed.harness.prepare import by_a_curious_server, defended, hospitals, mlp, prepared
from testbed.scenario import Scenario, main, scenario

NOT_TESTED = ["clients that collude", "a client that poisons the training", "secure aggregation, which hides no sum"]
SEES = "the global models that it receives and its own updates; nothing of another client's messages"


@scenario(question="Can one hospital of this federation see another's records?", position="client")
def curious_client(
    data: str = "heart",
    clients: int = 2,
    rounds: int = 20,
    batch: int = 1,
    defence: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A client subtracts its own gradient from the global model's step; with two clients the rest is the other's.

    Beside it: what the server learns of the same federation, whose updates it sees one by one.
    """
    known = source(data)
    split = hospitals(known, clients, rounds * batch, seed)
    protocol = Protocol("fedsgd", batch_size=batch, learning_rate=0.1, rounds=rounds, clients=clients)
    protection = defended(defence, noise, clip)
    # Two undefended clients with one record each: the other's gradient is known exactly.
    undefended = Federation(mlp(known, 32), Protocol("fedsgd", 1, learning_rate=0.1, rounds=rounds), seed)
    unit = "record" if batch == 1 else "batch"
    trial = Trial(
        split,
        Federation(mlp(known, 32), protocol, seed, protection),
        Threat("client", knows=frozenset({"architecture", "hyper_parameters"}), nodes=(0,)),
        (Plan("TB-RECONSTRUCTION-001", "reconstruction", "aggregate_difference", "line_up_top1", unit),),
        positive=None if (clients, batch, protection) == (2, 1, None) else undefended,
        positive_clients=2,
    )
    server = replace(
        trial,
        threat=Threat("server", knows=frozenset({"architecture", "auxiliary"})),
        plans=(by_a_curious_server(unit),),
    )
    return prepared(known, trial, SEES, NOT_TESTED, server)


if __name__ == "__main__":
    main(curious_client)
