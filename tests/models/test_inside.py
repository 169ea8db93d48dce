"""What shows inside a network is what a loop over records computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from testbed.models.inside import TINY, signals


class Named(nn.Module):
    """A module that returns an object with logits, and steps over its words one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.RNN(1, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.words(x[..., None])[0].mean(1))


NETWORKS: dict[str, Any] = {
    "linear layers": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)),
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
    "one output": lambda: nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)),
    "without a batching rule": Named,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_signals_are_those_of_each_record_alone(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 6)).astype(np.float32), rng.integers(0, 2, 7)
    made = signals(network, x, y, "logits")
    network.eval()
    owners = list(dict.fromkeys(n.rpartition(".")[0] for n, _ in network.named_parameters()))
    for row, (record, label) in enumerate(zip(x, y, strict=True)):
        out = network(torch.tensor(record[None]))
        out = torch.cat([torch.zeros_like(out), out], 1) if out.shape[1] == 1 else out
        network.zero_grad()
        nn.functional.cross_entropy(out, torch.tensor([label])).backward()
        lengths = dict.fromkeys(owners, 0.0)
        for named, parameter in network.named_parameters():
            assert parameter.grad is not None
            lengths[named.rpartition(".")[0]] += float(parameter.grad.square().sum())
        expected = np.log(np.sqrt(list(lengths.values())) + TINY)
        np.testing.assert_allclose(made[row, 3:], expected, atol=1e-4)
        values = out.detach().numpy()[0]
        told = [values[label], np.delete(values, label).max(), np.log(np.exp(values).sum())]
        np.testing.assert_allclose(made[row, :3], told, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_other_weights_give_other_signals_and_large_or_compiled_ones_their_outputs_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    x, y = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32), np.array([0, 1, 0, 1, 1])
    made = signals(network, x, y, "logits")
    other = {k: v + 0.1 for k, v in network.state_dict().items()}
    assert not np.allclose(signals(network, x, y, "logits", other), made)
    monkeypatch.setattr("testbed.models.inside.LARGEST", 10)
    np.testing.assert_allclose(signals(network, x, y, "logits"), made[:, :3], atol=1e-6)
    compiled = torch.jit.trace(network, torch.tensor(x))
    np.testing.assert_allclose(signals(compiled, x, y, "logits")[:, :3], made[:, :3], atol=1e-6)
