"""Which cells of patients' rows can be reconstructed from hospitals' updates?"""

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
from testbed.harness.federation.prepare import chosen, defended, mlp, prepared, readers
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation

NOT_TESTED = ["secure aggregation", "a server that changes the model", "columns that the model is not trained on"]
SEES = "every model that it sends to a hospital and every gradient, or new weights, that come back"
KNOWS = frozenset({"architecture", "auxiliary", "batch_size", "known_columns"})


def fitting() -> list[Attack]:
    """The attacks of this scenario: those on tables, and on a fully connected first layer."""
    return [a for a in readers("server", KNOWS, Reconstruction) if a.traits.get("suits") in ("table", "linear")]


@scenario(question="Which cells of patients' rows can the coordinator reconstruct from hospitals' updates?")
def hospital_tables(
    data: str = "heart",
    clients: int = 4,
    batch: int = 4,
    rounds: int = 5,
    epochs: int = 0,
    learning_rate: float = 0.1,
    hidden: int = 128,
    attack: str = "tabular_inversion",
    iterations: int = 500,
    restarts: int = 5,
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A curious server reconstructs patients' rows. Success is the share of a row's cells that are correct.

    `data=heart` has four real hospitals. `epochs=0` is FedSGD: hospitals send the gradient of `batch` patients in each
    round. With `epochs`, hospitals train that many times on the same `batch` patients in each round, and send weights
    (FedAvg); all rounds of one hospital then count as one batch. Under a defence, rows are also identified in a
    line-up, which informs. The baseline predicts each column's commonest value, or median, for everybody. The control
    compares with other patients.
    """
    known = source(data)
    if not known.columns:
        raise UsageError(
            "TB-SCENARIO-027",
            f"The data set {data} is not a table.",
            "Only tables have cells to reconstruct.",
            "Use heart, support2, breast-cancer or thyroid.",
        )
    reader = chosen(attack, fitting())
    split = hospitals(known, clients, batch if epochs else rounds * batch, seed, clients * rounds * batch)
    if epochs:
        protocol = Protocol("fedavg", batch, epochs, learning_rate=learning_rate, rounds=rounds, clients=clients)
    else:
        protocol = Protocol("fedsgd", batch, learning_rate=learning_rate, rounds=rounds, clients=clients)
    spec = mlp(known, hidden)
    protection = defended(defence, noise, clip, known.data_class)
    watching = watched(guards)
    alone = Protocol("fedsgd", 1, learning_rate=0.1, rounds=protocol.rounds, clients=clients)
    plan = planned(
        reader.name,
        metric="exact_match",
        unit="record" if batch == 1 else "batch",
        primary=True,
        params={k: v for k, v in {"iterations": iterations, "restarts": restarts}.items() if k in reader.defaults},
        target="cells of their rows",
    )
    # A defence may change every cell beyond the tolerance, while the row still identifies its patient.
    whose = replace(plan, metric="line_up_top1", primary=False, target="whose rows", variant="rows")
    trial = Trial(
        split,
        Federation(spec, protocol, seed, protection, guards=watching),
        Threat("server", knows=KNOWS),
        (plan, whose) if protection else (plan,),
        positive=None
        if batch == 1 and not epochs and not (protection or watching)
        else Leaky(Federation(spec, alone, seed)),
        columns=known.columns,
    )
    return prepared(known, trial, SEES, NOT_TESTED)


if __name__ == "__main__":
    main(hospital_tables)
