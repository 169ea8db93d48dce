"""What an evaluation's rules search, read from three tables as `evaluate` reads them, for tests of one rule alone."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from testbed.core import Release
from testbed.core.tables.rows import in_order
from testbed.data.tables import set_aside
from testbed.data.tables.encode import Meta, checked, encode
from testbed.data.tables.free_text import free_text
from testbed.harness.release.setting import Setting


def searched(
    original: pd.DataFrame,
    synthetic: pd.DataFrame,
    control: pd.DataFrame | None,
    attacks: int = 50,
    person: str | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Setting:
    """The setting of an evaluation of these tables, with the columns that no attack uses and those of free text."""
    three = (
        checked(original, "original"),
        checked(synthetic, "synthetic"),
        None if control is None else checked(control, "control"),
    )
    meta = Meta(person, dict(kinds or {}), {})
    encoded = encode(*three, meta)
    return Setting(
        in_order(encoded.original),
        None if encoded.control is None else in_order(encoded.control),
        Release(in_order(encoded.synthetic)),
        attacks,
        0,
        lambda _: None,
        aside=set_aside.left_out(*three, meta, encoded),
        written=set_aside.as_written(*three, encoded),
        texts=free_text(*three, meta, encoded),
    )
