# pyright: strict, reportMissingTypeStubs=false
"""Evidence by group: people whose records were used, and people whose records were not."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Cell, Evidence, Group


def groups(used: Array) -> tuple[tuple[Group, Array], tuple[Group, Array]]:
    """The two groups, each with a mask (n,) of its records."""
    return ("used", used), ("unused", ~used)


def by_group(view: Cell, used: Array, success: Array, persons: Array) -> Evidence:
    """Evidence of records (n,) with their success, split by group; records of one person are one cluster."""
    _, person = np.unique(persons, return_inverse=True)
    index = np.arange(len(used))
    parts = [
        Evidence.rows(view, group, success=success[mask], item=index[mask], cluster=person[mask])
        for group, mask in groups(used)
    ]
    return Evidence.join(*parts)
