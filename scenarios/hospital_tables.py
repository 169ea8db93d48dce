"""Which cells of which patients come back from what hospitals send?"""

from __future__ import annotations

from dataclasses import replace

from testbed.attacks.registry import Attack
from testbed.cli.script import main
from testbed.core import Protocol, Reconstruction, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.harness.cells import planned
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import chosen, defended, mlp, prepared, readers
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation

NOT_TESTED = ["secure aggregation", "a server that changes the model", "columns that the model is not trained on"]
SEES = "every model that it sends to a hospital and every gradient, or new weights, that come back"
KNOWS = frozenset({"architecture", "auxiliary", "batch_size", "known_columns"})


def fitting() -> list[Attack]:
    """The attacks that this scenario runs: those on tables, and on a fully connected first layer."""
    return [a for a in readers("server", KNOWS, Reconstruction) if a.traits.get("suits") in ("table", "linear")]


@scenario(question="Which cells of which patients can the coordinator rebuild from what hospitals send?")
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
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A curious server rebuilds patients' rows; success is the share of a row's cells that are right.

    `data=heart` has four real hospitals. `epochs=0` is FedSGD: each round the gradient of `batch` patients; with
    `epochs`, hospitals train so often on the same `batch` patients in each round and send weights (FedAvg), and the
    rounds of one hospital count as one batch. Under a defence, rows are also picked out of a line-up, which informs.
    The baseline guesses each column's commonest value, or median, for everybody; the control compares with other
    patients.
    """
    known = source(data)
    if not known.columns:
        raise UsageError(
            "TB-SCENARIO-008",
            f"{data} is no table.",
            "Cells are rebuilt of tables.",
            "Use heart, support2, breast-cancer or thyroid.",
        )
    reader = chosen(attack, fitting())
    split = hospitals(known, clients, batch if epochs else rounds * batch, seed, clients * rounds * batch)
    if epochs:
        protocol = Protocol("fedavg", batch, epochs, learning_rate=learning_rate, rounds=rounds, clients=clients)
    else:
        protocol = Protocol("fedsgd", batch, learning_rate=learning_rate, rounds=rounds, clients=clients)
    spec = mlp(known, hidden)
    protection = defended(defence, noise, clip)
    alone = Protocol("fedsgd", 1, learning_rate=0.1, rounds=protocol.rounds, clients=clients)
    plan = planned(
        reader.name,
        metric="exact_match",
        unit="record" if batch == 1 else "batch",
        primary=True,
        params={k: v for k, v in {"iterations": iterations, "restarts": restarts}.items() if k in reader.defaults},
        target="cells of their rows",
    )
    # A defence that moves every cell out of the tolerance may leave whose row it is.
    whose = replace(plan, metric="line_up_top1", primary=False, target="whose rows", variant="rows")
    trial = Trial(
        split,
        Federation(spec, protocol, seed, protection),
        Threat("server", knows=KNOWS),
        (plan,) if protection is None else (plan, whose),
        positive=None if batch == 1 and not epochs and protection is None else Federation(spec, alone, seed),
        columns=known.columns,
    )
    return prepared(known, trial, SEES, NOT_TESTED)


if __name__ == "__main__":
    main(hospital_tables)
