"""Many networks trained at once are the networks trained one by one."""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from testbed.core import Array
from testbed.core.errors import UsageError
from testbed.core.executor import OnRay
from testbed.core.randomness import keyed_rng
from testbed.models import ensemble, networks
from testbed.models.ensemble import Training, train

N, FEATURES, CLASSES = 90, 16, 3
RULES = Training(epochs=3, batch_size=8, learning_rate=0.05)
HEAVY = Training(2, 8, 0.05, "sgd", 0.9, 1e-3)
ADAM = Training(2, 8, 0.01, "adam", schedule="cosine")
NO_RULES = ({"epochs": 0}, {"optimizer": "lbfgs"}, {"learning_rate": 0.0}, {"batch_size": 0}, {"schedule": "step"})


def mlp() -> nn.Module:
    return networks.mlp([FEATURES], CLASSES, [12], "tanh")


def cnn() -> nn.Module:
    return networks.cnn([1, 4, 4], CLASSES, [3, 4])


def unbiased() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, 6, bias=False), nn.Tanh(), nn.Linear(6, CLASSES)
    )


class Odd(nn.Module):
    """A network that is no sequence, with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.scale = nn.Linear(FEATURES, CLASSES), nn.Parameter(torch.ones(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.first(x)) * self.scale


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))


def data(shape: tuple[int, ...] = (FEATURES,), models: int = 5) -> tuple[Array, Array, Array]:
    rng = keyed_rng(1, "data")
    x = rng.normal(size=(N, *shape)).astype(np.float32)
    included = np.stack([rng.permutation(N) < N // 2 + i % 2 for i in range(models)])
    return x, rng.integers(0, CLASSES, N), included


@pytest.mark.parametrize(
    "rules",
    [
        RULES,
        Training(2, 8, 0.05, "sgd", 0.0, 1e-2, schedule="cosine"),
        Training(2, 8, 0.05, "sgd", 0.9, 1e-3),
        Training(2, 8, 0.01, "adam", schedule="cosine"),
    ],
)
@pytest.mark.parametrize(
    ("build", "shape", "path"),
    [
        (mlp, (FEATURES,), "matrix"),
        (unbiased, (1, FEATURES), "matrix"),
        (mlp, (FEATURES,), "vmap"),
        (cnn, (1, 4, 4), "vmap"),
        (Odd, (FEATURES,), "vmap"),
    ],
)
def test_each_path_trains_the_models_of_the_loop(
    build: Callable[[], nn.Module], shape: tuple[int, ...], path: Literal["matrix", "vmap"], rules: Training
) -> None:
    x, y, included = data(shape)
    at_once = train(build, x, y, included, rules, 7, path=path)
    singly = train(build, x, y, included, rules, 7, path="loop")
    assert at_once.outputs(x) == pytest.approx(singly.outputs(x), abs=2e-4)
    for name, values in singly.parameters.items():
        assert at_once.parameters[name].detach().numpy() == pytest.approx(values.detach().numpy(), abs=2e-4)


def test_the_loop_is_plain_training() -> None:
    """Against an optimiser, a loss and an order written out."""
    x, y, included = data(models=1)
    made = train(mlp, x, y, included, RULES, 7, path="loop")
    torch.manual_seed(int(keyed_rng(7, "weights", 0).integers(2**62)))
    network = mlp()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    rng, rows = keyed_rng(7, "order", 0), np.flatnonzero(included[0])
    for _ in range(3):
        order = rng.permutation(rows)
        for start in range(0, len(order), 8):
            part = order[start : start + 8]
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(torch.tensor(x[part])), torch.tensor(y[part])).backward()
            optimizer.step()
    assert made.outputs(x)[0] == pytest.approx(network(torch.tensor(x)).detach().numpy(), abs=1e-6)


def test_the_path_follows_from_the_network() -> None:
    assert [ensemble.path_for(b()) for b in (mlp, cnn, Odd, normalised)] == ["matrix", "vmap", "vmap", "loop"]


def test_networks_with_running_statistics_keep_their_own() -> None:
    x, y, included = data()
    made = train(normalised, x, y, included, RULES, 3)
    assert made.path == "loop"
    assert made.buffers["1.running_mean"].shape == (5, 8)
    assert made.outputs(x).shape == (5, N, CLASSES)


def test_a_model_is_the_same_whatever_is_trained_beside_it_and_however_little_memory() -> None:
    x, y, included = data()
    whole = train(mlp, x, y, included, RULES, 7)
    parts = train(mlp, x, y, included, RULES, 7, memory=2 * 4 * 5 * sum(p.numel() for p in mlp().parameters()))
    assert parts.outputs(x) == pytest.approx(whole.outputs(x), abs=1e-5)


def test_models_differ_and_learn_the_records_they_were_given() -> None:
    x, y, included = data(models=6)
    logits = train(mlp, x, y, included, Training(60, 8, 0.2), 7).outputs(x)
    right = logits.argmax(2) == y
    assert right[included].mean() > 0.95
    assert right[~included].mean() < 0.6
    assert len({o.tobytes() for o in logits}) == 6


def test_the_cache_serves_the_same_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, included = data()
    first = train(mlp, x, y, included, RULES, 7, cache=tmp_path).outputs(x)
    kept = set(tmp_path.iterdir())
    monkeypatch.setattr(ensemble, "_part", lambda *_: pytest.fail("trained again"))
    assert (train(mlp, x, y, included, RULES, 7, cache=tmp_path).outputs(x) == first).all()
    monkeypatch.undo()
    wider: Callable[[], nn.Module] = lambda: networks.mlp([FEATURES], CLASSES, [13], "tanh")  # noqa: E731
    other: list[tuple[Any, ...]] = [
        (mlp, x + 1, y, included, RULES, 7),
        (mlp, x, (y + 1) % CLASSES, included, RULES, 7),
        (mlp, x, y, ~included, RULES, 7),
        (mlp, x, y, included, Training(2, 8, 0.05), 7),
        (mlp, x, y, included, RULES, 8),
        (wider, x, y, included, RULES, 7),
    ]
    for number, arguments in enumerate(other, 1):
        train(*arguments, cache=tmp_path)
        assert len(set(tmp_path.iterdir())) == len(kept) + number


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    x, y, included = data()
    memory = 2 * 4 * 5 * sum(p.numel() for p in mlp().parameters())

    class StoppedError(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done >= 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(mlp, x, y, included, RULES, 7, cache=tmp_path, memory=memory, progress=stop)
    told: list[int] = []
    made = train(
        mlp, x, y, included, RULES, 7, cache=tmp_path, memory=memory, progress=lambda done, _: told.append(done)
    )
    assert told == [4, 5]
    assert len(list(tmp_path.iterdir())) == 3
    assert made.outputs(x) == pytest.approx(train(mlp, x, y, included, RULES, 7).outputs(x), abs=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"optimizer": "lbfgs"}, {"learning_rate": 0.0}, {"batch_size": 0}, {"schedule": "step"}]
)
def test_rules_that_train_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="TB-TRAINING-001"):
        Training(**wrong)


def test_one_output_is_the_second_class() -> None:
    one = torch.tensor([[0.3], [-2.0]])
    two = torch.cat([torch.zeros(2, 1), one], 1)
    y = torch.tensor([1, 0])
    expected = nn.functional.cross_entropy(two, y, reduction="none")
    assert ensemble.losses(one, y, "logits") == pytest.approx(expected)
    assert ensemble.losses(one.sigmoid(), y, "probabilities").numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert ensemble.losses(two.softmax(1), y, "probabilities").numpy() == pytest.approx(expected.numpy(), abs=1e-6)


class Backwards:
    """Jobs done last to first, as a cluster may."""

    workers = 2

    def __call__(self, work: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number in reversed(range(len(jobs))):
            yield number, work(shared, jobs[number])


def test_parts_that_are_done_side_by_side_come_back_in_order(tmp_path: Path) -> None:
    x, y, included = data()
    told: list[int] = []
    kept = tmp_path / "models"
    made = train(
        mlp, x, y, included, RULES, 7, cache=kept, spread=Backwards(), progress=lambda done, _: told.append(done)
    )
    assert told == [2, 5]
    assert len(list(kept.iterdir())) == 2
    assert made.outputs(x) == pytest.approx(train(mlp, x, y, included, RULES, 7).outputs(x), abs=1e-5)


RAY = """
import numpy as np
from pathlib import Path
from testbed.models import networks
from testbed.models.ensemble import Training, train
from testbed.core.executor import IN_TURN, OnRay

