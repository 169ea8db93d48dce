# pyright: strict
"""Views: what an attacker sees of a federation, a release or a model; and what a malicious one does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from testbed.core.evidence import Unavailable
from testbed.core.people import Array, Cohort, Table
from testbed.core.threat import Position

Parameters: TypeAlias = Mapping[str, Array]

Status = Literal["ok", "error", "dropped", "refused"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network, given by the name of its factory and the arguments, so that it can be made again from a transcript."""

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Protocol:
    """The rules of a federation's training, known to every party.

    `proximal_mu` is FedProx's pull: each local step also moves by -rate x mu (weights - weights sent). With a `server`
    called adam, the clients' mean is a step of Adam at `server_rate`, which changes the next model and not what clients
    send. With `controls` (SCAFFOLD) model and control variate travel both ways. The last `personal` layers of the model
    stay with each client, and no message holds them. Fields that are None play no part.
    """

    kind: Literal["fedsgd", "fedavg", "unknown"] = "unknown"
    batch_size: int | None = None
    local_epochs: int = 1
    local_steps: int | None = None
    learning_rate: float | None = None
    optimizer: str = "sgd"
    momentum: float = 0.0
    rounds: int = 0
    clients: int = 0
    proximal_mu: float | None = None
    server: Literal["adam"] | None = None
    server_rate: float | None = None
    controls: bool | None = None
    personal: int | None = None

    def told(self) -> dict[str, Any]:
        """The fields by name, as a file holds them: rules that play no part are left out."""
        return {k: v for k, v in asdict(self).items() if k not in FURTHER or v is not None}

    def plain(self) -> Protocol:
        """The same training by FedSGD or FedAvg alone."""
        return replace(self, **dict.fromkeys(FURTHER))


FURTHER = ("proximal_mu", "server", "server_rate", "controls", "personal")
"""Fields of a protocol that change FedSGD or FedAvg, unless they are None."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message to a client and the client's answer. A part that the position cannot see is None."""

    round: int
    client: int
    sent: Parameters | None
    returned: Parameters | None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    status: Status = "ok"

    @property
    def key(self) -> tuple[int, int]:
        return self.round, self.client


@dataclass(frozen=True, slots=True)
class Asked(Exchange):
    """A message that trains nothing, and its answer: an evaluation (`evaluate`) or a query (`query`, `query.name`)."""

    kind: str = "evaluate"


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a position saw of a federation, round by round.

    `final` is the last global model. If an attack acted while the federation ran, `act` is its name, and `memory` holds
    what it needs later to read the traces of its own actions. If the recording was cut off, `cut_after` is its last
    whole round. `asked` are messages that train nothing.
    """

    exchanges: tuple[Exchange, ...]
    model: ModelSpec | None
    protocol: Protocol
    position: Position = "server"
    final: Parameters | None = None
    act: str | None = None
    memory: Mapping[str, Array] = field(default_factory=dict[str, Array])
    cut_after: int | None = None
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """A published synthetic table."""

    table: Table


@dataclass(frozen=True, slots=True)
class Predictor:
    """A released model: `ask` maps n records to class probabilities (n, classes)."""

    ask: Callable[[Cohort], Array]
    classes: int
    ANSWERS: ClassVar[tuple[str, ...]] = ("ask",)
    """The functions of records by which such a model answers."""

    @property
    def held(self) -> int:
        """How many of a record's last values are the truth about it: none for classes, which stand beside records."""
        return 0

    def labels_alone(self) -> Predictor:
        """The model as an attacker sees it who gets the predicted class only: that class has probability 1."""
        return Predictor(lambda people: np.eye(self.classes)[np.asarray(self.ask(people)).argmax(1)], self.classes)

    def within(self, budget: int) -> Predictor:
        """The model with a limit: it answers about `budget` records in all, and raises `Unavailable` for more."""
        return replace(self, ask=_spending(budget)(self.ask))


@dataclass(frozen=True, slots=True)
class Opened(Predictor):
    """A released network of which the weights are released, too: `signals` maps n records to what shows inside it.

    (n, signals) float64, see `testbed.models.inside`: a white-box attacker sees it, and nobody with less access.
    """

    signals: Callable[[Cohort], Array]
    ANSWERS: ClassVar[tuple[str, ...]] = ("ask", "signals")

    def closed(self) -> Predictor:
        """The model as it looks to somebody who may only ask it."""
        return Predictor(self.ask, self.classes)

    def within(self, budget: int) -> Opened:
        """The model with a limit: `budget` records in all, in whichever form it is asked."""
        limited = _spending(budget)
        return replace(self, ask=limited(self.ask), signals=limited(self.signals))


