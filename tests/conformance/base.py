"""What all worlds share: their form, what attackers may know there, and how far an attack gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from testbed.core import (
    Evidence,
    Groups,
    Guesses,
    Links,
    Predicates,
    Reconstruction,
    Representatives,
    Scores,
    Sources,
    Threat,
    Values,
)

EVERYTHING = frozenset(
    {
        "architecture",
        "auxiliary",
        "batch_size",
        "hyper_parameters",
        "known_columns",
        "queries",
        "some_sites",
        "target_records",
    }
)


BASELINES = {"marginal_guess", "random_predicates"}
"""Attacks that look at nothing of the person: they must find no leak even where one is planted."""


@dataclass(frozen=True)
class World:
    """How to run and judge one attack. `claim(leak, seed)` gives the raw claim's bytes."""

    evidence: Callable[[float, int, bool], Evidence]
    claim: Callable[[float, int], bytes]
    threat: Threat
    view: Callable[[float], Any]
    question: Any
    auxiliary: Any
    recipe: Any = None


ENGINE = "in-process"
"""On which federations of these worlds run; both engines record the same."""


def as_bytes(claim: Any) -> bytes:
    match claim:
        case Scores(values=v):
            return np.asarray(v, float).tobytes()
        case Sources(clients=v):
            return np.asarray(v, int).tobytes()
        case Representatives(records=v):
            return np.asarray(v, float).tobytes()
        case Guesses(values=v):
            return b"".join(np.asarray(v[name], float).tobytes() for name in sorted(v))
        case Links(left=a, right=b):
            return a.tobytes() + b.tobytes()
        case Reconstruction(batches=b):
            return b"".join(np.asarray(b[k], float).tobytes() for k in sorted(b))
        case Groups(bounds=b, counts=c):
            return b"".join(b[k].tobytes() + c[k].tobytes() for k in sorted(b))
        case Values(columns=c, values=v):
            return b"".join(c[k].tobytes() + v[k].tobytes() for k in sorted(c))
        case Predicates(conjunctions=c):
            return repr(c).encode()
        case _:
            raise TypeError(type(claim))


def advantage(evidence: Evidence) -> float:
    """How much better the attack does on those used: difference of success rates, or AUC - 1/2 for scores."""
    from testbed.findings import statistics

    used, unused = evidence.cell("true", "used"), evidence.cell("true", "unused")
    if np.isnan(evidence.success).all():
        return statistics.auc(used.score, unused.score).value - 0.5
    return float(used.success.mean() - unused.success.mean())
