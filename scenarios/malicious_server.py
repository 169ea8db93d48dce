"""What can a coordinator read if it may change the model that it sends?"""

from __future__ import annotations

from dataclasses import replace

from testbed.attacks.inversion.updates import steps
from testbed.attacks.registry import Attack
from testbed.cli.script import main
from testbed.core import Protocol, Reconstruction, Threat
from testbed.data.cohorts import source
from testbed.defences.guards.named import configured as watched
from testbed.harness.cells import planned
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import by_a_curious_server, chosen, defended, mlp, prepared, readers
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation, ruled

NOT_TESTED = ["secure aggregation"]
UNGUARDED = ["clients that check the model they are sent", "attacks that hide their changes"]
SEES = "every model that it sends, which it may change, and every gradient that comes back"


KNOWS = frozenset({"architecture", "auxiliary"})
MORE = frozenset({"batch_size", "hyper_parameters"})
"""Knowledge that is granted only to attacks that need it."""
STEPS = 4
"""Local steps in an epoch, if clients train for epochs."""


def fitting() -> list[Attack]:
    """The attacks of this scenario: those that change the model and need no secure aggregation."""
    acting = readers("server", KNOWS | MORE, Reconstruction, acting=True)
    return [a for a in acting if a.traits.get("suits") != "sums"]


@scenario(question="What can a coordinator read that plants bins in the model?", malicious=True)
def malicious_server(
    data: str = "heart",
    clients: int = 2,
    rounds: int = 20,
    batch: int = 1,
    attack: str = "imprint",
    bins: int = 256,
    epochs: int = 0,
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    perceptual: bool = False,
    seed: int = 0,
) -> Scenario:
    """A server sends a changed model, so that single records can be read from what clients send back.

    `attack=imprint` changes the architecture, and reads each record that is alone in one of its `bins`.
    `attack=loki` also changes the architecture. Its windows respond to one client only, and work over local steps.
    `attack=trap_weights` changes only parameters, so that the first layer's neurons fire for few people.
    `attack=fishing` changes only the last layer, so that few people of one class dominate the gradient. Each round has
    another class. Its figure is the share of batches with at least one record reconstructed.
    With `epochs`, clients train that many times on the same `batch` records in each round, and send weights (FedAvg).
    Without it they send gradients.
    With `perceptual`, pictures are also compared in a network's features. Its weights are fetched once (17 MB).

    A server that only reads the same federation is shown for comparison.
    """
    known = source(data)
    acting = chosen(attack, fitting())
    protection = defended(defence, noise, clip, known.data_class)
    watching = watched(guards)
    asked = ruled(Protocol("fedsgd", batch, rounds=rounds), protection)
    batch, rounds = asked.batch_size or batch, asked.rounds
    split = hospitals(known, clients, batch if epochs else rounds * batch, seed, clients * rounds * batch)
    protocol = Protocol("fedsgd", batch_size=batch, learning_rate=0.1, rounds=rounds, clients=clients)
    if epochs:
        protocol = replace(protocol, kind="fedavg", batch_size=max(1, batch // STEPS), local_epochs=epochs)
    local = {"learning_rate": 0.1, "steps": steps(protocol, batch)} if epochs else {}
    acts = {"imprint": {"bins": bins}, "loki": {"bins": bins, **local}, "fishing": {"batch": batch}}
    spec = mlp(known, {"trap_weights": bins, "fishing": 64}.get(attack, 32))
    undefended = Federation(spec, Protocol("fedsgd", 1, learning_rate=0.1, rounds=rounds, clients=clients), seed)
    unit = "record" if batch == 1 and not epochs else "batch"
    plan = replace(planned(acting.name, unit=unit, primary=True), perceptual=perceptual)
    trial = Trial(
        split,
        Federation(spec, protocol, seed, protection, guards=watching),
        Threat("server", malicious=True, knows=KNOWS | acting.needs),
        (plan,),
        positive=None if batch == 1 and not epochs and not (protection or watching) else Leaky(undefended),
        act_params=acts.get(attack, {}),
    )
    honest = replace(
        trial,
        threat=replace(trial.threat, malicious=False),
        plans=(by_a_curious_server(unit, metric=plan.metric),),
    )
    return prepared(known, trial, SEES, NOT_TESTED if watching else NOT_TESTED + UNGUARDED, honest)


if __name__ == "__main__":
    main(malicious_server)
