"""What does secure aggregation hide from the coordinator, and what if the coordinator breaks the protocol?"""

from __future__ import annotations

from dataclasses import replace

from testbed.attacks.registry import Attack
from testbed.cli.script import main
from testbed.core import Protocol, Reconstruction, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.defences.consistent_unmasking import consistent_unmasking
from testbed.defences.guards.named import configured as watched
from testbed.harness.cells import planned
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import chosen, mlp, prepared, readers
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.secure import SecureAggregation

NOT_TESTED = ["clients that collude with the coordinator", "the masks' random numbers", "clients that drop out"]
SEES = "the sum of all clients' updates in each round, each one masked; it may lie about which clients dropped out"
BINS = 256
"""Bins of the attack loki."""
KNOWS = frozenset({"architecture", "auxiliary", "batch_size", "hyper_parameters"})
READS = frozenset({"architecture"})
"""Knowledge granted to attacks that read the sums."""


def fitting() -> list[Attack]:
    """The attacks of this scenario: those by which a server changes what secure aggregation reveals."""
    return [a for a in readers("server", KNOWS, Reconstruction, acting=True) if a.traits.get("sums")]


def reading() -> list[Attack]:
    """The attacks that read the resulting sums."""
    return [a for a in readers("server", READS, Reconstruction) if a.traits.get("suits") == "linear"]


@scenario(question="What can a coordinator read that breaks the protocol of secure aggregation?", malicious=True)
def secure_aggregation(
    data: str = "digits",
    clients: int = 4,
    rounds: int = 10,
    batch: int = 1,
    hidden: int = 128,
    attack: str = "secagg_unmasking",
    reader: str = "spear",
    check: bool = False,
    threshold: float = 2 / 3,
    guards: str = "none",
    seed: int = 0,
) -> Scenario:
    """A malicious server under Flower's SecAgg+ unmasks clients, silences all but one, or separates them in the sum.

    `attack=secagg_unmasking` names living clients dead as well, and reconstructs both of their secrets.
    `attack=model_inconsistency` sends all clients but client 0 a model whose first layer never fires. `reader` then
    reconstructs records from the result. `attack=loki` gives each client its own bins in front of the model, and reads
    everybody's records. With `check=true`, clients refuse requests that contradict themselves, and a `threshold` so low
    that two contradicting lists could both reach it.

    A server that follows the protocol and reads the sums is shown for comparison.
    """
    known = source(data)
    acting, reads = chosen(attack, fitting()), chosen(reader, reading())
    if check and threshold <= 0.5:
        raise UsageError(
            "TB-SCENARIO-020",
            "Clients that check requests refuse this threshold.",
            "If half of the shares reconstruct a secret, two contradicting lists could both find enough shares.",
            "Use a threshold above 0.5, or check=false.",
        )
    params = {"reader": reads.name} if "reader" in acting.defaults else {}
    aimed = attack == "model_inconsistency"
    split = hospitals(known, clients, rounds * batch, seed)
    spec = mlp(known, hidden)
    protocol = Protocol("fedsgd", batch, learning_rate=0.1, rounds=rounds, clients=clients)
    federation = Federation(
        spec,
        protocol,
        seed,
        (consistent_unmasking(),) if check else (),
        secure=SecureAggregation(threshold),
        guards=watched(guards),
    )
    unit = "record" if batch == 1 else "batch"
    trial = Trial(
        split,
        federation,
        Threat("server", malicious=True, knows=KNOWS),
        (planned(acting.name, unit=unit, primary=True, params=params),),
        # The positive control is known to leak: the same act without aggregation, on one client if one is targeted.
        positive=Leaky(Federation(spec, replace(protocol, batch_size=1), seed), clients=1 if aimed else None),
        act_params={"target": 0} if aimed else {"bins": BINS, "clients": clients} if attack == "loki" else {},
    )
    curious = replace(
        trial,
        threat=replace(trial.threat, malicious=False),
        plans=(planned(reads.name, unit="batch", target="sums"),),
        positive=Leaky(Federation(spec, replace(protocol, batch_size=1), seed)),
        act_params={},
    )
    return prepared(known, trial, SEES, NOT_TESTED, curious)


if __name__ == "__main__":
    main(secure_aggregation)
