"""What a user says of a foreign app: its network, its loss, and its records' shape and range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from testbed import models
from testbed.core import Batch, Exchange, ModelSpec, Parameters, Protocol, Transcript, Unavailable, user_code
from testbed.core.errors import InputError, UsageError
from testbed.harness.federation.answered import Answers
from testbed.models import boosters
from testbed.models.losses import SINGLE, loss_named


@dataclass(frozen=True, slots=True)
class Foreign:
    """`model` names the network's factory, `loss` what the clients minimise (cross-entropy if None). `shape` is one
    record's, and `within` the range of its values. `answers` is what the clients sent back, if the header is wrong."""

    model: str | None = None
    shape: tuple[int, ...] = ()
    loss: str | None = None
    within: tuple[float, float] | None = None
    answers: Answers | None = None

    def known_to(self, view: Transcript) -> Transcript:
        """The transcript with this model, and with the model's names for arrays that the app sent by number.

        Raises `UsageError` for a model or a loss that does not exist, or a loss without a model.
        """
        if self.model is None:
            if self.loss is None:
                return view
            raise UsageError(
                "TB-REPLAY-017",
                "A loss was given without a model.",
                "A loss belongs to the network of a foreign app; this transcript's own model has one.",
                "Give the network's factory as well: --model file.py:function.",
            )
        factory = user_code.function(
            self.model, "TB-REPLAY-004", "Write --model package.module:function; the function returns the network."
        )
        models.register(self.model, factory, None if self.loss is None else loss_named(self.loss))
        return _named(replace(view, model=ModelSpec(self.model, view.model.arguments if view.model else {})))


NATIVE = Foreign()
"""Nothing is said: the transcript is of a run of the testbed, or its arrays alone are read."""


def shape_of(text: str) -> tuple[int, ...]:
    """The shape written as `3,32,32`, as numbers. Raises `UsageError` for any other text."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            "TB-REPLAY-007", "This is not the shape of a record.", "A shape is numbers of 1 or more.", "Write 3,32,32."
        )
    return tuple(int(part) for part in parts)


def range_of(text: str) -> tuple[float, float]:
    """The range written as `-1,1`, as two numbers. Raises `UsageError` for any other text."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = np.nan, np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise UsageError(
            "TB-REPLAY-019",
            "This is not a range of values.",
            "A range is its smallest and its largest number.",
            "Write --range=-1,1 for records that are scaled to it.",
        )
    return low, high


SEVERAL = "TB-REPLAY-042"
"""The error of a model that returns several things for a record."""
MOST_RECORDS = 100_000
"""The most records of one exchange that are asked about. No attack reads so many, and a larger number may be damage."""


def used(protocol: Protocol, exchange: Exchange) -> int | None:
    """How many records a client says it used in this exchange; None if it does not say, or more than `MOST_RECORDS`.

    After local training it is the client's `num-examples`. A gradient is one batch's, and so of `batch_size` records.
    """
    told = exchange.metrics.get("num-examples")
    number = int(told) if told is not None and np.isfinite(told) and told >= 1 else None
    if number is None or not (protocol.kind == "fedavg" or protocol.batch_size is None):
        number = min((n for n in (number, protocol.batch_size) if n is not None), default=None)
    return number if number is None or number <= MOST_RECORDS else None


def question(view: Transcript, foreign: Foreign) -> Batch:
    """The question about all exchanges. A record's shape is the one given, the model's, or its first layer's.

    Raises `Unavailable` if the shape cannot be told, and `UsageError` if the model does not take it.
    """
    keys = tuple(e.key for e in view.exchanges)
    counts = [used(view.protocol, e) for e in view.exchanges]
    sizes = tuple(c for c in counts if c is not None) if None not in counts else None
    low, high = foreign.within or (0.0, 1.0)
    taken, number = shape_and_classes(view, foreign)
    return Batch(keys, taken, number, sizes, low=low, high=high)


