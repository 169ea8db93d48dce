"""The control variates of SCAFFOLD, which clients send beside their weights: each is a mean gradient by itself.

A client's step is w <- w - rate (g + c - c_i), with the server's control c and its own c_i. So its update mixes its
gradients with what the controls hold of earlier rounds and of other clients. Its new control is
c_i - c + (sent - returned) / (steps x rate), which is the mean gradient of its local steps, without the mixture
(Karimireddy et al. 2020, option II).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from testbed.core import Array, Exchange, Parameters, Transcript

ALIKE = 0.9
"""Cosine between the update that a control explains and the update itself, at least: other arrays are left aside."""
Key = tuple[int, int]


@dataclass(slots=True)
class _Reading:
    """One way to read the arrays beside the model: as new controls, or as their differences, under one prefix."""

    difference: bool
    gradients: dict[Key, dict[str, Array]] = field(default_factory=dict[Key, dict[str, Array]])
    cosines: list[float] = field(default_factory=list[float])
    _own: dict[int, Array] = field(default_factory=dict[int, Array])

    def take(self, exchange: Exchange, told: Parameters, names: Sequence[str], server: Array) -> None:
        """Reads one exchange. Rounds must come in their order, because differences are added up from zero."""
        sent, returned = exchange.sent or {}, exchange.returned or {}
        before = self._own.get(exchange.client, np.zeros_like(server))
        new = _flat(told, names) + (before if self.difference else 0.0)
        self._own[exchange.client] = new
        explained, update = new + server - before, _flat(sent, names) - _flat(returned, names)
        lengths = float(np.linalg.norm(explained) * np.linalg.norm(update))
        if not np.isfinite(lengths):
            return
        self.cosines.append(float(explained @ update) / lengths if lengths > 0 else 0.0)
        parts = np.split(new, np.cumsum([np.size(sent[k]) for k in names])[:-1])
        self.gradients[exchange.key] = {k: p.reshape(np.shape(sent[k])) for k, p in zip(names, parts, strict=True)}


def control_gradients(view: Transcript, trained: Sequence[str]) -> dict[Key, dict[str, Array]]:
    """The mean gradient of a client's local steps, by exchange and name, where its control variate tells it.

    A client may send its new control or the difference to its last one, under any prefix: `control.weight`. The reading
    is taken that explains the updates best, and none if the updates contradict all of them. Empty without controls.
    """
    if view.protocol.kind == "fedsgd":
        return {}
    readings: dict[tuple[str, bool], _Reading] = {}
    for exchange in sorted(view.exchanges, key=lambda e: e.key):
        sent, returned = exchange.sent, exchange.returned
        if sent is None or returned is None:
            continue
        names = names_of(sent, trained)
        if not names or any(k not in returned or np.shape(returned[k]) != np.shape(sent[k]) for k in names):
            continue
        by_server = list(beside(sent, names).values())
        server = _flat(by_server[0], names) if by_server else np.zeros(sum(np.size(sent[k]) for k in names))
        for prefix, told in beside(returned, names).items():
            for difference in (False, True):
                reading = readings.setdefault((prefix, difference), _Reading(difference))
                reading.take(exchange, told, names, server)
    explain = [r for r in readings.values() if r.cosines and float(np.mean(r.cosines)) >= ALIKE]
    return max(explain, key=lambda r: float(np.mean(r.cosines))).gradients if explain else {}


def names_of(sent: Parameters, trained: Sequence[str]) -> list[str]:
    """The names of the trained parameters; of an unknown model all arrays that are no copies under a prefix."""
    if trained and sent.keys() >= set(trained):
        return list(trained)
    return [k for k, v in sent.items() if not _copied(k, v, sent)]


def beside(parameters: Parameters, names: Sequence[str]) -> dict[str, Parameters]:
    """Whole sets of arrays as large as the named ones, each under a prefix: `control.weight` beside `weight`."""
    prefixes = (
        {k.removesuffix(f".{names[0]}") for k in parameters if k.endswith(f".{names[0]}")} if names else set[str]()
    )
    found: dict[str, Parameters] = {}
    for prefix in sorted(prefixes):
        group = {k: parameters[f"{prefix}.{k}"] for k in names if f"{prefix}.{k}" in parameters}
        if len(group) == len(names) and all(
            k not in parameters or np.shape(v) == np.shape(parameters[k]) for k, v in group.items()
        ):
            found[prefix] = group
    return found


def _copied(name: str, values: Array, among: Parameters) -> bool:
    """Whether another array has this one's name without a prefix, and its shape."""
    parts = name.split(".")
    rest = (".".join(parts[i:]) for i in range(1, len(parts)))
    return any(k in among and np.shape(among[k]) == np.shape(values) for k in rest)


def _flat(parameters: Mapping[str, Array], names: Sequence[str]) -> Array:
    return np.concatenate([np.ravel(np.asarray(parameters[k], np.float64)) for k in names])
