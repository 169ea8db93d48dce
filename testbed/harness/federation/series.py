"""Series for charts: aggregates over parts of the records, never one mark per record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from testbed import judge
from testbed.core import Array, Cohort, Evidence, Reconstruction
from testbed.findings.schema import Series
from testbed.harness.federation.recorded import Key
from testbed.judge.image_quality import ssim

MOST_PARTS = 16
"""Parts of a record that one chart shows."""


def by_parts(names: Sequence[str], attacked: Array, guessed: Array) -> Series:
    """Chart of the columns, or places of words, that the attack reveals most beyond the same guess for everybody."""
    labels: list[str] = []
    values: list[float] = []
    best = np.sort(np.argsort(guessed - attacked, kind="stable")[:MOST_PARTS])
    for i in best:
        labels += [f"{names[i]}, attack", f"{names[i]}, same guess for all"]
        values += [float(attacked[i]), float(guessed[i])]
    return Series(
        name="What came back, by part of the record",
        kind="bars",
        x_label="share that came back",
        y_label="parts",
        labels=labels,
        x=values,
        low=values,
        high=values,
    )


def shape_of(held: Mapping[Key, Cohort]) -> tuple[int, ...]:
    """The shape of one record."""
    return tuple(int(s) for s in next(iter(held.values())).x.shape[1:])


GREY = 0.5
"""Value of every pixel of the picture that stands in for a missing reconstruction."""
PERCEPTUAL = "distance in EfficientNet-Lite0's features (0 is the picture itself; not LPIPS)"


def likeness_of_pictures(
    claim: Reconstruction, held: Mapping[Key, Cohort], others: Mapping[Key, Cohort], perceptual: bool
) -> list[Series]:
    """Charts of the SSIM between reconstructions and their matched originals, and if asked of the perceptual distance.

    A record without a reconstruction has SSIM 0, and the distance of a grey picture.
    """
    similarity: dict[str, Array] = {}
    distance: dict[str, Array] = {}
    for name, groups in (("sent", held), ("never sent", others)):
        pairs: list[tuple[Array, Array]] = []
        alike: list[float] = []
        for key, people in groups.items():
            made = np.asarray(claim.batches.get(key, np.empty((0, *people.x.shape[1:]))), np.float64)
            rebuilt = np.clip(made[np.isfinite(made).all((1, 2, 3))], 0, 1)
            found = judge.pairs(rebuilt, people, otherwise=GREY)
            there = min(len(rebuilt), len(people))  # records without a reconstruction come last
            alike += [ssim(guess, record, data_range=1.0) for record, guess in found[:there]]
            alike += [0.0] * (len(people) - there)
            pairs += found
        similarity[name] = np.array(alike)
        if perceptual:
            from testbed.judge.perceptual import perceptual_distances

            records, guesses = (np.stack(pictures) for pictures in zip(*pairs, strict=True))
            distance[name] = perceptual_distances(guesses, records)
    made = [_by_quantile("SSIM of reconstructions", "SSIM (100 % is the picture itself)", similarity)]
    if perceptual:
        made.append(_by_quantile("Perceptual distance of reconstructions", PERCEPTUAL, distance))
    return made


def quality(evidence: Evidence) -> Series:
    """Chart of five quantiles of the PSNR, for records that were sent and for records that were never sent."""
    cells = {"sent": evidence.cell("true", "used").score, "never sent": evidence.cell("true", "unused").score}
    return _by_quantile("PSNR of reconstructions", "PSNR in dB (capped at 160)", cells)


def _by_quantile(name: str, x_label: str, cells: Mapping[str, Array]) -> Series:
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    labels = [f"{cell}, {round(100 * q)} % below" for cell in cells for q in levels]
    values = [float(np.quantile(scores, q)) for scores in cells.values() for q in levels]
    return Series(
        name=name,
        kind="bars",
        x_label=x_label,
        y_label="records",
        labels=labels,
        x=values,
        low=values,
        high=values,
    )
