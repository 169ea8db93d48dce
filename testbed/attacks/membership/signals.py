"""Signals: what a server learns about a record from each exchange, as tensors (rounds, clients, records).

Every passive membership attack on a federation reduces these tensors to scores. Each is computed at its first use for a
transcript and a question, and then shared by all attacks.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.attacks.heads import Heads
from testbed.attacks.inversion.controls import control_gradients
from testbed.attacks.inversion.updates import answered, moved_by, no_update
from testbed.attacks.own_gradient import ZERO, gradient, says_nothing
from testbed.core import Array, Cohort, Exchange, Parameters, Records, Transcript, Unavailable
from testbed.core.randomness import keyed_rng

CHUNK = 256
"""Records whose whole gradients are in memory at once."""
KEPT = 4
"""Transcripts and questions whose signals are stored."""


def update_of(view: Transcript, exchange: Exchange, trained: Sequence[str]) -> dict[str, Array] | None:
    """A client's update by name: minus its gradient (FedSGD), or its change of the weights.

    It covers the `trained` parameters, or all if these are unknown. None if the client returned nothing, other names or
    shapes than were sent, or values that are not finite.
    """
    sent, returned = exchange.sent, exchange.returned
    if sent is None or returned is None:
        return None
    names = answered(sent, returned, trained)
    if not names or not all(np.isfinite(returned[k]).all() for k in names):
        return None
    if view.protocol.kind == "fedsgd":
        return {k: -np.asarray(returned[k], np.float32) for k in names}
    return {k: np.asarray(returned[k], np.float32) - np.asarray(sent[k], np.float32) for k in names}


def from_control(view: Transcript, exchange: Exchange, gradient: Parameters) -> dict[str, Array]:
    """The update that a client's own gradients made under SCAFFOLD, from their mean, which its control variate tells.

    What it returned minus what was sent also holds the correction by the controls of earlier rounds and other clients.
    """
    records = exchange.metrics.get("num-examples")
    scale = moved_by(view.protocol, exchange, None if records is None else int(records))
    return {k: (-scale * g).astype(np.float32) for k, g in gradient.items()}


class Signals:
    """Signals (rounds, clients, n) of n records; NaN if the position saw nothing of an exchange.

    `before` is a record's loss under the model that a client received, `after` its loss under the model that the client
    returned (FedAvg). `product` is how much the update lowers the loss, to first order: minus the inner product of the
    record's gradient and the update. `norm` is the length of the gradient, `lengths` (rounds, clients) that of the
    update, and `cosine` is the product divided by both. Under SCAFFOLD the update is that of the client's own
    gradients. Where clients keep personal layers, updates and gradients are those of the shared ones, and losses are
    under layers that the attacker fits (`testbed.attacks.heads`). Raises `Unavailable` without a model, without an
    update, or if no record has a gradient.
    """

    def __init__(self, view: Transcript, people: Cohort) -> None:
        if view.model is None:
            raise Unavailable("no_model", "the model's factory (--model module:factory)")
        self.view, self.people = view, people
        self.model = models.build(view.model)
        self.heads = Heads(self.model, people, bool(view.protocol.personal))
        self.x, self.y = torch.tensor(people.x), torch.tensor(people.y)
        self.rounds = sorted({e.round for e in view.exchanges})
        self.clients = sorted({e.client for e in view.exchanges})
        self.seen: list[tuple[int, int, Parameters, Parameters, dict[str, Array]]] = []
        trained = models.trained(self.model)
        controls = control_gradients(view, trained)
        for e in view.exchanges:
            update = update_of(view, e, trained)
            if update is not None and e.key in controls:
                update = from_control(view, e, controls[e.key])
            if update is not None and e.sent is not None and e.returned is not None:
                at = self.rounds.index(e.round), self.clients.index(e.client)
                self.seen.append((*at, e.sent, e.returned, update))
        if not self.seen:
            raise no_update(view)
        self._has_gradient()

    def _has_gradient(self) -> None:
        """Raises `Unavailable` if no record has a gradient under any model seen: all records would score alike."""
        weights = torch.tensor(keyed_rng(0, "own gradient").uniform(0.5, 1.5, len(self.people)), dtype=torch.float32)
        for _, _, sent, _, _ in self.seen:
            at = {k: v.requires_grad_() for k, v in self._tensors(sent).items()}
            found = says_nothing([gradient((self._losses(at) * weights).sum(), list(at.values()))])
            if found is not ZERO:  # not zero; each signal handles values that are not finite
                return
        raise Unavailable(ZERO.code, ZERO.needs)  # a new exception, because one keeps its traceback

    def _empty(self) -> Array:
        return np.full((len(self.rounds), len(self.clients), len(self.people)), np.nan, np.float32)

    def _losses(self, parameters: dict[str, Tensor]) -> Tensor:
        return models.losses_of(self.model, parameters, self.x, self.y)

    def _tensors(self, parameters: Parameters) -> dict[str, Tensor]:
        return self.heads.at(parameters)

    @cached_property
    def product(self) -> Array:
        """The decrease of each record's loss along the update, by one forward-mode derivative for all records."""
        made = self._empty()
        for r, c, sent, _, update in self.seen:
            at = self._tensors(sent)
            along = {k: torch.from_numpy(np.array(update[k], np.float32)) for k in at}
            change = torch.func.jvp(self._losses, (at,), (along,))[1]
            made[r, c] = -cast(Tensor, change).detach().numpy()
        return made

    def _of_sent(self, of: str) -> Array:
        """A quantity that depends on the model sent; it is computed once for clients that received the same model."""
        made, known = self._empty(), dict[bytes, Array]()
        for r, c, sent, _, _ in self.seen:
            key = _digest(sent)
            if key not in known:
                known[key] = self._norms(sent) if of == "norm" else self._plain(sent)
            made[r, c] = known[key]
        return made

    def _plain(self, sent: Parameters, returned: Parameters | None = None) -> Array:
        with torch.no_grad():
            return self._losses(self.heads.at({**sent, **(returned or {})}, sent)).numpy()

    def _norms(self, parameters: Parameters) -> Array:
        return gradient_norms(self.model, self._tensors(parameters), self.x, self.y).numpy()

    @cached_property
    def before(self) -> Array:
        return self._of_sent("loss")

    @cached_property
    def norm(self) -> Array:
        return self._of_sent("norm")

    @cached_property
    def after(self) -> Array:
        """Losses under the returned models. Raises `Unavailable` for gradients, which do not show a client's model."""
        if self.view.protocol.kind == "fedsgd":
            raise Unavailable("no_local_model", "clients that return weights (FedAvg)")
        made = self._empty()
        for r, c, sent, returned, _ in self.seen:
            # A client may return only what it trains; layers of its own are those under the model it was sent.
            made[r, c] = self._plain(sent, returned)
        return made

    @cached_property
    def lengths(self) -> Array:
        made = np.full((len(self.rounds), len(self.clients)), np.nan)
        for r, c, _, _, update in self.seen:
            made[r, c] = np.sqrt(sum(float((v.astype(np.float64) ** 2).sum()) for v in update.values()))
        return made

    @cached_property
    def cosine(self) -> Array:
        return self.product / np.maximum(self.norm * self.lengths[:, :, None], 1e-30)

    def of_suspected(self, signal: Array, suspected: Array | None) -> Array:
        """The signal (rounds, n) of the client asked about for each record, or summed over clients if there is none."""
        if suspected is None:
            return np.where(np.isnan(signal).all(1), np.nan, np.nansum(signal, axis=1))
        held = np.full((signal.shape[0], signal.shape[2]), np.nan, np.float64)
        for place, client in enumerate(self.clients):
            mine = suspected == client
            held[:, mine] = signal[:, place, mine]
        return held


