"""Defences as a report states them: parameters, the proven epsilon, and whether the attacker who decides knew them."""

from __future__ import annotations

from testbed.core.defence import Defence, Exposure, Guarantee, guarantees
from testbed.findings import schema


def reported(defences: tuple[Defence, ...], exposure: Exposure, adaptive: bool) -> list[schema.Defence]:
    """Each defence for the report, with the proven epsilon for this exposure, or unmeasured.

    `adaptive` says whether the attack that decides knows the defences.
    """
    given = guarantees(defences, exposure)
    return [_reported(d, g, exposure.rounds, adaptive) for d, g in zip(defences, given, strict=True)]


def _reported(defence: Defence, guarantee: Guarantee | None, rounds: int, adaptive: bool) -> schema.Defence:
    needs = "a defence with a proof of differential privacy against this attacker; this one is a heuristic"
    epsilon: schema.Measure = schema.Unmeasured(unmeasured="no_guarantee", needs=needs)
    if guarantee is not None:
        epsilon = schema.Estimate(
            metric="epsilon_upper",
            value=guarantee.epsilon,
            low=guarantee.epsilon,
            high=guarantee.epsilon,
            level=1.0,
            method=guarantee.method,
            unit=guarantee.unit,
            n=rounds,
        )
    return schema.Defence(name=defence.name, params=dict(defence.params), epsilon=epsilon, adaptive=adaptive)
