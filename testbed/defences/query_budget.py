"""A limit on the queries to a released model."""

from __future__ import annotations

from testbed.defences.registry import defence


@defence(where="queries")
def query_budget(*, seed: int, records: int = 1000) -> int:
    """Answer about at most `records` records for each attacker.

    A heuristic: it stops attacks that need many queries, such as noisy copies of a record or a stolen model. Membership
    of one person takes one query, and attackers who ask under several names add their budgets.
    """
    return records