def over_rounds(values: Array) -> Array:
    """The mean (n,) over rounds of values (rounds, n); rounds that are NaN are left out.

    A record without any value gets the median of the other records, as a neutral score, or 0 if no record has one.
    """
    seen = ~np.isnan(values)
    counted = seen.any(0)
    made = np.where(seen, values, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    return np.where(counted, made, np.median(made[counted]) if counted.any() else 0.0)


def gradient_norms(model: nn.Module, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The Euclidean length (n,) of each record's own gradient.

    For networks of linear layers that see each record once, no gradient is formed. A layer's gradient is the outer
    product of its input and its output's gradient, so its length is |input| |output's gradient| (Goodfellow 2015).
    """
    layers = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    own = sum(len(list(m.parameters(recurse=False))) for m in layers)
    if all(type(m) is nn.Linear for m in layers) and own == len(parameters):
        found = _linear_norms(model, layers, parameters, x, y)
        if found is not None:
            return found

    def loss(p: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return models.losses_of(model, p, one[None], label[None])[0]

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    made: list[Tensor] = []
    for start in range(0, len(y), CHUNK):
        gradients = each(parameters, x[start : start + CHUNK], y[start : start + CHUNK])
        squares = [g.detach().flatten(1).pow(2).sum(1) for g in cast("dict[str, Tensor]", gradients).values()]
        made.append(torch.stack(squares).sum(0).sqrt())
    return torch.cat(made)


def _linear_norms(
    model: nn.Module, layers: list[nn.Module], parameters: dict[str, Tensor], x: Tensor, y: Tensor
) -> Tensor | None:
    """The same for networks of linear layers; None if a layer is used twice, or not on one row a record."""
    lengths: list[Tensor] = []
    outputs: list[Tensor] = []

    def keep(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        lengths.append(given[0].detach().pow(2).sum(-1) + len([n for n, _ in layer.named_parameters() if n == "bias"]))
        outputs.append(made)

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        tracked = {k: v.detach().requires_grad_() for k, v in parameters.items()}
        total = models.losses_of(model, tracked, x, y).sum()
    finally:
        for hook in hooks:
            hook.remove()
    if len(outputs) != len(layers) or any(o.shape[:-1] != y.shape for o in outputs):
        return None
    changes = torch.autograd.grad(total, outputs)
    squares = [length * change.pow(2).sum(1) for length, change in zip(lengths, changes, strict=True)]
    return torch.stack(squares).sum(0).sqrt()


def _digest(parameters: Parameters | None) -> bytes:
    digest = hashlib.sha256()
    for name, values in (parameters or {}).items():
        digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return digest.digest()


_recent: deque[tuple[Transcript, bytes, Signals]] = deque(maxlen=KEPT)


def signals(view: Transcript, question: Records) -> Signals:
    """The signals of a question's people in a transcript; the latest `KEPT` are stored and reused."""
    people = question.people
    assert isinstance(people, Cohort)
    asked = hashlib.sha256(people.x.tobytes() + people.y.tobytes()).digest()
    for known, whose, made in _recent:
        if known is view and whose == asked:
            return made
    made = Signals(view, people)
    _recent.append((view, asked, made))
    return made
