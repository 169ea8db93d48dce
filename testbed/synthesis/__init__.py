"""Generators of synthetic tables, and leaks planted in their output with a dial.

They are subjects and positive controls, not recommendations. A generator's own randomness comes from the operating
system unless SDV fixes it; nothing of it reaches a report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from testbed.errors import UsageError


def generators() -> dict[str, Callable[..., pd.DataFrame]]:
    """`(original, rows, rng, *, epochs, person) -> table`, by the name that scenarios and `synthesise` use."""
    from testbed.synthesis import marginals, sdv

    return {
        "copula_gan": sdv.single_table("CopulaGANSynthesizer"),
        "ctgan": sdv.single_table("CTGANSynthesizer"),
        "gaussian_copula": sdv.single_table("GaussianCopulaSynthesizer"),
        "independent_marginals": marginals.independent_marginals,
        "par": sdv.sequences,
        "tvae": sdv.single_table("TVAESynthesizer"),
    }


def synthesise(
    generator: str, original: pd.DataFrame, rows: int, rng: np.random.Generator, **options: Any
) -> pd.DataFrame:
    """A synthetic table of `rows` rows. Raises `UsageError` for an unknown generator, `RunError` where it fails."""
    known = generators()
    if generator not in known:
        raise UsageError(
            "TB-SYNTH-006",
            f"There is no generator called {generator!r}.",
            "It makes the release that is evaluated.",
            f"Use one of: {', '.join(known)}.",
        )
    return known[generator](original, rows, rng, **options)
