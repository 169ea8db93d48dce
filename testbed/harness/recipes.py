"""A recipe that keeps its results, so equal requests are answered once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from testbed.core import Act, Array, People, Recipe, Table, View
from testbed.core.randomness import keyed_rng


class Remembered:
    """A recipe that keeps the views it made, by the people in them, so several attacks share their shadow models."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self._recipe, self._seed = recipe, seed
        self._made: dict[str, View] = {}
        self._several: dict[str, list[View]] = {}

    def __call__(self, people: Any, rng: np.random.Generator, act: Act | None = None) -> View:
        made = _contents(people).hexdigest()
        if made not in self._made:
            # Its own random generator: the caller's state is the same whether or not the view is remembered.
            self._made[made] = self._recipe(people, keyed_rng(self._seed, "shadow", made))
        return self._made[made]

    def many(self, people: People, included: Array, rng: np.random.Generator) -> list[View]:
        """A view for each row of `included` (models, n) bool, made all at once if the recipe can do that."""
        at_once = getattr(self._recipe, "many", None)
        if at_once is None:
            return [self(people.take(np.flatnonzero(rows)), rng) for rows in included]
        key = _contents(people)
        key.update(included.tobytes())
        made = key.hexdigest()
        if made not in self._several:
            self._several[made] = at_once(people, included, keyed_rng(self._seed, "shadows", made))
        return self._several[made]


def _contents(people: Any) -> Any:
    """A digest of these people's records. It does not depend on the persons' names."""
    key = hashlib.sha256()
    for party in people if isinstance(people, list | tuple) else [people]:
        contents = party.values if isinstance(party, Table) else (party.x, party.y)
        for values in (*contents, _in_order(party.persons)):
            key.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return key


def _in_order(persons: Array) -> Array:
    """The number (n,) of each row's person, in the order in which persons appear, whatever their names are."""
    _, first, place = np.unique(persons, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]
