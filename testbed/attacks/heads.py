"""Layers that clients keep to themselves (FedPer; Arivazhagan et al. 2019), as an attacker replaces them.

The server of such a federation never sees them, and without them a record has no loss. The attacker puts layers of its
own in their place, and trains them on the people it asks about, members and others alike, with the shared layers fixed.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.core import Array, Cohort, Parameters

STEPS, RATE = 60, 0.1
"""Steps of Adam on all people at once, and their size."""
KEPT = 64
"""Models whose own layers are kept in memory."""


class Heads:
    """A network that takes parameters as they were sent, and has its own layers where they lack some.

    `at` gives the trained parameters that were sent as tensors by name; the others are set in `network` itself, so that
    a loss under the tensors is that of the whole network. They depend on these people and the parameters alone.
    """

    def __init__(self, network: nn.Module, people: Cohort, personal: bool = True) -> None:
        """With `personal` false, parameters that lack a layer do not fit the network."""
        self.network, self._personal = network, personal
        order = np.lexsort((people.y, *people.x.reshape(len(people), -1).T))
        self._x, self._y = torch.tensor(people.x[order]), torch.tensor(people.y[order])
        self._names = models.trained(network)
        self._drawn = models.get_parameters(network)
        self._fitted: dict[bytes, dict[str, Array]] = {}

    def at(self, parameters: Parameters, begun: Parameters | None = None) -> dict[str, Tensor]:
        """The parameters by name, with own layers that fit them, or the model that training had `begun` from.

        Raises `InputError` if they do not fit the network.
        """
        lacking = [k for k in self._names if k not in parameters]
        if not self._personal or len(lacking) in (0, len(self._names)):
            return models.to_tensors(parameters, self.network)
        drawn = {k: self._drawn[k] for k in lacking}
        base = models.to_tensors({**drawn, **(begun or parameters)}, self.network)
        shared = {k: v for k, v in base.items() if k not in drawn}
        key = hashlib.sha256(b"".join(k.encode() + v.numpy().tobytes() for k, v in shared.items())).digest()
        if key not in self._fitted:
            if len(self._fitted) >= KEPT:
                self._fitted.pop(next(iter(self._fitted)))
            self._fitted[key] = self._fit(shared, {k: base[k] for k in lacking})
        full = models.to_tensors({**drawn, **parameters}, self.network)
        state = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, values in self._fitted[key].items():
                state[name].copy_(torch.from_numpy(values))
        return {k: v for k, v in full.items() if k not in drawn}

    def _fit(self, sent: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Array]:
        own = {k: v.clone().requires_grad_() for k, v in own.items()}
        optimizer = torch.optim.Adam(list(own.values()), lr=RATE)
        for _ in range(STEPS):
            optimizer.zero_grad()
            models.loss_of(self.network, {**sent, **own}, self._x, self._y).backward()
            optimizer.step()
        return {k: v.detach().numpy().copy() for k, v in own.items()}
