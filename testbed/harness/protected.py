"""Defences as a report states them: parameters, the proven epsilon, and whether the attacker who decides knew them."""

from __future__ import annotations

from testbed.core.defence import Defence, Exposure, Guarantee, guarantees, voided_by
from testbed.findings import schema

PROOF = "a defence with a proof of differential privacy against this attacker"


def reported(defences: tuple[Defence, ...], exposure: Exposure, adaptive: bool) -> list[schema.Defence]:
    """Each defence for the report, with the proven epsilon for this exposure, or unmeasured.

    `adaptive` says whether the attack that decides knows the defences.
    """
    given = guarantees(defences, exposure)
    return [
        _reported(d, g, _needs(d, voided_by(defences, place, exposure)), exposure.rounds, adaptive)
        for place, (d, g) in enumerate(zip(defences, given, strict=True))
    ]


def _needs(defence: Defence, voided: str) -> str:
    """What a guarantee would need, and so why there is none."""
    if voided and defence.where == "server":
        why = f"its noise is scaled for a mean, and {voided} changes how the server aggregates"
        return f"an aggregation without {voided}: epsilon is infinite beside it, since {why}"
    if voided:
        why = f"{voided} works later and computes with several people's records, or chooses rows by them"
        return f"{voided} before {defence.name}, or left out: epsilon is infinite in this order, since {why}"
    if defence.promise is not None:
        return f"{PROOF}; what this one proves does not hold against this attacker"
    return f"{PROOF}; this one is a heuristic"


def _reported(defence: Defence, guarantee: Guarantee | None, needs: str, rounds: int, adaptive: bool) -> schema.Defence:
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