rng = np.random.default_rng(0)
x, y = rng.normal(size=(40, 6)).astype("float32"), rng.integers(0, 3, 40)
included = rng.random((5, 40)) < 0.5
made = [
    train(lambda: networks.mlp([6], 3, [8], "tanh"), x, y, included, Training(3, 8, 0.1), 7, cache=kept, spread=spread)
    for spread, kept in ((OnRay("local"), Path("models")), (IN_TURN, None))
]
print(len(list(Path("models").iterdir())), np.abs(made[0].outputs(x) - made[1].outputs(x)).max() < 1e-5)
"""


@pytest.mark.slow
def test_ray_trains_the_same_models(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", RAY], cwd=tmp_path, capture_output=True, text=True, check=True)
    parts, same = done.stdout.split()
    assert int(parts) == min(5, os.cpu_count() or 1)
    assert same == "True"


def test_a_port_where_nobody_listens_is_told_at_once() -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UsageError, match="TB-TRAINING-002"):
        assert OnRay(address).workers


def test_a_cluster_that_does_not_answer_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def refused(*_: object, **__: object) -> None:
        raise ConnectionError("127.0.0.1:1")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(UsageError, match="TB-TRAINING-002"):
        _ = OnRay("127.0.0.1:1").workers


def one_relu() -> nn.Module:
    relu = nn.ReLU()
    return nn.Sequential(nn.Linear(FEATURES, 16), relu, nn.Linear(16, 16), relu, nn.Linear(16, CLASSES))


def one_layer() -> nn.Module:
    tied = nn.Linear(FEATURES, FEATURES)
    return nn.Sequential(tied, nn.Tanh(), tied, nn.Linear(FEATURES, CLASSES))


class Residual(nn.Sequential):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self[1](input + torch.tanh(self[0](input)))


def residual() -> nn.Module:
    return Residual(nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, CLASSES))


def normed() -> nn.Module:
    weight_norm = torch.nn.utils.parametrizations.weight_norm
    return nn.Sequential(weight_norm(nn.Linear(FEATURES, 8)), nn.ReLU(), nn.Linear(8, CLASSES))


def half_frozen() -> nn.Module:
    network = mlp()
    next(m for m in network.children() if isinstance(m, nn.Linear)).requires_grad_(False)
    return network


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.inner(x[:, :, None])[0][:, -1])


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (one_relu, "matrix"),
        (one_layer, "loop"),
        (residual, "vmap"),
        (normed, "loop"),
        (half_frozen, "vmap"),
        (Recurrent, "loop"),
    ],
)
def test_unusual_modules_are_trained_as_they_are(build: Callable[[], nn.Module], path: str) -> None:
    x, y, included = data()
    made = train(build, x, y, included, RULES, 7)
    assert made.path == path
    assert made.outputs(x) == pytest.approx(train(build, x, y, included, RULES, 7, path="loop").outputs(x), abs=2e-4)


def test_what_is_frozen_stays() -> None:
    x, y, included = data()
    first = half_frozen()
    kept = {k: p.detach().clone() for k, p in first.named_parameters() if not p.requires_grad}
    made = train(lambda: copy.deepcopy(first), x, y, included, RULES, 7)
    assert kept
    for name, values in kept.items():
        assert (made.parameters[name] == values).all()


def test_dropout_is_drawn_by_the_seed_and_a_damaged_cache_is_trained_anew(tmp_path: Path) -> None:
    def noisy() -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, CLASSES))

    x, y, included = data()
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        made.append(train(noisy, x, y, included, RULES, 7, cache=tmp_path).outputs(x))
        for file in tmp_path.iterdir():
            file.write_bytes(b"damaged")
    assert (made[0] == made[1]).all()
