"""Gradients of clients, computed from what they returned."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from torch import nn

from testbed import models
from testbed.attacks.inversion.controls import control_gradients, names_of
from testbed.core import Array, Batch, Exchange, Parameters, Protocol, Transcript, Unavailable
from testbed.core.defence import before
from testbed.models import fits


def no_update(view: Transcript) -> Unavailable:
    """The reason why no update of a transcript can be computed."""
    needs = "an exchange whose update the position sees, whole and finite"
    if view.exchanges and all(e.sent is None for e in view.exchanges):
        needs += (
            "; what was sent was not recorded: run the loop that sends it within `with strategy.watching(grid):`, with "
            "the strategy that testbed.record returned"
        )
    return Unavailable("no_update", needs)


def gradients(
    view: Transcript, question: Batch, names: Collection[str] | None = None
) -> Iterator[tuple[tuple[int, int], Exchange, dict[str, Array]]]:
    """Key, exchange and gradient (by parameter name) of every exchange asked about that has an answer.

    FedSGD returns the gradient. For FedAvg it is (sent - returned weights) / (learning rate x local steps), the mean
    gradient of the local steps. FedProx's pull and the steps that a straggler left out are allowed for. Of SCAFFOLD it
    is the client's control variate. Only the parameters in `names` are read, or all trained ones if none are named.
    Raises `Unavailable`, with the reason, if no exchange can be used, and `InputError` if what was sent are not
    parameters of the view's model.
    """
    asked = set(question.keys)
    sizes = {} if question.sizes is None else dict(zip(question.keys, question.sizes, strict=True))
    network, used = models.known(view.model), 0
    trained = [] if network is None else models.trained(network)
    # Known defences changed the update; what they did to a control variate is not known.
    controls = {} if question.defences else control_gradients(view, trained)
    for exchange in view.exchanges:
        sent, returned = exchange.sent, exchange.returned
        if exchange.key not in asked or returned is None or sent is None:
            continue
        if network is not None:
            fits.check(sent, network, whole=False)
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
        raise no_update(view)


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


def first_linear(parameters: Parameters, width: int, network: nn.Module | None = None) -> tuple[Array, Array]:
    """Weight (k, width) and bias (k,), or their gradients, of the first fully connected layer that reads a record.

    `network` is the model whose parameters these are, if it is known. Raises `Unavailable`, saying what arrives, if
    there is no such layer with a bias, or if the network's own first layer does not arrive: a later one reads what
    the layers before it make of a record.
    """
    names = first_linear_names(parameters, width, network)
    return parameters[names[0]], parameters[names[1]]


def first_linear_names(parameters: Parameters, width: int, network: nn.Module | None = None) -> tuple[str, str]:
    """The names of that layer's weight and bias. Raises `Unavailable` as `first_linear` does."""
    layers = [] if network is None else [name for name, p in network.named_parameters() if p.ndim > 1]
    for name, weight in parameters.items() if not layers or layers[0] in parameters else ():
        bias = name.removesuffix("weight") + "bias"
        if name.endswith("weight") and weight.ndim == 2 and weight.shape[1] == width and bias in parameters:
            return name, bias
    raise Unavailable("no_linear_input_layer", _needed(parameters, width, network))


def _needed(parameters: Parameters, width: int, network: nn.Module | None) -> str:
    """What an attack on the first layer needs, beside what it sees."""
    arrives = fits.some([f"{name} ({' x '.join(map(str, np.shape(v)))})" for name, v in parameters.items()], 4)
    needed = f"a first layer that is fully connected, reads the {width} values of a record and has a bias"
    if network is None:
        return f"{needed}; what arrives is {arrives} (of a part of a network, --model names the whole one)"
    held = fits.some([name for name, _ in network.named_parameters()], 4)
    needed = f"{needed}; what arrives is {arrives}, and the model has {held}"
    if all(name in parameters for name, _ in network.named_parameters()):
        return needed
    return (
        f"{needed} (a head or adapters are read by deep_leakage and cosine_tv, with a --model that has "
        "requires_grad_(False) on what is not sent)"
    )
