# pyright: strict
"""What the clients of a foreign app sent back: weights, gradients or differences. Misread, they hide everybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, cast, get_args

import numpy as np

from testbed.attacks.inversion.controls import names_of
from testbed.core import Array, Exchange, Transcript
from testbed.core.errors import UsageError

Answers = Literal["weights", "gradients", "differences"]
ALIKE = 0.8
"""Weights after local training have at least this cosine with the weights before it. A gradient has not."""
UNLIKE = 0.5
"""Gradients and differences have a cosine with the weights below this, and are shorter than this share of them."""
FEWEST = 8
"""The fewest numbers in an answer by which its kind can be told."""


def kind_named(text: str) -> Answers:
    """The kind of answers written as one of `weights`, `gradients`, `differences`. Raises `UsageError` for others."""
    if text not in get_args(Answers):
        raise UsageError(
            "TB-REPLAY-026",
            "Clients answer with weights, gradients or differences.",
            "Another word was given.",
            "Write --answers weights (after local training), gradients, or differences (new weights minus sent ones).",
        )
    return cast(Answers, text)


def read_as(view: Transcript, answers: Answers | None) -> Transcript:
    """The transcript with its answers read as weights, gradients or differences, or as its header says if None.

    Raises `UsageError` if most answers plainly are of another kind.
    """
    if answers == "gradients":
        view = replace(view, protocol=replace(view.protocol, kind="fedsgd"))
    elif answers is not None:
        kind = "fedavg" if view.protocol.kind == "fedsgd" else view.protocol.kind
        view = replace(view, protocol=replace(view.protocol, kind=kind))
    if answers == "differences":
        view = replace(view, exchanges=tuple(map(_added, view.exchanges)))
    compared = np.array(list(_compared(view))).reshape(-1, 2)
    if not len(compared):
        return view
    cosine, length = np.median(compared, axis=0)
    if view.protocol.kind == "fedsgd" and cosine > ALIKE and 1 / 2 < length < 2:
        raise UsageError(
            "TB-REPLAY-027",
            "The answers are read as gradients, but they are weights.",
            "Most of them are nearly what was sent, as weights are after a little training. Attacks on gradients would "
            "find nobody in them.",
            "Write --answers weights, or record with Protocol('fedavg').",
        )
    if view.protocol.kind != "fedsgd" and cosine < UNLIKE and length < UNLIKE:
        raise UsageError(
            "TB-REPLAY-028",
            "The answers are read as weights, but they are not.",
            "Most of them are much shorter than the weights that were sent, and do not resemble them, as gradients and "
            "differences of weights. Attacks on weights would find nobody in them.",
            "Write --answers gradients or --answers differences (new weights minus sent ones).",
        )
    return view


def _added(exchange: Exchange) -> Exchange:
    """The exchange with the weights that the client's difference leads to."""
    sent, returned = exchange.sent, exchange.returned
    if sent is None or returned is None:
        return exchange
    own = names_of(sent, [])  # control variates come back as they are
    fits = {k for k in own if k in returned and np.shape(sent[k]) == np.shape(returned[k])}
    return replace(exchange, returned={k: np.add(sent[k], v) if k in fits else v for k, v in returned.items()})


def _compared(view: Transcript) -> Iterator[tuple[float, float]]:
    """For each answer in floating point: its cosine with what was sent, and its length as a share of that."""
    for exchange in view.exchanges:
        sent, returned = exchange.sent or {}, exchange.returned or {}
        shared = [
            (np.ravel(sent[k]), np.ravel(v))
            for k, v in returned.items()
            if k in sent and np.shape(sent[k]) == np.shape(v) and np.issubdtype(np.asarray(v).dtype, np.floating)
        ]
        if not shared:
            continue
        before: Array = np.concatenate([b for b, _ in shared]).astype(float)
        after: Array = np.concatenate([a for _, a in shared]).astype(float)
        lengths = float(np.linalg.norm(before)), float(np.linalg.norm(after))
        if len(before) >= FEWEST and min(lengths) > 0 and np.isfinite(lengths).all():
            yield float(before @ after) / (lengths[0] * lengths[1]), lengths[1] / lengths[0]
