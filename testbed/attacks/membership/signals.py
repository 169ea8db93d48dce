"""What a server sees of a record in each exchange: one tensor (rounds, clients, records) a signal.

Every passive membership attack on a federation is a reduction of these. They are computed once for a transcript and
its question, each when it is first asked for, and shared by all attacks on them.
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
from testbed.attacks.inversion.updates import answered
from testbed.attacks.own_gradient import ZERO, gradient, says_nothing
from testbed.core import Array, Cohort, Exchange, Parameters, Records, Transcript, Unavailable
from testbed.core.randomness import keyed_rng

CHUNK = 256
"""Records whose whole gradients are held at once."""
KEPT = 4


def update_of(view: Transcript, exchange: Exchange, trained: Sequence[str]) -> dict[str, Array] | None:
    """The direction in which a client pulled: minus its gradient, or its change of weights.

    Of what is `trained`, or of all where that is not known. None where the client sent nothing, or something else
    than was asked: other names or shapes, or what is no number.
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


class Signals:
    """Signals of records (n) by round and client; NaN where the position saw nothing of an exchange.

    `before` is a record's loss under what a client was sent and `after` under what it returned (FedAvg), (rounds,
    clients, n). `product` is by how much the update lowers the loss to first order: minus the inner product of the
    record's gradient and the update. `norm` is the length of the gradient, `lengths` (rounds, clients) the update's,
    and `cosine` the product over both.
    """

    def __init__(self, view: Transcript, people: Cohort) -> None:
        if view.model is None:
            raise Unavailable("no_model", "the model's factory (--model module:factory)")
        self.view, self.people = view, people
        self.model = models.build(view.model)
        self.x, self.y = torch.tensor(people.x), torch.tensor(people.y)
        self.rounds = sorted({e.round for e in view.exchanges})
        self.clients = sorted({e.client for e in view.exchanges})
        self.seen: list[tuple[int, int, Parameters, Parameters, dict[str, Array]]] = []
        for e in view.exchanges:
            update = update_of(view, e, models.trained(self.model))
            if update is not None and e.sent is not None and e.returned is not None:
                at = self.rounds.index(e.round), self.clients.index(e.client)
                self.seen.append((*at, e.sent, e.returned, update))
        if not self.seen:
            raise Unavailable("no_update", "an exchange whose update the position sees, whole and finite")
        self._has_gradient()

    def _has_gradient(self) -> None:
        """Raises `Unavailable` where no record has a gradient under any model seen, so that all score alike."""
        weights = torch.tensor(keyed_rng(0, "own gradient").uniform(0.5, 1.5, len(self.people)), dtype=torch.float32)
        for _, _, sent, _, _ in self.seen:
            at = {k: v.requires_grad_() for k, v in self._tensors(sent).items()}
            found = says_nothing([gradient((self._losses(at) * weights).sum(), list(at.values()))])
            if found is not ZERO:  # other than zero, or not finite, which each signal deals with
                return
        raise Unavailable(ZERO.code, ZERO.needs)  # a new one: an exception keeps where it was raised

    def _empty(self) -> Array:
        return np.full((len(self.rounds), len(self.clients), len(self.people)), np.nan, np.float32)

    def _losses(self, parameters: dict[str, Tensor]) -> Tensor:
        return models.losses_of(self.model, parameters, self.x, self.y)

    def _tensors(self, parameters: Parameters) -> dict[str, Tensor]:
        return models.to_tensors(parameters, self.model)

    @cached_property
    def product(self) -> Array:
        """One forward-mode derivative over all records an exchange; no gradient of a record is formed."""
        made = self._empty()
        for r, c, sent, _, update in self.seen:
            change = torch.func.jvp(self._losses, (self._tensors(sent),), (self._tensors(update),))[1]
            made[r, c] = -cast(Tensor, change).detach().numpy()
        return made

    def _of_sent(self, of: str) -> Array:
        """A quantity of the models sent, computed once where clients were sent the same."""
        made, known = self._empty(), dict[bytes, Array]()
        for r, c, sent, _, _ in self.seen:
            key = _digest(sent)
            if key not in known:
                known[key] = self._norms(sent) if of == "norm" else self._plain(sent)
            made[r, c] = known[key]
        return made

    def _plain(self, parameters: Parameters) -> Array:
        with torch.no_grad():
            return self._losses(self._tensors(parameters)).numpy()

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
        """Raises `Unavailable` for gradients, after which no client's model is known."""
        if self.view.protocol.kind == "fedsgd":
            raise Unavailable("no_local_model", "clients that return weights (FedAvg)")
        made = self._empty()
        for r, c, sent, returned, _ in self.seen:
            made[r, c] = self._plain({**sent, **returned})  # a client may return no more than what it trains
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
        """(rounds, n): the signal at the client that is asked about, or summed over clients where none is."""
        if suspected is None:
            return np.where(np.isnan(signal).all(1), np.nan, np.nansum(signal, axis=1))
        held = np.full((signal.shape[0], signal.shape[2]), np.nan, np.float64)
        for place, client in enumerate(self.clients):
            mine = suspected == client
            held[:, mine] = signal[:, place, mine]
        return held


def over_rounds(values: Array) -> Array:
    """The mean over rounds of (rounds, n) values.

    A record of which nothing was seen gets the median of all others, which says neither that it was used nor that it
    was not; 0 where nothing was seen of any.
    """
    seen = ~np.isnan(values)
    counted = seen.any(0)
    made = np.where(seen, values, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    return np.where(counted, made, np.median(made[counted]) if counted.any() else 0.0)


def gradient_norms(model: nn.Module, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The Euclidean length (n,) of each record's own gradient.

    Where all parameters are those of linear layers that see a record once, no gradient is formed: that of a layer is
    the outer product of its input and its output's gradient, of length |input| |output's gradient| (Goodfellow 2015).
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
    """Of networks of linear layers; None where a layer is used twice, or not on one row a record."""
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
    """The signals of a question's people in a transcript; those of the latest few are kept."""
    people = question.people
    assert isinstance(people, Cohort)
    asked = hashlib.sha256(people.x.tobytes() + people.y.tobytes()).digest()
    for known, whose, made in _recent:
        if known is view and whose == asked:
            return made
    made = Signals(view, people)
    _recent.append((view, asked, made))
    return made
