"""Can the coordinator see a client's records in what it sends?"""

from __future__ import annotations

from testbed.core import Protocol, Threat
from testbed.data.cohorts import source
from testbed.errors import UsageError
from testbed.federation.run import Federation
from testbed.findings import Plan
from testbed.harness.federation import Trial
from testbed.harness.prepare import cnn, defended, hospitals, mlp, prepared
from testbed.scenario import Scenario, main, scenario

NOT_TESTED = ["secure aggregation", "clients that run several local epochs", "a server that changes the model"]
SEES = "every model that it sends to a client and every gradient that comes back"


@scenario(question="Can the coordinator of this federation see a client's records?")
def curious_server(
    data: str = "digits",
    clients: int = 4,
    rounds: int = 10,
    batch: int = 1,
    attack: str = "analytic_linear",
    iterations: int = 300,
    defence: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A server that follows the protocol inverts each client's FedSGD gradient.

    `attack=analytic_linear` is exact for a batch of one and a model whose first layer is fully connected;
    `attack=cosine_tv` matches gradients, on a small convolutional network. `defence=random_update` sends noise
    instead of the update; `noise` and `clip` put the Gaussian mechanism on it.
    """
    known = source(data)
    if attack not in ("analytic_linear", "cosine_tv"):
        raise UsageError(
            "TB-SCENARIO-005",
            f"This scenario does not know the attack {attack!r}.",
            "A curious server reads; others act.",
            "Use analytic_linear or cosine_tv.",
        )
    split = hospitals(known, clients, rounds * batch, seed)
    exact = attack == "analytic_linear"
    spec = mlp(known, 32) if exact or len(known.shape) != 3 else cnn(known)
    protocol = Protocol("fedsgd", batch_size=batch, learning_rate=0.1, rounds=rounds, clients=clients)
    protection = defended(defence, noise, clip)
    undefended = Federation(spec, Protocol("fedsgd", 1, learning_rate=0.1, rounds=rounds, clients=clients), seed)
    plan = Plan(
        "TB-RECONSTRUCTION-001",
        "reconstruction",
        attack,
        "line_up_top1",
        "record" if batch == 1 else "batch",
        params={} if exact else {"iterations": iterations},
    )
    trial = Trial(
        split,
        Federation(spec, protocol, seed, protection),
        Threat("server", knows=frozenset({"architecture", "batch_size", "auxiliary"})),
        (plan,),
        positive=None if batch == 1 and protection is None else undefended,
    )
    return prepared(known, trial, SEES, NOT_TESTED)


if __name__ == "__main__":
    main(curious_server)
