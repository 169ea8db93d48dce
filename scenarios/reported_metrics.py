"""Do the loss and the accuracy that hospitals report tell the coordinator whose records they hold?"""

from __future__ import annotations

from testbed.attacks.registry import Attack, attacks
from testbed.cli.script import main
from testbed.core import Protocol, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.harness.cells import planned
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import groups, sited
from testbed.harness.federation.prepare import EVALUATIONS, chosen, defended, mlp, prepared
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation

SEES = "the models that clients evaluate, and the loss, the accuracy and the number of records that they report"
NOT_TESTED = ["updates together with evaluations", "several evaluations in a round", "rounded metrics"]
KNOWS = frozenset({"architecture", "target_records", "auxiliary"})
OTHERS = 1000
"""Other people whom the attacker holds, if the data set has as many."""


def fitting() -> list[Attack]:
    """The attacks of this scenario."""
    return [a for a in attacks("transcript") if a.traits.get("suits") == EVALUATIONS]


@scenario(question="Do reported losses and accuracies tell whose records a hospital holds?")
def reported_metrics(
    data: str = "support2",
    clients: int = 10,
    members: int = 100,
    controls: int = 1000,
    rounds: int = 20,
    epochs: int = 2,
    batch: int = 8,
    learning_rate: float = 0.1,
    hidden: int = 32,
    partition: str = "iid",
    alpha: float = 0.5,
    attack: str = "evaluation_metrics",
    defence: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A server reads what clients report when they evaluate each round's model on their records, and no update.

    `attack=evaluation_metrics` only reads. `attack=random_evaluations` sends networks with random weights for
    evaluation, while the training goes on as it should. Secure aggregation hides none of this. `partition` is iid,
    dirichlet (with `alpha`) or site.
    """
    known = source(data)
    reader = chosen(attack, fitting())
    available = len(known.people)
    members, controls = (min(wanted, available // 3) for wanted in (members, controls))
    if members < 2 * clients:
        raise UsageError(
            "TB-SCENARIO-094",
            f"{members} members are too few for {clients} clients.",
            "A client needs at least two records, else its mean loss is one person's.",
            "Use fewer clients or more members.",
        )
    people = groups(known, members, controls, max(members, min(OTHERS, available - members - controls)), seed)
    split, control_party = sited(known, people, partition, clients, alpha, seed)
    protocol = Protocol(
        "fedavg", batch, local_epochs=epochs, learning_rate=learning_rate, rounds=rounds, clients=clients
    )
    spec, plan = mlp(known, hidden), planned(reader.name, primary=True)
    trial = Trial(
        split,
        Federation(spec, protocol, seed, defended(defence, noise, clip, known.data_class), evaluates=True),
        Threat("server", malicious=reader.malicious, knows=KNOWS),
        (plan, plan.area()),
        # The positive control is known to leak: a client's mean is that of two people.
        positive=Leaky(Federation(spec, protocol, seed, evaluates=True), members=2 * clients),
        control_party=control_party,
    )
    return prepared(known, trial, SEES, NOT_TESTED)


if __name__ == "__main__":
    main(reported_metrics)
