"""Gradients of clients, computed from what they returned."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from testbed import models
from testbed.attacks.inversion.controls import control_gradients, names_of
from testbed.core import Array, Batch, Exchange, Parameters, Protocol, Transcript, Unavailable
from testbed.core.defence import before


def gradients(
    view: Transcript, question: Batch, names: Collection[str] | None = None
) -> Iterator[tuple[tuple[int, int], Exchange, dict[str, Array]]]:
    """Key, exchange and gradient (by parameter name) of every exchange asked about that has an answer.

    FedSGD returns the gradient. For FedAvg it is (sent - returned weights) / (learning rate x local steps), the mean
    gradient of the local steps. FedProx's pull and the steps that a straggler left out are allowed for. Of SCAFFOLD it
    is the client's control variate. Only the parameters in `names` are read, or all trained ones if none are named.
    Raises `Unavailable`, with the reason, if no exchange can be used.
    """
    asked = set(question.keys)
    sizes = {} if question.sizes is None else dict(zip(question.keys, question.sizes, strict=True))
    trained, used = models.trained_by(view.model), 0
    # Known defences changed the update; what they did to a control variate is not known.
    controls = {} if question.defences else control_gradients(view, trained)
    for exchange in view.exchanges:
        sent, returned = exchange.sent, exchange.returned
        if exchange.key not in asked or returned is None or sent is None:
            continue
        read = [k for k in answered(sent, returned, trained) if names is None or k in names]
        if not read:
            continue
        if view.protocol.kind == "fedsgd":
            gradient = {k: np.asarray(returned[k], np.float64) for k in read}
        elif exchange.key in controls:
            gradient = {k: controls[exchange.key][k] for k in read}
        else:
            scale = moved_by(view.protocol, exchange, sizes.get(exchange.key))
            gradient = {
                k: (np.asarray(sent[k], np.float64) - np.asarray(returned[k], np.float64)) / scale for k in read
            }
        if not all(np.isfinite(g).all() for g in gradient.values()):
            continue
        used += 1
        yield exchange.key, exchange, gradient
    if not used:
        raise Unavailable("no_update", "an exchange whose update the position sees, whole and finite")


def bounds(
    exchange: Exchange, protocol: Protocol, question: Batch, gradient: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]] | None:
    """Where each number of the gradient can have been before the defences, if the attacker knows them.

    None if the defences are not known, or say nothing: then the numbers themselves are all there is.
    """
    sent, returned = exchange.sent, exchange.returned
    if not question.defences or sent is None or returned is None:
        return None
    plain = protocol.kind == "fedsgd"
    found = before(question.defences, {k: returned[k] if plain else returned[k] - sent[k] for k in gradient})
    if found is None:
        return None
    low, high = ({k: np.asarray(v, float) for k, v in part.items()} for part in found)
    if plain:
        return low, high
    # A gradient is minus the update, up to a factor that every number shares.
    update = np.concatenate([(returned[k] - sent[k]).ravel() for k in gradient]).astype(float)
    factor = float(np.concatenate([g.ravel() for g in gradient.values()]) @ update / max(update @ update, 1e-300))
    return {k: factor * v for k, v in high.items()}, {k: factor * v for k, v in low.items()}


def answered(sent: Parameters, returned: Parameters, trained: Collection[str]) -> list[str]:
    """Names of the parameters that an answer informs about: the trained ones, or if these were not sent, all sent ones.

    Empty if one of them did not come back in the shape in which it was sent. What was sent besides, such as control
    variates under a prefix, is left aside.
    """
    names = names_of(sent, list(trained))
    same = all(k in returned and np.shape(returned[k]) == np.shape(sent[k]) for k in names)
    return names if same else []


def steps(protocol: Protocol, records: int | None, exchange: Exchange | None = None) -> int:
    """The number of local steps of a FedAvg client with this many records; an incomplete last batch is left out.

    A straggler's answer (`exchange`) says how many it made (`local-steps`).
    """
    told = 0 if exchange is None else int(exchange.metrics.get("local-steps", 0))
    if told > 0:
        return told
    if records is None:
        return protocol.local_steps or 1
    size = min(protocol.batch_size or records, records)
    made = protocol.local_epochs * (records // size)
    return min(made, protocol.local_steps or made)


def moved_by(protocol: Protocol, exchange: Exchange, records: int | None) -> float:
    """By how many times the mean gradient of its local steps an answer's weights moved: rate times steps.

    Under FedProx each later step takes back a share rate x mu of what was moved before: the sum over the steps is that
    of rate (1 - rate x mu)^k.
    """
    rate, made = protocol.learning_rate or 1.0, steps(protocol, records, exchange)
    kept = 1.0 - rate * (protocol.proximal_mu or 0.0)
    return rate * sum(kept**k for k in range(made)) if kept != 1.0 else rate * made


def first_linear(parameters: Parameters, width: int) -> tuple[Array, Array]:
    """Weight (k, width) and bias (k,), or their gradients, of the first fully connected layer that reads a record.

    Raises `Unavailable` if the model has no such layer with a bias.
    """
    names = first_linear_names(parameters, width)
    return parameters[names[0]], parameters[names[1]]


def first_linear_names(parameters: Parameters, width: int) -> tuple[str, str]:
    """The names of that layer's weight and bias. Raises `Unavailable` as `first_linear` does."""
    for name, weight in parameters.items():
        bias = name.removesuffix("weight") + "bias"
        if name.endswith("weight") and weight.ndim == 2 and weight.shape[1] == width and bias in parameters:
            return name, bias
    raise Unavailable("no_linear_input_layer", "a model whose first layer is fully connected and has a bias")
