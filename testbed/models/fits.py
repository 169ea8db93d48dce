"""Whether the arrays of a recording are a model's parameters; and if not, what was seen of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor, nn

from testbed.core import Parameters
from testbed.core.errors import InputError
from testbed.core.shown import shown

PART = (
    "If the app trains and sends a part of its network (a head, or adapters such as LoRA), the factory returns the "
    "whole network, with the weights that the app starts from, and requires_grad_(False) on what is not sent "
    "(docs/transcript.md)."
)


def some(names: Iterable[str], most: int = 6) -> str:
    """The first of these names, for a message."""
    known = list(names)
    return ", ".join(map(shown, known[:most])) + (f" and {len(known) - most} more" if len(known) > most else "") or (
        "nothing"
    )


def check(parameters: Parameters, like: nn.Module, whole: bool = True) -> None:
    """Raises `InputError` if these arrays are not parameters of the model `like`; if `whole`, all trained ones.

    Arrays of the model's names under a prefix (`control.weight`) are left aside.
    """
    state = like.state_dict(keep_vars=True)
    names = [name for name, p in like.named_parameters() if p.requires_grad]
    held = {k: v for k, v in parameters.items() if not beside(k, v, state)}
    wrong = sorted(k for k, v in held.items() if k not in state or np.shape(v) != tuple(state[k].shape))
    missing = [name for name in names if name not in held]
    if not wrong and not (missing and whole):
        return
    seen = f"The model trains {some(names)}. The recording holds {some(held)}."
    if not wrong:
        raise InputError(
            "TB-MODEL-011",
            f"The recording holds {len(names) - len(missing)} of the {len(names)} parameters that the model trains.",
            seen,
            PART,
        )
    raise InputError(
        "TB-MODEL-003",
        f"Parameters do not fit the model; the first that differs is {shown(wrong[0])}.",
        seen + _shapes(wrong[0], held, state),
        f"Name a factory whose parameters have these names and shapes (--model module:factory). {PART}",
    )


def _shapes(name: str, held: Parameters, state: Mapping[str, Tensor]) -> str:
    """A sentence on the two shapes of an array that has one of the model's names; empty for another name."""
    if name not in state:
        return ""
    sent, own = (" x ".join(map(str, shape)) or "one number" for shape in (np.shape(held[name]), state[name].shape))
    return f" In the recording {shown(name)} is {sent}, in the model {own}."


def beside(name: str, values: object, state: Mapping[str, Tensor]) -> bool:
    """Whether this is an array beside the model: one of its names under a prefix, in the same shape."""
    parts = name.split(".")
    rest = (".".join(parts[i:]) for i in range(1, len(parts)))
    return name not in state and any(k in state and tuple(state[k].shape) == np.shape(values) for k in rest)  # type: ignore[arg-type]
