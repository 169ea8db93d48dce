"""What a malicious server does that knows the guards: it mixes, scales and moves what it crafts, and crafts less."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from testbed.core import Act, Array, Cohort, Parameters

HIDING = 1 / 8
"""Share of the neurons that a server crafts that hides."""
Disguise = Callable[[Act, Cohort, np.random.Generator], Act]
"""`(act, auxiliary, rng) -> act`: how a server changes what it does, so that guards notice it less."""


def hidden_by(*disguises: Disguise) -> Disguise:
    """Several disguises, one after the other."""

    def all_of_them(act: Act, auxiliary: Cohort, rng: np.random.Generator) -> Act:
        for disguise in disguises:
            act = disguise(act, auxiliary, rng)
        return act

    return all_of_them


def following(act: Act, auxiliary: Cohort, rng: np.random.Generator) -> Act:
    """Crafted layers move as the federation's model does, so that no layer stands still."""
    first: dict[str, Array] = {}
    crafted: dict[int, Parameters] = {}
    craft = act.craft
    assert craft is not None

    def moving(round_: int, client: int, parameters: Parameters) -> Parameters:
        if not first:
            first.update({k: np.asarray(v) for k, v in parameters.items()})
        if client not in crafted:
            crafted[client] = craft(round_, client, parameters)
        return {k: v + (parameters[k] - first[k]) for k, v in crafted[client].items()}

    return replace(act, craft=moving)


def mixed(act: Act, auxiliary: Cohort, rng: np.random.Generator) -> Act:
    """Adds noise to crafted rows in the directions in which people differ least, so that rows are not parallel."""
    flat = auxiliary.x.reshape(len(auxiliary), -1).astype(np.float64)
    _, sizes, directions = np.linalg.svd(flat, full_matrices=True)
    still = directions[max(1, int((np.cumsum(sizes**2) < 0.999 * (sizes**2).sum()).sum())) :]
    noise = rng.normal(size=(4096, len(still))) @ still
    craft = act.craft
    assert craft is not None

    def mixing(round_: int, client: int, parameters: Parameters) -> Parameters:
        made = dict(craft(round_, client, parameters))
        for name, value in made.items():
            new = name not in parameters or (value != parameters[name]).any()
            if new and name.endswith("weight") and value.ndim == 2 and value.shape[1] == flat.shape[1]:
                rows = noise[: len(value)] / np.linalg.norm(noise[: len(value)], axis=1, keepdims=True)
                made[name] = (value + rows * np.linalg.norm(value, axis=1, keepdims=True)).astype(np.float32)
        return made

    return replace(act, craft=mixing)


def lawful(act: Act, auxiliary: Cohort, rng: np.random.Generator) -> Act:
    """Scales crafted rows to the length that initialisations draw, and shifts other neurons' biases to a usual mean."""
    craft = act.craft
    assert craft is not None

    usual: dict[str, Array] = {}

    def scaled(round_: int, client: int, parameters: Parameters) -> Parameters:
        made = dict(craft(round_, client, parameters))
        for name in [n for n in made if n.endswith("weight") and made[n].ndim == 2]:
            weight, offset = made[name], name.removesuffix("weight") + "bias"
            if name in parameters and not (weight != parameters[name]).any():
                continue
            bound = 1 / math.sqrt(weight.shape[1])  # up to which torch draws weights and biases
            if name not in usual:
                usual[name] = np.linalg.norm(rng.uniform(-bound, bound, weight.shape), axis=1)
            factor = usual[name] / np.maximum(np.linalg.norm(weight, axis=1), 1e-12)
            made[name] = (weight * factor[:, None]).astype(np.float32)
            if offset in made:
                bias = made[offset] * factor
                plain = np.abs(bias) <= 1.05 * bound
                bias[plain] -= bias.sum() / max(int(plain.sum()), 1)
                made[offset] = bias.astype(np.float32)
        return made

    return replace(act, craft=scaled)


def partly(share: float) -> Disguise:
    """Crafts only the first `share` of a layer's neurons; the others are as the server received or would draw them."""

    def disguise(act: Act, auxiliary: Cohort, rng: np.random.Generator) -> Act:
        craft = act.craft
        assert craft is not None
        drawn: dict[str, Array] = {}

        def some(round_: int, client: int, parameters: Parameters) -> Parameters:
            made = dict(craft(round_, client, parameters))
            for name, value in made.items():
                same = name in parameters and not (value != parameters[name]).any()
                if same or not name.endswith(("weight", "bias")) or value.shape[0] < 16:
                    continue
                if name not in drawn:
                    width = value.shape[-1] if value.ndim > 1 else len(made.get(name[:-4] + "weight", value)[0])
                    drawn[name] = rng.uniform(-1, 1, value.shape) / np.sqrt(width)
                usual = parameters[name] if name in parameters else drawn[name]
                kept = np.arange(len(value)) < round(share * len(value))
                where = kept.reshape(-1, *[1] * (value.ndim - 1))
                made[name] = np.where(where, value, usual).astype(np.float32)
            return made

        return replace(act, craft=some)

    return disguise


def of(attack: str) -> Disguise | None:
    """The disguise under which this attack still reads something, or None if none is known."""
    match attack:
        case "imprint":
            return hidden_by(partly(HIDING), mixed, lawful, following)
        case "trap_weights":  # it reads nothing from mixed rows
            return hidden_by(partly(HIDING), lawful, following)
        case _:
            return None
