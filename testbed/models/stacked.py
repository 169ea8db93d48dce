"""Stacked fully connected networks: their layers, losses, and a gradient step that stores no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

Outputs = Literal["logits", "probabilities", "number"]
SMALLEST = 1e-12
"""Smaller probabilities count as this one, so that no loss is infinite."""


def losses(answers: Tensor, y: Tensor, outputs: Outputs) -> Tensor:
    """Losses (...) of answers (..., outputs): the cross-entropy, or the squared error if outputs are a number.

    A single output belongs to class 1 of two classes; its axis may be missing.
    """
    answers = answers[..., None] if answers.ndim == y.ndim else answers
    if outputs == "number":
        return (answers[..., 0] - y) ** 2
    if outputs == "logits":
        two = torch.cat([torch.zeros_like(answers), answers], -1) if answers.shape[-1] == 1 else answers
        logs = two.log_softmax(-1)
    else:
        two = torch.cat([1 - answers, answers], -1) if answers.shape[-1] == 1 else answers
        logs = two.clamp(SMALLEST, 1).log()
    return -logs.gather(-1, y[..., None])[..., 0]


def linear(x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer of each model: records (models, n, in) by weights (models, out, in), plus bias (models, out)."""
    return torch.bmm(x, weights.mT) if bias is None else torch.baddbmm(bias[:, None], x, weights.mT)


def matrix(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Tensor,
    product: Callable[[Tensor, Tensor, Tensor | None], Tensor] = linear,
) -> Tensor:
    """Outputs (models, n, outputs) of stacked networks for records (models, n, features), by one product a layer."""
    # By position: `named_children` names a layer that stands in two positions only once.
    for place, layer in zip(_places(network), cast(nn.Sequential, network), strict=True):
        if isinstance(layer, nn.Linear):
            x = product(x, parameters[f"{place}.weight"], parameters.get(f"{place}.bias"))
        elif not isinstance(layer, nn.Flatten):
            x = layer(x)
    return x


def _places(network: nn.Module) -> list[str]:
    """The names of a sequence's layers, repeated layers included."""
    return [name for name, _ in network.named_modules(remove_duplicate=False) if name]


class Descent(torch.autograd.Function):
    """Stacked linear layers that take their gradient step during the backward pass.

    The fourth argument is a number that requires a gradient, so that the backward pass also reaches the first layer.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights: Tensor, bias: Tensor | None, _: Tensor, rate: float, decay: float
    ) -> Tensor:
        ctx.save_for_backward(x, weights, bias)
        ctx.inner, ctx.rate, ctx.decay = x.requires_grad, rate, decay
        return linear(x, weights, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        x, weights, bias = ctx.saved_tensors
        before = torch.bmm(grad, weights) if ctx.inner else None
        weights.mT.baddbmm_(x.mT, grad, beta=1 - ctx.rate * ctx.decay, alpha=-ctx.rate)
        if bias is not None:
            bias.mul_(1 - ctx.rate * ctx.decay).sub_(grad.sum(1), alpha=ctx.rate)
        return before, None, None, torch.zeros_like(grad[0, 0, 0]), None, None
