"""What shows inside a network about each record: the gradient of its loss in each layer, and the raw outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from testbed.core import Array
from testbed.models.stacked import Outputs, losses

LAYERS = 64
"""Layers whose gradients are read at most: the last ones."""
AT_ONCE, MOST = 2**25, 256
"""Values of gradients, and records, that are computed at once, at most."""
LARGEST = 5_000_000
"""Parameters of a network from which no gradients are computed: one a record would take hours."""
TINY = 1e-12


def signals(
    network: nn.Module,
    x: Array,
    y: Array,
    outputs: Outputs,
    state: Mapping[str, Tensor] | None = None,
    read: Callable[[Any], Tensor] = lambda out: out,
) -> Array:
    """What shows inside a network about records `x` (n, ...) of classes `y` (n,): float64 (n, signals).

    Signals are the output of the true class, the largest other output, the logarithm of their summed exponentials, and
    for each layer that has parameters the logarithm of the norm of the loss's gradient. A network that cannot be
    differentiated, or that has more than `LARGEST` parameters, has the first three alone. `state` replaces the
    network's parameters and buffers; `read` finds the outputs (n, outputs) in what the network returns. The network is
    in evaluation mode, and its errors pass through.
    """
    network.eval()
    own = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    values = {k: v.detach() for k, v in {**own, **(state or {})}.items()}
    kind = next((v.dtype for v in values.values() if v.is_floating_point()), torch.float32)
    learnt = [k for k, _ in network.named_parameters() if values[k].is_floating_point()]
    if sum(values[k].numel() for k in learnt) > LARGEST:
        learnt = []
    records, labels = torch.tensor(x, dtype=kind), torch.tensor(y, dtype=torch.int64)
    size = max(1, sum(values[k].numel() for k in learnt))
    parts = [
        _of_part(network, values, learnt, some, of, outputs, read, not state)
        for some, of in _parts(records, labels, min(MOST, max(1, AT_ONCE // size)))
    ]
    made: Array = torch.cat(parts).double().numpy()
    return made


def _parts(records: Tensor, labels: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(records.split(length), labels.split(length), strict=True)


def _of_part(
    network: nn.Module,
    values: dict[str, Tensor],
    learnt: list[str],
    records: Tensor,
    labels: Tensor,
    outputs: Outputs,
    read: Callable[[Any], Tensor],
    given: bool,
) -> Tensor:
    """The signals (n, signals) of some records. Its parameters are those of `signals`, in tensors.

    `given` says that the values are the network's own; compiled code takes no others.
    """
    rest = {k: v for k, v in values.items() if k not in learnt}

    def loss(parameters: dict[str, Tensor], record: Tensor, label: Tensor) -> Tensor:
        out = read(torch.func.functional_call(network, {**parameters, **rest}, (record[None],)))
        return losses(out.reshape(1, -1), label[None], outputs)[0]

    with torch.no_grad():
        said = network(records) if given else torch.func.functional_call(network, values, (records,))
    out = read(said).reshape(len(records), -1)
    own = {k: values[k] for k in learnt}
    layers: dict[str, Tensor] = {}
    for name, gradient in _gradients(loss, own, records, labels).items():
        layer = name.rpartition(".")[0]
        layers[layer] = layers.get(layer, torch.zeros(len(records))) + gradient.flatten(1).square().sum(1)
    norms = [torch.log(squared.sqrt() + TINY)[:, None] for squared in list(layers.values())[-LAYERS:]]
    return torch.cat([_of_outputs(out, labels), *norms], 1)


def _gradients(
    loss: Callable[..., Tensor], own: dict[str, Tensor], records: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """The gradient of each record's loss for each parameter, (n, ...); nothing if there is none."""
    if not own:
        return {}
    each = torch.func.grad(loss)
    try:
        return cast(dict[str, Tensor], torch.func.vmap(each, in_dims=(None, 0, 0))(own, records, labels))
    except RuntimeError:  # a layer without a batching rule: one record after the other
        try:
            singly = [each(own, record, label) for record, label in zip(records, labels, strict=True)]
        except RuntimeError:  # compiled code, or an output without a gradient
            return {}
    return {k: torch.stack([one[k] for one in singly]) for k in own}


def _of_outputs(out: Tensor, labels: Tensor) -> Tensor:
    """The true output, the largest other one, and the logarithm of summed exponentials (n, 3)."""
    out = torch.cat([torch.zeros_like(out), out], 1) if out.shape[1] == 1 else out
    true = out.gather(1, labels[:, None])
    others = out.scatter(1, labels[:, None], float("-inf")).max(1, keepdim=True).values
    return torch.cat([true, others, out.logsumexp(1, keepdim=True)], 1)
