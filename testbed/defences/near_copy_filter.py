"""A filter that keeps near copies out of a synthetic table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.core.defence import Change, Changed, Draft
from testbed.core.errors import UsageError
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale
from testbed.data.tables.encode import Meta, encode
from testbed.defences.registry import defence

FEWEST = 2
"""Rows that must be left of a release."""


@defence(where="table", mixes=True)
def near_copy_filter(*, seed: int, quantile: float = 0.05) -> Change:
    """Drop released rows that are nearer to a row of the original than `quantile` of the control's rows are.

    A heuristic. The original decides which rows go out, so a table that was private before is not private after it. A
    copy with one changed category passes. Whoever may run the filter on chosen rows finds the original (Ganev and De
    Cristofaro 2023, arXiv 2312.05114). Distances are Gower's on the release's scale.
    """

    def change(draft: Draft) -> Changed:
        if draft.original is None or draft.control is None:
            raise UsageError(
                "TB-DEFENCE-040",
                "near_copy_filter needs the original and a control.",
                "It compares each released row with the original, and the control says how near strangers come.",
                "Give --original and --control (testbed split makes both), or leave the filter out.",
            )
        meta = Meta(draft.person, dict(draft.declared))
        coded = encode(draft.original, draft.release, draft.control, meta)
        assert coded.control is not None
        scale = Scale.of(coded.synthetic)
        near, strangers = (
            nearest(rows, coded.original, scale, 0)[1][:, 0] for rows in (coded.synthetic, coded.control)
        )
        kept = near >= np.quantile(strangers, quantile)
        if kept.sum() < FEWEST:
            raise UsageError(
                "TB-DEFENCE-041",
                "near_copy_filter leaves no row of this release.",
                "Nearly all rows are nearer to the original than other people are.",
                "Do not release this table. Use another generator, or a smaller quantile.",
            )
        told = f"{np.mean(~kept):.1%} of the rows were dropped as near copies"
        return Changed(replace(draft, release=draft.release[kept]), None, (told,))

    return change
