"""Generators of synthetic tables, and planted leaks of a chosen size.

They are subjects of evaluations and positive controls, not recommendations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError, perhaps
from testbed.subjects.synthesis.options import Generator, Options


def generators() -> dict[str, Generator]:
    """All generators, `(original, rows, rng, options) -> table`, by the name that scenarios and `synthesise` use."""
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
"""The differentially private generators."""


def synthesise(
    generator: str, original: pd.DataFrame, rows: int, rng: np.random.Generator, **options: Any
) -> pd.DataFrame:
    """A synthetic table of `rows` rows; `options` are those of `Options`.

    Raises `UsageError` if the generator is unknown or lacks what it needs, `RunError` if it fails.
    """
    known = generators()
    if generator not in known:
        raise UsageError(
            "TB-SYNTH-006",
            f"There is no generator called {generator!r}.",
            "The generator makes the synthetic table.",
            perhaps(generator, known),
        )
    return known[generator](original, rows, rng, Options(**options))
