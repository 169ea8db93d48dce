"""Where the attacker's own gradient is the same for every record, an attack says so and claims nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from testbed import models
from testbed.attacks.own_gradient import CONSTANT, NOT_FINITE, ZERO, says_nothing
from testbed.attacks.registry import find
from testbed.core import Batch, Classes, Cohort, Exchange, ModelSpec, Protocol, Records, Threat, Transcript, Unavailable

WIDTH = 6


class Detached(nn.Sequential):
    """A network whose output does not lead back to its parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class Constant(nn.Sequential):
    """A network that says the same of everybody."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 0)


class Unused(nn.Module):
    """A network with a second head that the loss does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.other, self.last = nn.Linear(WIDTH, 8), nn.Linear(8, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).tanh())


def never_active() -> nn.Module:
    network = layers(3)
    with torch.no_grad():
        network[0].bias.fill_(-100.0)
    return network


def layers(outputs: int, *last: nn.Module, kind: type[nn.Sequential] = nn.Sequential) -> nn.Sequential:
    return kind(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, outputs), *last)


SILENT: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "one sigmoid output": (lambda: layers(1, nn.Sigmoid()), "zero_own_gradient", 1),
    "one output": (lambda: layers(1), "zero_own_gradient", 1),
    "output detached": (lambda: layers(3, kind=Detached), "zero_own_gradient", 3),
    "output constant": (lambda: layers(3, kind=Constant), "constant_own_gradient", 3),
    "no unit active": (never_active, "constant_own_gradient", 3),
    "not a number": (lambda: layers(3, NotANumber()), "own_gradient_not_finite", 3),
}


class NotANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0 * 0


MATCHING: dict[str, dict[str, Any]] = {
    "cosine_tv": {"iterations": 3},
    "deep_leakage": {"iterations": 3},
    "see_through": {"iterations": 3, "seeds": 1},
    "tabular_inversion": {"iterations": 3, "restarts": 1},
    "fedavg_unrolling": {"iterations": 3},
}
KNOWS = frozenset({"architecture", "auxiliary", "batch_size", "hyper_parameters", "labels", "target_records"})


def seen(factory: Callable[[], nn.Module], kind: str = "fedsgd") -> Transcript:
    """Two rounds of one client, whose update is drawn at random: whatever it was trained with, it is not zero."""
    name = f"{__name__}:{id(factory)}"
    models.register(name, factory)
    spec = ModelSpec(name)
    sent = models.get_parameters(models.build(spec))
    rng = np.random.default_rng(0)
    returned = {k: (v * (kind != "fedsgd") + rng.normal(0, 0.1, v.shape)).astype(np.float32) for k, v in sent.items()}
    protocol = Protocol(kind, 2, learning_rate=0.1, rounds=2, clients=1)  # type: ignore[arg-type]
    exchanges = tuple(Exchange(r, 0, sent, returned) for r in (1, 2))
    return Transcript(exchanges, spec, protocol, final=sent)


def people(n: int, classes: int) -> Cohort:
    rng = np.random.default_rng(1)
    x = rng.uniform(size=(n, WIDTH)).astype(np.float32)
    return Cohort(x, rng.integers(0, classes, n), np.arange(n).astype(str))


def asked(name: str, factory: Callable[[], nn.Module], classes: int, params: dict[str, Any]) -> Any:
    attack = find(name)
    question = Batch(((1, 0),), (WIDTH,), classes, (2,), (np.zeros(2, np.int64),))
    view = seen(factory, "fedavg" if name == "fedavg_unrolling" else "fedsgd")
    return attack.run(view, question, people(20, classes), 0, Threat("server", False, KNOWS), params)


@pytest.mark.parametrize("name", MATCHING)
@pytest.mark.parametrize("model", SILENT)
def test_no_record_is_claimed_where_no_record_could_be_found(name: str, model: str) -> None:
    factory, code, classes = SILENT[model]
    with pytest.raises(Unavailable) as why:
        asked(name, factory, classes, MATCHING[name])
    assert why.value.code == code
    assert "own gradient" in why.value.needs


@pytest.mark.parametrize("name", MATCHING)
@pytest.mark.parametrize("factory", [lambda: layers(3), lambda: layers(2, nn.Sigmoid()), Unused])
def test_a_gradient_that_depends_on_the_record_is_searched(name: str, factory: Callable[[], nn.Module]) -> None:
    classes = 2 if factory is not Unused and isinstance(factory()[-1], nn.Sigmoid) else 3
    assert asked(name, factory, classes, MATCHING[name]).batches[1, 0].shape == (2, WIDTH)


@pytest.mark.parametrize("name", ["update_product", "update_cosine", "client_loss", "loss_threshold", "global_models"])
@pytest.mark.parametrize("model", ["one sigmoid output", "one output"])
def test_no_score_is_given_where_all_records_score_alike(name: str, model: str) -> None:
    factory, code, classes = SILENT[model]
    asker = find(name)
    with pytest.raises(Unavailable) as why:
        asker.run(seen(factory, "fedavg"), Records(people(9, classes)), None, 0, Threat(asker.position, False, KNOWS))
    assert why.value.code == code


def test_a_generator_is_not_trained_against_a_loss_that_is_always_zero() -> None:
    question = Classes(1, np.zeros(WIDTH, np.float32), np.ones(WIDTH, np.float32))
    with pytest.raises(Unavailable) as why:
        find("class_generator").run(
            seen(SILENT["one output"][0]), question, None, 0, Threat("client", False, KNOWS), {"steps": 1}
        )
    assert why.value.code == "zero_own_gradient"


def test_what_gradients_say_of_the_record() -> None:
    def one(*values: float) -> list[Tensor]:
        return [torch.tensor(values)]

    assert says_nothing([one(0, 0), one(0, 0)]) is ZERO
    assert says_nothing([one(1, 2), one(1, 2)]) is CONSTANT
    assert says_nothing([one(1, 2)]) is None  # of one record nothing is known of others
    assert says_nothing([one(1, 2), one(1, 2.001)]) is None
    assert says_nothing([one(0, 0), one(0, 1e-30)]) is None  # alive on some records
    assert says_nothing([one(float("nan"), 0), one(0, float("inf"))]) is NOT_FINITE
