"""What a defence costs: the accuracy of a whole training with it and without it, on people nobody trained on."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import torch

from testbed import models
from testbed.core import Array, Cohort, Protocol
from testbed.core.defence import Defence, Exposure, guarantees
from testbed.core.errors import InputError, RunError
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import Source, divide
from testbed.defences import named
from testbed.findings import statistics
from testbed.findings.schema import Estimate, Measure, Unmeasured, Utility
from testbed.subjects.federation.attendance import Attendance
from testbed.subjects.federation.federation import Federation

TESTED = 1000
"""Most people on whom a trained model is tested: a quarter of all at most."""
TRAINED = 2000
"""Most people on whom it is trained."""
WHOLE = Protocol("fedavg", 16, 2, learning_rate=0.1, rounds=10)
"""The training whose accuracy is told. Attacked trainings are often too short to learn anything."""
_KNOWN: dict[str, Array] = {}
"""For each training that was run in this process: which of its people were predicted correctly."""


def usefulness(source: Source, federation: Federation) -> list[Utility]:
    """The accuracy of the same network after a whole training, with the federation's defences and without any.

    The training is FedAvg: ten rounds of two epochs, on up to 2,000 people of this source dealt to the federation's
    clients at random, with its learning rate. Empty if the network names no classes (a generator, a language model).
    """
    shape, classes = models.input_of(federation.model)
    if shape != tuple(source.shape) or classes != source.classes or federation.model.factory in OTHER_TASKS:
        return []
    few = len(source.people) // 4
    sizes = {"tested": min(TESTED, few), "trained": min(TRAINED, len(source.people) - few)}
    groups = {k: source.people.take(v) for k, v in divide(source.people, sizes, keyed_rng(0, "usefulness")).items()}
    tested, trained = groups["tested"], groups["trained"]
    right: dict[str, Array | None] = {"without a defence": _right(federation, (), trained, tested)}
    if federation.defences:
        right[f"with {_named(federation)}"] = _right(federation, federation.defences, trained, tested)
    right["if everybody is given the commonest class"] = tested.y == np.bincount(trained.y).argmax()
    return [Utility(name=f"accuracy on people nobody trained on, {how}", measure=_share(r)) for how, r in right.items()]


def _named(federation: Federation) -> str:
    """The defences, with the epsilon of this training if one is proven: it is not that of the attacked one."""
    exposure = Exposure(WHOLE.rounds, WHOLE.rounds * WHOLE.local_epochs, federation.protocol.clients, "recipient")
    given = zip(federation.defences, guarantees(federation.defences, exposure), strict=True)
    proven = [f"{d.name}: epsilon {g.epsilon:.3g}" for d, g in given if g is not None]
    return ", ".join([named.text_of(federation.defences), *proven])


OTHER_TASKS = ("autoregressive", "transformer")
"""Networks that do not name a class."""


def _right(federation: Federation, defences: tuple[Defence, ...], trained: Cohort, tested: Cohort) -> Array | None:
    """Which of the tested people the trained network names correctly (n,) bool; None if the training diverged."""
    rate = federation.protocol.learning_rate or WHOLE.learning_rate
    rules = replace(WHOLE, clients=min(max(2, federation.protocol.clients), len(trained)), learning_rate=rate)
    axes = ("proximal_mu", "server", "server_rate", "controls")  # personal layers have no global model to judge
    rules = replace(rules, **{name: getattr(federation.protocol, name) for name in axes})
    # A seed of the run repeats the training. Secret noise is drawn anew, so such a training is never remembered.
    whole = Federation(federation.model, rules, federation.seed, defences, attendance=federation.attendance)
    if whole.nobody(rules.clients):
        whole = replace(whole, attendance=Attendance())
    key = None if any(d.secret for d in defences) else _digest(whole, trained, tested)
    if key is None or key not in _KNOWN:
        parties = [trained.take(np.arange(len(trained))[client :: rules.clients]) for client in range(rules.clients)]
        network = models.build(federation.model)
        try:
            final = whole.run(parties).final
            assert final is not None
            network.load_state_dict(models.to_tensors(final, network), strict=False)
        except (InputError, RunError):  # weights that are not finite
            return None
        with torch.no_grad():
            right = network(torch.tensor(tested.x)).argmax(1).numpy() == tested.y
        if key is None:
            return right
        _KNOWN[key] = right
    return _KNOWN[key]


def _digest(whole: Federation, *people: Cohort) -> str:
    parts = [repr(whole).encode(), *(np.ascontiguousarray(a).tobytes() for p in people for a in (p.x, p.y))]
    return hashlib.sha256(b"|".join(parts)).hexdigest()


def _share(right: Array | None) -> Measure:
    if right is None:
        return Unmeasured(unmeasured="diverged", needs="a training that stays finite: a smaller step, or less noise")
    found = statistics.wilson(int(right.sum()), len(right))
    return Estimate(
        metric="rate",
        value=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        method=found.method,
        unit="record",
        n=found.n,
    )
