"""The deaths behind another hospital's survival curve, from the pooled curve minus one's own."""

from __future__ import annotations

import numpy as np

from testbed.attacks.curve_steps import groups
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Groups, Parameters, Transcript, Unavailable
from testbed.models.summaries import PEOPLE, SURVIVAL, TIMES, survival_at, told_of

NO_STEP = 1e-9
"""The largest fall of a difference of curves that is rounding alone."""


@attack(
    subject="transcript",
    rule="TB-PROPERTY-008",
    risk="property",
    claim=Groups,
    needs=set(),
    position="client",
    reference="https://arxiv.org/abs/2412.20495",
    suits="statistics",
)
def pooled_curve_events(view: Transcript, question: Batch, auxiliary: None, rng: np.random.Generator) -> Groups:
    """State how many of another hospital's patients died at each step of its curve, and were lost up to the next.

    Threat model: a curious hospital in federated analytics, which is sent the mean of all curves, weighted by the
    numbers of patients. It subtracts its own curve. With one other hospital the rest is that hospital's curve, which is
    then read as by `curve_events`. With more it takes the rest as if it were one hospital's. It knows nothing
    beforehand. Raises `Unavailable` without a pooled curve and its own.
    """
    own = next((e for e in view.exchanges if e.returned is not None and SURVIVAL in e.returned), None)
    if own is None or own.returned is None:
        raise Unavailable("no_survival", "a survival curve of one's own")
    later = [e.sent for e in view.exchanges if e.sent is not None and SURVIVAL in e.sent and e.round == own.round + 1]
    pooled = told_of(later[0] if later else view.final, SURVIVAL)
    mine = told_of(own.returned, SURVIVAL)
    rest = _minus(pooled, mine)
    keys = [key for key in question.keys if key[1] != own.client]
    others = max(1, view.protocol.clients - 1)
    rest = {**rest, PEOPLE: np.round(rest[PEOPLE] / others)}
    bounds: dict[tuple[int, int], Array] = {}
    counts: dict[tuple[int, int], Array] = {}
    for key in keys:
        bounds[key], counts[key] = groups(rest, question.shape[0])
    if not bounds:
        raise Unavailable("own_client", "a question about another client than those that ask")
    return Groups(bounds, counts)


def _minus(pooled: Parameters, mine: Parameters) -> dict[str, Array]:
    """The curve of all others: the pooled one minus one's own share of it."""
    everybody, own = float(pooled[PEOPLE][0]), float(mine[PEOPLE][0])
    if everybody <= own:
        raise Unavailable("one_hospital", "a pooled curve of more hospitals than one's own")
    times = np.asarray(pooled[TIMES], np.float64)
    others = (everybody * np.asarray(pooled[SURVIVAL]) - own * survival_at(mine, times)) / (everybody - own)
    falls = -np.diff(np.concatenate([[1.0], others])) > NO_STEP
    return {PEOPLE: np.array([everybody - own]), TIMES: times[falls], SURVIVAL: others[falls]}
