"""A guard against too small a cohort: the sum of few clients hides nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard

NAMES = ("clients", "share_num", "sample_num")
"""Settings in which a server says how many clients take part: of a federation here, and of SecAgg+."""


@guard(
    side="client",
    threshold=0.3,
    reference="https://arxiv.org/abs/1611.04482",
)
def cohort_size(seen: Received, memory: Memory) -> float:
    """1 divided by the number of clients that the server says take part; the default threshold asks for four.

    Secure aggregation hides a client only among the others in the sum (Bonawitz et al. 2017). It can tell nothing if
    the server does not say a number. Limit: it believes the server, which may also take part with clients of its own.
    """
    said = [float(seen.settings[n]) for n in NAMES if _is_number(seen.settings, n)]
    return 1 / min(said) if said and min(said) > 0 else CANNOT_TELL


def _is_number(settings: Mapping[str, Any], name: str) -> bool:
    return isinstance(settings.get(name), int | float)
