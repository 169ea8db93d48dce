"""Can the coordinator see a client's records in the updates that the client sends?"""

from __future__ import annotations

from dataclasses import replace

from testbed.attacks.registry import Attack
from testbed.cli.script import main
from testbed.core import Protocol, Reconstruction, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.defences.guards.named import configured as watched
from testbed.harness.cells import planned
from testbed.harness.federation.axes import Axes, axes
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import chosen, defended, network, prepared, readers
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.attendance import Attendance
from testbed.subjects.federation.federation import Federation, ruled

NOT_TESTED = ["secure aggregation", "a server that changes the model"]
SEES = "every model that it sends to a client and every gradient, or new weights, that come back"
KNOWS = frozenset({"architecture", "batch_size", "auxiliary", "hyper_parameters"})
OF_OTHERS = ("table", "text", "trees")
"""Kinds of data whose attacks have their own scenarios."""


def fitting() -> list[Attack]:
    """The attacks of this scenario."""
    return [a for a in readers("server", KNOWS, Reconstruction) if a.traits.get("suits") not in OF_OTHERS]


@scenario(question="Can the coordinator of this federation see a client's records?")
def curious_server(
    data: str = "digits",
    clients: int = 4,
    rounds: int = 10,
    batch: int = 1,
    epochs: int = 0,
    learning_rate: float = 0.1,
    attack: str = "analytic_linear",
    iterations: int = 300,
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
    perceptual: bool = False,
    seed: int = 0,
) -> Scenario:
    """A server that follows the protocol reconstructs records from each client's updates.

    `epochs=0` is FedSGD: in each of `rounds`, clients send the gradient of one batch. With `epochs` there is one round:
    clients train that many times on `batch` records, in steps of half of them, and send new weights (FedAvg).
    If the model's first layer is fully connected, `attack=analytic_linear` is exact for a batch of one,
    `attack=spear` is exact for small batches, and `attack=cocktail_party` separates larger ones.
    `attack=cosine_tv` matches gradients on a small convolutional network; `attack=fedavg_unrolling` matches whole local
    trainings.
    `defence=random_update` sends noise instead of the update. `noise` and `clip` apply the Gaussian mechanism to it.
    `algorithm`, `participation`, `dropouts`, `stragglers`, `late` and `personal` make the federation more realistic
    (docs/realism.md). With `epochs`, those of them that only several rounds show run `rounds` of them; each client's
    last answer is then asked about, because its records are the same in all rounds.
    With `perceptual`, pictures are also compared in a network's features. Its weights are fetched once (17 MB).
    """
    known = source(data)
    reader = chosen(attack, fitting())
    _check(reader, epochs, personal)
    axes_ = axes(algorithm, personal, Attendance(participation, dropouts, stragglers, late))
    spec = network(known, reader)
    protection = defended(defence, noise, clip, known.data_class)
    watching = watched(guards)
    asked = ruled(Protocol("fedsgd", batch, rounds=rounds), protection)
    batch, rounds = asked.batch_size or batch, asked.rounds
    protocol = _rules(epochs, batch, rounds, axes_)
    # Every FedAvg round trains on the same people.
    split = hospitals(known, clients, batch if epochs else rounds * batch, seed)
    protocol = replace(protocol, learning_rate=learning_rate, clients=clients)
    # The positive control is known to leak: one record at a time, in a plain gradient or in one local step.
    leaky = replace(protocol, batch_size=1, local_epochs=1, learning_rate=0.1)
    undefended = Leaky(Federation(spec, leaky, seed), members=clients if epochs else None)
    plan = planned(
        reader.name,
        metric="line_up_top1",
        unit="record" if batch == 1 else "batch",
        primary=True,
        params={"iterations": iterations} if "iterations" in reader.defaults else {},
    )
    plan = replace(plan, perceptual=perceptual)
    trial = Trial(
        split,
        Federation(spec, protocol, seed, protection, guards=watching, attendance=axes_.attendance),
        Threat("server", knows=KNOWS),
        (plan,),
        positive=None if batch == 1 and not epochs and not (protection or watching) and axes_.plain else undefended,
        once=bool(epochs),
    )
    return prepared(known, trial, SEES + axes_.sees, NOT_TESTED, differs=axes_.title)


def _rules(epochs: int, batch: int, rounds: int, chosen: Axes) -> Protocol:
    """FedSGD in `rounds`, or FedAvg in one, which shows what its updates reveal; some axes need several."""
    if not epochs:
        return chosen.applied(Protocol("fedsgd", batch, rounds=rounds))
    return chosen.applied(Protocol("fedavg", max(1, batch // 2), epochs, rounds=rounds if chosen.several else 1))


def _check(reader: Attack, epochs: int, personal: int) -> None:
    """Raises `UsageError` for an attack that does not read what this federation sends."""
    if (reader.name == "fedavg_unrolling" and not epochs) or (reader.name == "spear" and epochs):
        raise UsageError(
            "TB-SCENARIO-006",
            f"{reader.name} and epochs={epochs} do not go together.",
            "fedavg_unrolling repeats local training, which FedSGD does not have; spear needs one batch's gradient.",
            "Use epochs=1 or more with fedavg_unrolling, and epochs=0 with spear.",
        )
    if personal and reader.traits.get("suits") != "linear":
        raise UsageError(
            "TB-SCENARIO-096",
            f"{reader.name} and personal={personal} do not go together.",
            "It compares gradients of the whole model, and the server has no personal layers to compute them with.",
            "Use an attack on the first layer (analytic_linear, spear, cocktail_party), or personal=0.",
        )


if __name__ == "__main__":
    main(curious_server)
