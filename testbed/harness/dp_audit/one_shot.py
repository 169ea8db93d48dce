"""Audit of a federation's claim that each whole client is private, in one run with canary clients.

Canary clients send random directions of the clipping bound's length (Andrew et al. 2023, arXiv 2302.03098). The final
model is compared along these directions and along directions that nobody sent. The difference shows how well the noise
hides any client.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np

from testbed import models
from testbed.core import Act, Array, Cohort, Parameters, Transcript
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.defences.accounting import gaussian_epsilon, optimize, scipy_stats
from testbed.defences.gaussian import gaussian
from testbed.findings.statistics import Interval
from testbed.harness.dp_audit.directions import direction
from testbed.subjects.federation.federation import Federation


@dataclass(frozen=True, slots=True)
class Shown:
    """The share of each canary's direction in the final model's change (canaries,), and which directions were sent."""

    scores: Array
    included: Array


def conduct(
    federation: Federation, clients: list[Cohort], canaries: int, noise: float, clip: float, engine: str
) -> Shown:
    """The scores of a run with `canaries` further clients. A fair coin decides if each sends its direction or nothing.

    All clients hold the same number of records, so all have the same weight. Each real client clips its update and adds
    its share of Gaussian noise. Their sum then has noise of standard deviation `noise * clip` in each coordinate.
    Raises `UsageError` for a model with too few parameters.
    """
    seed = federation.seed
    size = sum(v.size for v in models.get_parameters(models.build(federation.model)).values())
    if size < 2 * canaries:
        raise UsageError(
            "TB-SCENARIO-030",
            f"The model has {size} parameters, too few to distinguish {canaries} canaries.",
            "Each canary sends its own direction, so the model needs two parameters for each.",
            "Use a wider model, or fewer canaries.",
        )
    included = keyed_rng(seed, "coins").random(canaries) < 0.5
    each = len(clients[0])
    idle = [c.take(np.arange(each)) for c in clients[:1]] * canaries

    def answer(round_: int, client: int, sent: Parameters, returned: Parameters) -> Parameters:
        number = client - len(clients)
        if not included[number]:
            return sent
        moved = clip * direction(seed, number, sent)
        return _added(sent, moved)

    nodes = tuple(range(len(clients), len(clients) + canaries))
    share = noise / math.sqrt(len(clients))
    defended = replace(federation, defences=(gaussian(noise=share, clip=clip),))
    view = defended.run([*clients, *idle], engine, Act(answer=answer, nodes=nodes), "canaries")
    moved = _change(view)
    first = next(e.sent for e in view.exchanges if e.sent is not None)
    along = np.stack([direction(seed, i, first) for i in range(canaries)], axis=1)
    # All directions are fitted together, so one canary's direction does not change another's score.
    return Shown(np.linalg.lstsq(along, moved, rcond=None)[0], included)


def _added(sent: Parameters, moved: Array) -> Parameters:
    parts = np.split(moved, np.cumsum([v.size for v in sent.values()])[:-1])
    return {k: (v + p.reshape(v.shape)).astype(np.float32) for (k, v), p in zip(sent.items(), parts, strict=True)}


def _change(view: Transcript) -> Array:
    first = next(e.sent for e in view.exchanges if e.sent is not None)
    assert view.final is not None
    final = view.final
    return np.concatenate([(np.asarray(final[k], np.float64) - v).ravel() for k, v in first.items()])


def accounted(noise: float, rounds: int, delta: float) -> float:
    """The epsilon of releasing the sum in every round, by Renyi accounting. It is infinite without noise."""
    if noise <= 0:
        return math.inf
    from opacus.accountants import RDPAccountant

    made = RDPAccountant()
    made.history = [(noise, 1.0, rounds)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the best order may be at the edge: the bound is then only looser
        return float(made.get_epsilon(delta))


def estimated(shown: Shown, delta: float, level: float = 0.95) -> tuple[float, Interval]:
    """Epsilon estimated from the scores, and its one-sided lower bound.

    The scores are taken as normal with one variance. The bound inverts the noncentral t distribution of the two-sample
    statistic.
    """
    used, unused = shown.scores[shown.included], shown.scores[~shown.included]
    degrees = len(used) + len(unused) - 2
    spread = math.sqrt((((used - used.mean()) ** 2).sum() + ((unused - unused.mean()) ** 2).sum()) / degrees)
    distance = float(used.mean() - unused.mean()) / max(spread, 1e-300)
    scale = math.sqrt(len(used) * len(unused) / (len(used) + len(unused)))

    def tail(centre: float) -> float:
        return float(scipy_stats.nct.sf(distance * scale, degrees, centre)) - (1 - level)

    low = 0.0
    if tail(0.0) < 0:
        # The bracket is six standard errors of the normal approximation wide, so it contains the root.
        width = 6 * math.sqrt(1 + (distance * scale) ** 2 / (2 * degrees))
        low = float(optimize.brentq(tail, max(0.0, distance * scale - width), distance * scale)) / scale
    value = gaussian_epsilon(low, delta)
    method = "normal scores, noncentral t"
    return gaussian_epsilon(distance, delta), Interval(value, value, value, level, method, degrees + 2)