@dataclass(frozen=True, slots=True)
class Regressor(Predictor):
    """A released model that predicts a number. The true number is the last value of each record.

    `ask` gives a likelihood of the truth and its rest (n, 2), class 1 being the truth: attacks that compare
    probabilities need no other form (`testbed.subjects.predictors.regression`). `errors` gives prediction minus truth
    (n,), with its sign, on the scale of that last value. `numbers` maps inputs (n, features) to predictions (n,) as the
    model writes them; the models that an attacker trains have none.
    """

    errors: Callable[[Cohort], Array]
    numbers: Callable[[Array], Array] | None = None
    ANSWERS: ClassVar[tuple[str, ...]] = ("ask", "errors")

    @property
    def held(self) -> int:
        return 1

    def within(self, budget: int) -> Regressor:
        """The model with a limit: `budget` records in all, in whichever form it is asked."""
        limited = _spending(budget)
        numbers = self.numbers and limited(self.numbers)
        return replace(self, ask=limited(self.ask), errors=limited(self.errors), numbers=numbers)


@dataclass(frozen=True, slots=True)
class Survivor(Predictor):
    """A released model of the time to an event. The last two values of each record are a time, and 1 or 0.

    With 1 the event happened at this time. With 0 the person was seen without the event until then (censored). `curves`
    maps n records to the probabilities (n, k) of no event until each of `times` (k,), in increasing order. `ask` gives
    a likelihood of the outcome and its rest (n, 2), class 1 being the outcome, as of a `Regressor`
    (`testbed.subjects.predictors.survival`).
    """

    curves: Callable[[Cohort], Array]
    times: Array
    ANSWERS: ClassVar[tuple[str, ...]] = ("ask", "curves")

    @property
    def held(self) -> int:
        return 2

    def within(self, budget: int) -> Survivor:
        """The model with a limit: `budget` records in all, in whichever form it is asked."""
        limited = _spending(budget)
        return replace(self, ask=limited(self.ask), curves=limited(self.curves))


@dataclass(frozen=True, slots=True)
class Joint(Predictor):
    """A released model of several labels at once. The last values of each record are the numbers of its true classes.

    `each` maps n records to the probabilities (n, labels) of their true classes, `said` inputs (n, features) to all
    probabilities. `ask` gives one likelihood of all labels and its rest (n, 2), class 1 being the truth
    (`testbed.subjects.predictors.several`).
    """

    each: Callable[[Cohort], Array]
    said: Callable[[Array], Array]
    labels: int
    ANSWERS: ClassVar[tuple[str, ...]] = ("ask", "each")

    @property
    def held(self) -> int:
        return self.labels

    def within(self, budget: int) -> Joint:
        """The model with a limit: `budget` records in all, in whichever form it is asked."""
        limited = _spending(budget)
        return replace(self, ask=limited(self.ask), each=limited(self.each), said=limited(self.said))


def _spending(budget: int) -> Callable[[Callable[[Any], Array]], Callable[[Any], Array]]:
    """Limits several functions of n records or inputs to `budget` of them in all. Beyond it `Unavailable` is raised."""
    left = budget

    def limited(function: Callable[[Any], Array]) -> Callable[[Any], Array]:
        def ask(asked: Any) -> Array:
            nonlocal left
            if len(asked) > left:
                raise Unavailable("budget_spent", f"a larger budget of queries than {budget}")
            left -= len(asked)
            return function(asked)

        return ask

    return limited


View: TypeAlias = Transcript | Release | Predictor


@dataclass(frozen=True, slots=True)
class Act:
    """The actions of a malicious server or client while the federation runs.

    A server: `model` replaces the architecture that clients train. `craft(round, client, parameters)` gives what is
    sent to one client. `observe(round, client, parameters)` receives what each client returned. `unmask` asks the
    clients of a secure aggregation for all shares of everybody. `probe(round, client, parameters)` gives what is sent
    to one client for evaluation.

    A client: `answer(round, client, sent, returned)` gives what the clients in `nodes` return, after any defence.

    `remember` is stored in the transcript.
    """

    model: ModelSpec | None = None
    craft: Callable[[int, int, Parameters], Parameters] | None = None
    remember: Mapping[str, Array] = field(default_factory=dict[str, Array])
    observe: Callable[[int, int, Parameters], None] | None = None
    answer: Callable[[int, int, Parameters, Parameters], Parameters] | None = None
    nodes: tuple[int, ...] = ()
    unmask: bool = False
    probe: Callable[[int, int, Parameters], Parameters] | None = None


Recipe: TypeAlias = Callable[..., View]
"""`(people, rng, act=None) -> View`: the pipeline under test, with its configuration fixed.

For a federation, `people` is a sequence of cohorts, one for each client.
"""
