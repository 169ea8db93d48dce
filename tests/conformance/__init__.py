"""What every attack is put through: a small planted world for each kind of claim, with a dial.

`World.evidence(leak, seed, order)` runs the attack on a view whose leak is dialled from 0 (none) to 1 (undefended),
on the same people, and judges it. `order` permutes the items asked about.
"""

from __future__ import annotations

from typing import Any

from testbed.attacks.registry import Attack
from testbed.core import Reconstruction, Representatives, Scores
from tests.conformance.analytics import statistics
from tests.conformance.base import BASELINES, EVERYTHING, World, advantage, as_bytes
from tests.conformance.evaluations import evaluations
from tests.conformance.federations import about_classes, membership, reconstruction, worlds
from tests.conformance.labels import labels
from tests.conformance.models import about_models, released
from tests.conformance.releases import presence, release, together
from tests.conformance.sites import sites
from tests.conformance.trees import trees

_MADE: dict[Any, World] = {}
_CLAIMED: dict[Any, bytes] = {}
SEED = 4
"""That of the claim which is made once for each attack, and compared with others."""


def world(attack: Attack) -> World:
    """The world of an attack; what it recorded serves all tests of that attack."""
    if attack.read not in _MADE:
        _MADE[attack.read] = fresh(attack)
    return _MADE[attack.read]


def claimed(attack: Attack) -> bytes:
    """What an attack claims where all leaks, with `SEED`: what other runs of it are compared with, made once."""
    if attack.read not in _CLAIMED:
        _CLAIMED[attack.read] = world(attack).claim(1.0, SEED)
    return _CLAIMED[attack.read]


def fresh(attack: Attack) -> World:
    """The world of an attack, of which nothing is recorded yet."""
    if attack.subject == "model":
        return released(attack) if attack.claim is Scores else about_models(attack)
    if attack.subject == "release":
        if attack.claim is Scores:
            return presence(attack)
        return together(attack) if attack.name == "linear_reconstruction" else release(attack)
    if attack.traits.get("suits") == "trees":
        return trees(attack)
    if attack.traits.get("suits") == "statistics":
        return statistics(attack)
    if attack.traits.get("suits") in ("evaluations", "queries"):
        return evaluations(attack)
    if attack.traits.get("suits") == "released":
        return sites(attack)
    if attack.traits.get("suits") == "cut":
        return labels(attack)
    if attack.claim is Representatives:
        return about_classes(attack)
    if attack.risk == "property":
        return worlds(attack)
    return reconstruction(attack) if attack.claim is Reconstruction else membership(attack)


__all__ = ["BASELINES", "EVERYTHING", "SEED", "World", "advantage", "as_bytes", "claimed", "fresh", "world"]
