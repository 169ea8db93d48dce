"""What clients do against leakage: one file a defence, each a Flower mod, each with its accounting.

A defence's noise follows from the federation's seed, so that a run repeats; whoever knows that seed can take the noise
off again. Scenarios are of public data and print theirs; for patients' data draw one with the standard library's
`secrets`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from testbed.errors import UsageError, perhaps

if TYPE_CHECKING:
    from flwr.clientapp.typing import Mod

    from testbed.federation.run import Defence


def known() -> dict[str, Callable[..., Any]]:
    """Factories of mods, by the name that scenarios use."""
    from testbed.defences import consistent_unmasking, gaussian, random_update

    return {
        "consistent_unmasking": consistent_unmasking.consistent_unmasking,
        "gaussian": gaussian.gaussian,
        "random_update": random_update.random_update,
    }


def factory(name: str) -> Callable[..., Any]:
    """Of a defence's name. Raises `UsageError` for one that does not exist."""
    factories = known()
    if name not in factories:
        raise UsageError(
            "TB-DEFENCE-001",
            f"There is no defence called {name!r}.",
            "A misspelt one would protect nothing.",
            perhaps(name, sorted(factories)),
        )
    return factories[name]


def mod(defence: Defence, seed: int) -> Mod:
    """The mod of a defence. Raises `UsageError` for one that does not exist."""
    return factory(defence.name)(seed=seed, **defence.params)
