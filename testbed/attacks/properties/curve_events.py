"""How many people died, and how many were lost from sight, at each step of a hospital's survival curve."""

from __future__ import annotations

import numpy as np

from testbed.attacks.curve_steps import groups
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Groups, Transcript, Unavailable
from testbed.models.summaries import SURVIVAL, told_of


@attack(
    subject="transcript",
    rule="TB-PROPERTY-007",
    risk="property",
    claim=Groups,
    needs=set(),
    position="server",
    reference="https://doi.org/10.1186/1471-2288-12-9",
    suits="statistics",
)
def curve_events(view: Transcript, question: Batch, auxiliary: None, rng: np.random.Generator) -> Groups:
    """State how many of a hospital's patients died at each step of its Kaplan-Meier curve, and were lost up to the next
    one (after Guyot et al. 2012, who read printed curves).

    Threat model: whoever sees a hospital's curve with the number of its patients, here the coordinator. It knows
    nothing beforehand. Each step tells a day of death, and its height is a fraction of whole numbers. Raises
    `Unavailable` without such curves.
    """
    told = {e.key: e.returned for e in view.exchanges if e.returned is not None and SURVIVAL in e.returned}
    bounds: dict[tuple[int, int], Array] = {}
    counts: dict[tuple[int, int], Array] = {}
    for key in question.keys:
        if key in told:
            bounds[key], counts[key] = groups(told_of(told[key], SURVIVAL), question.shape[0])
    if not bounds:
        raise Unavailable("no_survival", "a hospital's survival curve, and the number of its people")
    return Groups(bounds, counts)
