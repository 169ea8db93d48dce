"""Generators of synthetic tables, and leaks planted in their output with a dial.

They are subjects and positive controls, not recommendations. A generator's own randomness comes from the operating
system unless SDV fixes it; nothing of it reaches a report.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError, perhaps
from testbed.subjects.synthesis.options import Generator, Options


def generators() -> dict[str, Generator]:
    """`(original, rows, rng, options) -> table`, by the name that scenarios and `synthesise` use."""
    from testbed.subjects.synthesis import marginals, noisy_marginals, opendp, sdv

    return {
        "aim": opendp.synthesizer("AIM"),
        "copula_gan": sdv.single_table("CopulaGANSynthesizer"),
        "ctgan": sdv.single_table("CTGANSynthesizer"),
        "gaussian_copula": sdv.single_table("GaussianCopulaSynthesizer"),
        "hma": sdv.persons_and_visits,
        "independent_marginals": marginals.independent_marginals,
        "mst": opendp.synthesizer("MST"),
        "noisy_marginals": noisy_marginals.noisy_table,
        "par": sdv.sequences,
        "tvae": sdv.single_table("TVAESynthesizer"),
    }


PRIVATE = frozenset({"aim", "mst", "noisy_marginals"})
"""Those that are differentially private."""


def synthesise(
    generator: str, original: pd.DataFrame, rows: int, rng: np.random.Generator, **options: Any
) -> pd.DataFrame:
    """A synthetic table of `rows` rows; `options` are those of `Options`.

    Raises `UsageError` for an unknown generator or one that lacks what it needs, `RunError` where it fails.
    """
    known = generators()
    if generator not in known:
        raise UsageError(
            "TB-SYNTH-006",
            f"There is no generator called {generator!r}.",
            "It makes the release that is evaluated.",
            perhaps(generator, known),
        )
    return known[generator](original, rows, rng, Options(**options))
