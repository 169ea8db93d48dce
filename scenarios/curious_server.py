"""Can the coordinator see a client's records in what it sends?"""

from __future__ import annotations

from dataclasses import replace

from testbed.attacks.registry import find
from testbed.cli.script import main
from testbed.core import Protocol, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.findings.plan import Plan
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import cnn, defended, mlp, prepared
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, is_own, scenario
from testbed.subjects.federation.federation import Federation

NOT_TESTED = ["secure aggregation", "a server that changes the model"]
SEES = "every model that it sends to a client and every gradient, or new weights, that come back"
ATTACKS = ("analytic_linear", "spear", "cocktail_party", "cosine_tv", "fedavg_unrolling")
ON_LINEAR_LAYERS: dict[str, int] = {"analytic_linear": 32, "spear": 128, "cocktail_party": 256}
"""Attacks on a first layer that is fully connected, and its width in their scenario."""


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
    noise: float = 0.0,
    clip: float = 1.0,
    perceptual: bool = False,
    seed: int = 0,
) -> Scenario:
    """A server that follows the protocol inverts what each client sends.

    `epochs=0` is FedSGD, in each of `rounds` the gradient of one batch; with `epochs` there is one round, in which
    clients train so often on `batch` records, in steps of half of them, and send new weights (FedAvg).
    `attack=analytic_linear` is exact for a batch of one and `attack=spear` for small batches, where the model's first
    layer is fully connected, and `attack=cocktail_party` unmixes larger ones there; `attack=cosine_tv` matches
    gradients on a small convolutional network, and `attack=fedavg_unrolling` whole local trainings.
    `defence=random_update` sends noise instead of the update; `noise` and `clip` put the Gaussian mechanism on it.
    With `perceptual`, pictures are also compared in a network's features; its weights are fetched once (17 MB).
    """
    known = source(data)
    if attack not in ATTACKS and not is_own(attack):
        raise UsageError(
            "TB-SCENARIO-005",
            f"This scenario does not know the attack {attack!r}.",
            "A curious server reads; others act.",
            f"Use one of: {', '.join(ATTACKS)}.",
        )
    if (attack == "fedavg_unrolling" and not epochs) or (attack == "spear" and epochs):
        raise UsageError(
            "TB-SCENARIO-006",
            f"{attack} and epochs={epochs} do not go together.",
            "Unrolling repeats local training, which FedSGD has none of; unmixing needs the gradient of one batch.",
            "Use epochs=1 or more with fedavg_unrolling, and epochs=0 with spear.",
        )
    linear = attack in ON_LINEAR_LAYERS
    spec = mlp(known, ON_LINEAR_LAYERS.get(attack, 32)) if linear or len(known.shape) != 3 else cnn(known)
    protection = defended(defence, noise, clip)
    if epochs:
        # Every round trains on the same people, so that one round says what an update of theirs gives away.
        split = hospitals(known, clients, batch, seed)
        step = max(1, batch // 2)
        protocol = Protocol("fedavg", step, epochs, learning_rate=learning_rate, rounds=1, clients=clients)
    else:
        split = hospitals(known, clients, rounds * batch, seed)
        protocol = Protocol("fedsgd", batch, learning_rate=learning_rate, rounds=rounds, clients=clients)
    # Known to leak: one record at a time, in the plain gradient or in one local step.
    leaky = replace(protocol, batch_size=1, local_epochs=1, learning_rate=0.1)
    undefended = Federation(spec, leaky, seed)
    plan = Plan(
        rule="TB-RECONSTRUCTION-001",
        risk="reconstruction",
        attack=attack,
        metric="line_up_top1",
        unit="record" if batch == 1 else "batch",
        params={"iterations": iterations} if not linear and "iterations" in find(attack).defaults else {},
        perceptual=perceptual,
        primary=True,
    )
    trial = Trial(
        split,
        Federation(spec, protocol, seed, protection),
        Threat("server", knows=frozenset({"architecture", "batch_size", "auxiliary", "hyper_parameters"})),
        (plan,),
        positive_members=clients if epochs else None,
        positive=None if batch == 1 and not epochs and protection is None else undefended,
    )
    return prepared(known, trial, SEES, NOT_TESTED)


if __name__ == "__main__":
    main(curious_server)
