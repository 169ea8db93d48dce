"""The kind of a model's outputs (logits, probabilities or a number), and outputs as probabilities."""

from __future__ import annotations

from typing import Literal

import numpy as np

from testbed.core import Array
from testbed.core.errors import InputError, UsageError
from testbed.subjects.predictors.people import ROUNDED, near_one, probabilities

Outputs = Literal["logits", "probabilities", "number"]


def check_outputs(outputs: str) -> None:
    """Raises `UsageError` for an unknown kind of outputs."""
    if outputs not in ("auto", "logits", "probabilities", "number"):
        raise UsageError(
            "TB-SUBJECT-022",
            f"There is no kind of outputs called {outputs!r}.",
            "The kind says how the model's numbers are read.",
            "Use logits, probabilities or number.",
        )


def kind_of(out: Array, outputs: str) -> Outputs:
    """The kind of these outputs (n, outputs): the one named, or if that is auto, the one they look like.

    Raises `InputError` for percentages, or for a single output within [0, 1], which may be a probability or a logit;
    and `UsageError` for an unknown kind.
    """
    check_outputs(outputs)
    if outputs == "logits" or outputs == "probabilities" or outputs == "number":
        return outputs
    if out.shape[1] > 1 and (out >= 0).all() and np.allclose(out.sum(1), 100, atol=100 * ROUNDED):
        raise InputError(
            "TB-SUBJECT-038",
            "The model's outputs sum to 100 in each row: they are percentages.",
            "Read as logits, they would mean far too much confidence, and every score would be wrong.",
            "Divide them by 100.",
        )
    within = bool((out >= 0).all() and (out <= 1).all())
    if out.shape[1] == 1 and within:
        raise InputError(
            "TB-SUBJECT-017",
            "The model's single output lies between 0 and 1 for everybody: it may be a probability or a logit.",
            "Read as the wrong one, every score would be wrong, and a leaking model could pass.",
            "Give --outputs probabilities or --outputs logits; for a model that predicts a number, --outputs number.",
        )
    return "probabilities" if within and near_one(out) else "logits"


def as_probabilities(out: Array, kind: Outputs) -> Array:
    """Outputs (n, classes) as probabilities (n, classes). A single output (n, 1) belongs to class 1 of two classes."""
    if kind == "logits" and out.shape[1] == 1:
        out = np.concatenate([np.zeros_like(out), out], 1)
    elif out.shape[1] == 1:
        out = np.concatenate([1 - out, out], 1)
    elif kind == "probabilities" and near_one(out):
        out = out / out.sum(1, keepdims=True)
    if kind == "logits":
        shifted = np.exp(out - out.max(1, keepdims=True))
        out = shifted / shifted.sum(1, keepdims=True)
    probabilities(out)
    return out