def shape_and_classes(view: Transcript, foreign: Foreign) -> tuple[tuple[int, ...], int]:
    """A record's shape and the number of classes."""
    arguments = {} if view.model is None else view.model.arguments
    if (
        not foreign.shape
        and view.model is not None
        and ({"shape", "classes"} <= arguments.keys() or "inner" in arguments)
    ):
        return models.input_of(view.model)
    if trees := next((e.returned for e in view.exchanges if boosters.packed(e.returned)), None):
        return (boosters.read(trees).features,), 2
    known_model = view.model is not None and view.model.factory in models.FACTORIES
    sent = [e.sent for e in view.exchanges if e.sent]
    layers = [v.shape for arrays in sent for v in arrays.values() if v.ndim == 2]
    if not known_model and sent and not foreign.shape:
        _check_first(sent[0])
    if not layers and not (foreign.shape and known_model):
        raise Unavailable(
            "no_linear_input_layer",
            "the network (--model file.py:function) and the shape of its records (--shape): no fully connected layer "
            "arrives that shows it",
        )
    taken = foreign.shape or (int(layers[0][1]),)
    if foreign.loss in SINGLE:
        _classes(view.model, taken)
        return taken, 2
    return taken, _classes(view.model, taken) if known_model else int(layers[-1][0])


def check_records(view: Transcript, shape: tuple[int, ...]) -> None:
    """Raises `InputError` for records of a shape that the federation's model does not take, as far as it is known."""
    trees = next((e.returned for e in view.exchanges if boosters.packed(e.returned)), None)
    if trees is not None:
        try:
            fits = int(np.prod(shape)) == boosters.read(trees).features
        except Unavailable:  # the attack will say what these trees lack
            return
    elif view.model is not None and view.model.factory in models.FACTORIES:
        try:
            fits = _classes(view.model, shape) > 0
        except UsageError as why:
            if why.id == SEVERAL:  # not a matter of shapes
                raise
            fits = False
    else:
        return
    if not fits:
        raise InputError(
            "TB-REPLAY-024",
            f"The model does not take the records of the files, which are {' x '.join(map(str, shape))} values each.",
            "A column may be missing or too many, or they are not prepared as the clients prepare theirs.",
            "Save them as the model is fed them.",
        )


def _check_first(sent: Parameters) -> None:
    """Raises `Unavailable` where the first matrix among arrays without a model is not the layer that records enter."""
    if all(name.isdecimal() for name in sent):
        raise Unavailable("numbered_arrays", "the network whose arrays these are (--model file.py:function)")
    kinds = [np.ndim(v) for v in sent.values()]
    first = next((i for i, n in enumerate(kinds) if n == 2), len(kinds))
    if any(n > 2 for n in kinds[:first]):
        raise Unavailable(
            "convolution_first", "the network (--model file.py:function): a convolution comes before its linear layers"
        )


def _named(view: Transcript) -> Transcript:
    """The transcript with the model's names for its arrays, if the app sent them by number."""
    assert view.model is not None
    network = models.build(view.model)

    def named(parameters: Parameters | None) -> Parameters | None:
        return None if parameters is None else models.by_name(parameters, network)

    exchanges = (replace(e, sent=named(e.sent), returned=named(e.returned)) for e in view.exchanges)
    asked = (replace(e, sent=named(e.sent)) for e in view.asked)
    return replace(view, exchanges=tuple(exchanges), final=named(view.final), asked=tuple(asked))


def _classes(spec: ModelSpec | None, shape: Sequence[int]) -> int:
    """The number of values that the model gives for a record. Raises `UsageError` if it cannot take this shape."""
    assert spec is not None
    network = models.build(spec)
    for kind in (torch.float32, torch.int64):  # records, or numbers of words
        try:
            with torch.no_grad():
                made = network(torch.zeros(1, *shape, dtype=kind))
        except Exception:  # a user's own model may raise any error
            continue
        if isinstance(made, torch.Tensor) and made.ndim >= 1:
            return int(made.shape[-1]) if made.ndim >= 2 else 1
        raise UsageError(
            SEVERAL,
            f"The model returns a {type(made).__name__} for a record, and not a tensor (records, values).",
            "The attacker computes the loss that clients minimise from one tensor of outputs and the classes.",
            "Name a factory that wraps the model and returns that tensor alone. A loss of your own is named by --loss "
            "file.py:function, a function of (outputs, y).",
        )
    raise UsageError(
        "TB-REPLAY-006",
        "The model cannot take a record of this shape.",
        f"It was given a record of {' x '.join(map(str, shape))}.",
        "Give the shape of the records that the model takes, such as --shape 3,32,32.",
    )
