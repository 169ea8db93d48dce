"""Whose records were in the training data? The attacks read the final model, or every update before it."""

from __future__ import annotations

from testbed.cli.script import main
from testbed.core import Protocol, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.defences.guards.named import configured as watched
from testbed.harness.cells import planned
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import groups, sited
from testbed.harness.federation.prepare import defended, mlp, prepared
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation

NOT_TESTED = ["shadow models", "a server that changes the model or isolates a client", "label-only access"]
SEES = "every global model and every client's weights after its local training"
ATTACKS = ("update_product", "loss_threshold")
DECIDES = "TB-MEMBERSHIP-500"


@scenario(question="Can the coordinator tell whose records were in a hospital's training data?")
def curious_server_membership(
    data: str = "support2",
    clients: int = 10,
    members: int = 2000,
    controls: int = 2000,
    rounds: int = 20,
    epochs: int = 2,
    batch: int = 8,
    learning_rate: float = 0.1,
    hidden: int = 128,
    partition: str = "iid",
    alpha: float = 0.5,
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A curious server predicts for each record whether it was in a client's data; FedAvg on a hospital table.

    `update_product` reads every update. `loss_threshold` sees only the final model, like an audit of a released model.
    The server can make both attacks. The better one decides: it is chosen on one half of the people and judged on the
    other half. `partition` is iid, dirichlet (with `alpha`) or site.
    """
    known = source(data)
    available = len(known.people)
    # Members and controls are at most a third each, because the blind cell needs as many other people as members.
    members, controls = (min(wanted, available // 3) for wanted in (members, controls))
    if members < 2 * clients:
        raise UsageError(
            "TB-SCENARIO-026",
            f"{members} members are too few for {clients} clients.",
            "A client needs at least two records to train on.",
            "Use fewer clients or more members.",
        )
    people = groups(known, members, controls, members, seed)
    split, control_party = sited(known, people, partition, clients, alpha, seed)
    spec = mlp(known, hidden)
    protocol = Protocol(
        "fedavg", batch, local_epochs=epochs, learning_rate=learning_rate, momentum=0.0, rounds=rounds, clients=clients
    )
    # The positive control is known to leak: each client trains on two people, with steps that hardly move the model.
    of_two = Protocol("fedavg", 2, local_epochs=1, learning_rate=0.01, rounds=rounds, clients=clients)
    tpr = [planned(name, primary=number == 0) for number, name in enumerate(ATTACKS)]
    plans = (*tpr, *(plan.area() for plan in tpr))
    trial = Trial(
        split,
        Federation(spec, protocol, seed, defended(defence, noise, clip, known.data_class), guards=watched(guards)),
        Threat("server", knows=frozenset({"architecture", "target_records"})),
        plans,
        positive=Leaky(Federation(spec, of_two, seed), members=2 * clients),
        control_party=control_party,
    )
    return prepared(known, trial, SEES, NOT_TESTED, decides=DECIDES)


if __name__ == "__main__":
    main(curious_server_membership)
