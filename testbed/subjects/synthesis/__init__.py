"""Generators of synthetic tables, and planted leaks of a chosen size.

They are subjects of evaluations and positive controls, not recommendations.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError, missing_extra, perhaps
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


OF_SDV = frozenset({"copula_gan", "ctgan", "gaussian_copula", "hma", "par", "tvae"})
"""The generators of the package sdv."""
PRIVATE = frozenset({"aim", "mst", "noisy_marginals"})
"""The differentially private generators."""


def synthesise(
    generator: str, original: pd.DataFrame, rows: int, rng: np.random.Generator, **options: Any
) -> pd.DataFrame:
    """A synthetic table of `rows` rows; `options` are those of `Options`.

    Raises `UsageError` if the generator is unknown or lacks what it needs, `RunError` if it fails.
    """
    check(generator)
    return generators()[generator](original, rows, rng, Options(**options))


def check(generator: str) -> None:
    """Raises `UsageError`, before any table is read, if there is no such generator or its package is not installed."""
    known = generators()
    if generator not in known:
        raise UsageError(
            "TB-SYNTH-006",
            f"There is no generator called {generator!r}.",
            "The generator makes the synthetic table.",
            perhaps(generator, known),
        )
    package = "sdv" if generator in OF_SDV else "opendp" if generator in ("aim", "mst") else ""
    if package and find_spec(package) is None and (missing := missing_extra(ModuleNotFoundError(name=package))):
        raise missing
