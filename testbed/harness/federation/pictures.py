"""Pictures for the report: reconstructions below their originals. They are made of public data only."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np

from testbed import judge
from testbed.core import Array, Reconstruction
from testbed.findings.schema import Picture, Subject
from testbed.harness.federation.recorded import Recorded

MOST = 8
"""Records in one picture."""


def sheets(claims: Mapping[str, Reconstruction], recorded: Recorded, subject: Subject) -> list[Picture]:
    """A picture for each rule's claim on image records (channels, height, width). None if the data are real."""
    if subject.data_class == "real":
        return []
    made = ((rule, _sheet(claim, recorded)) for rule, claim in claims.items())
    return [
        Picture(
            caption=f"{rule}: records that clients used (above) and the attacker's reconstructions of them (below).",
            licence=f"Licence of the data: {subject.licence}.",
            png_base64=_png(sheet),
        )
        for rule, sheet in made
        if sheet is not None
    ]


def _sheet(claim: Reconstruction, recorded: Recorded) -> Array | None:
    """Records above, and below the reconstructions matched to them (height, width, channels). None without any."""
    above: list[Array] = []
    below: list[Array] = []
    for key, people in recorded.truth.batches["true"].items():
        rebuilt = claim.batches.get(key)
        if rebuilt is None or len(above) >= MOST or people.x.ndim != 4:
            continue
        for record, guess in judge.pairs(rebuilt, people):
            above.append(record)
            below.append(np.clip(guess, 0, 1))
    if not above:
        return None
    rows = [np.concatenate(row[:MOST], axis=2) for row in (above, below)]
    return np.concatenate(rows, axis=1).transpose(1, 2, 0)


def _png(picture: Array, enlarged: int = 4) -> str:
    """A picture (height, width, channels) in [0, 1] as PNG, each pixel enlarged, without metadata."""
    from PIL import Image

    pixels = (np.clip(picture, 0, 1) * 255).astype(np.uint8).repeat(enlarged, 0).repeat(enlarged, 1)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
