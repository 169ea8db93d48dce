"""Losses with which a foreign app may train, by name: one number for each record, from the model's outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor
from torch.nn import functional

from testbed.core import user_code
from testbed.core.errors import UsageError, perhaps

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A function of outputs (n, ...) and classes or values (n, ...) that gives each record's loss (n,)."""


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """Of outputs before a softmax (n, classes) and a class each."""
    return functional.cross_entropy(outputs, y, reduction="none")


def nll(outputs: Tensor, y: Tensor) -> Tensor:
    """Of outputs after a log-softmax (n, classes) and a class each."""
    return functional.nll_loss(outputs, y, reduction="none")


def bce_with_logits(outputs: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy of outputs before a sigmoid (n, 1) or (n,), and a class of 0 or 1 each."""
    return functional.binary_cross_entropy_with_logits(outputs, _like(y, outputs), reduction="none").flatten(1).mean(1)


def bce(outputs: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy of outputs after a sigmoid (n, 1) or (n,), and a class of 0 or 1 each."""
    return functional.binary_cross_entropy(outputs, _like(y, outputs), reduction="none").flatten(1).mean(1)


def mse(outputs: Tensor, y: Tensor) -> Tensor:
    """Squared error of a predicted number (n, 1) or (n,), and a value each."""
    return (outputs - _like(y, outputs)).square().flatten(1).mean(1)


LOSSES: dict[str, Loss] = {f.__name__: f for f in (cross_entropy, nll, bce_with_logits, bce, mse)}
SINGLE = ("bce_with_logits", "bce", "mse")
"""Losses of a model with one output, whose classes are 0 and 1."""


def loss_named(name: str) -> Loss:
    """The loss of this name, or a user's own, `module:function` or `file.py:function`, of (outputs, y).

    Raises `UsageError` if there is none, and when an own one is called that does not give one number for each record.
    """
    if name in LOSSES:
        return LOSSES[name]
    if not user_code.named(name):
        raise UsageError(
            "TB-MODEL-008",
            f"There is no loss called {name!r}.",
            "The attacker computes gradients of the loss with which the clients train.",
            f"{perhaps(name, LOSSES)} Or name your own function of (outputs, y): file.py:function.",
        )
    function = user_code.function(name, "TB-MODEL-009", "Write --loss file.py:function; it takes (outputs, y).")

    def own(outputs: Tensor, y: Tensor) -> Tensor:
        made: Any = function(outputs, y)
        if not isinstance(made, Tensor) or made.shape != outputs.shape[:1]:
            raise UsageError(
                "TB-MODEL-010",
                f"The loss {name!r} does not give one number for each record.",
                "Attacks compare the losses of single records.",
                'Return a tensor of shape (records,), such as torch\'s losses with reduction="none".',
            )
        return made

    return own


def _like(y: Tensor, outputs: Tensor) -> Tensor:
    return y.reshape(len(outputs), -1).to(outputs.dtype).expand_as(outputs.flatten(1)).reshape(outputs.shape)
