"""Which sentences can be reconstructed from the gradients of a language model in a federation?"""

from __future__ import annotations

from testbed.cli.script import main
from testbed.core import ModelSpec, Protocol, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import sentences
from testbed.defences.guards.named import configured as watched
from testbed.harness.cells import planned
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import defended, prepared
from testbed.harness.federation.trial import Trial
from testbed.harness.scenario import Scenario, scenario
from testbed.models.text import HEADS
from testbed.subjects.federation.federation import Federation

NOT_TESTED = ["secure aggregation", "a server that changes the model", "words outside the model's vocabulary"]
SEES = "every model that it sends to a client and every gradient that comes back"


@scenario(question="Which sentences of a client's texts can the coordinator reconstruct from its gradients?")
def language_model(
    data: str = "lee-background",
    clients: int = 4,
    batch: int = 4,
    rounds: int = 5,
    length: int = 16,
    kind: str = "decoder",
    width: int = 128,
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """A curious server reconstructs sentences from a transformer's gradients.

    Success is the share of words reconstructed at their place. `kind=decoder` learns to predict the next word, and
    `kind=encoder` learns which sentences open a text. In each round, clients send the gradient of `batch` sentences of
    up to `length` words (FedSGD). The baseline predicts the commonest word at each place. The control compares with
    other people's sentences.
    """
    if kind not in ("decoder", "encoder"):
        raise UsageError(
            "TB-SCENARIO-025",
            f"This scenario does not know the kind {kind!r}.",
            "A transformer here is a decoder or an encoder.",
            "Use kind=decoder or kind=encoder.",
        )
    if width % HEADS:
        raise UsageError(
            "TB-SCENARIO-021",
            f"The transformer cannot have the width {width}.",
            f"Its {HEADS} attention heads divide the width equally.",
            f"Use a multiple of {HEADS}.",
        )
    known, words = sentences(data, length)
    split = hospitals(known, clients, rounds * batch, seed)
    spec = ModelSpec(
        "transformer",
        {
            "shape": [length],
            "classes": known.classes,
            "vocabulary": len(words),
            "width": width,
            "causal": kind == "decoder",
        },
    )
    protocol = Protocol("fedsgd", batch, learning_rate=0.1, rounds=rounds, clients=clients)
    alone = Protocol("fedsgd", 1, learning_rate=0.1, rounds=rounds, clients=clients)
    protection = defended(defence, noise, clip, known.data_class)
    watching = watched(guards)
    plan = planned(
        "dager",
        metric="token_recall",
        unit="record" if batch == 1 else "batch",
        primary=True,
        target="words of their sentences",
    )
    trial = Trial(
        split,
        Federation(spec, protocol, seed, protection, guards=watching),
        Threat("server", knows=frozenset({"architecture", "auxiliary"})),
        (plan,),
        positive=None if batch == 1 and not (protection or watching) else Leaky(Federation(spec, alone, seed)),
    )
    return prepared(known, trial, SEES, NOT_TESTED)


if __name__ == "__main__":
    main(language_model)
