# pyright: strict
"""What is measured, declared before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.findings.schema import Metric, Risk, Unit


@dataclass(frozen=True, slots=True)
class Plan:
    """What was declared before any number was seen: the rule, the risk, the attack, and whether it decides."""

    rule: str
    risk: Risk
    attack: str
    metric: Metric
    unit: Unit
    primary: bool = True
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    target: str | None = None
    fpr: float | None = None
    perceptual: bool = False
    """Whether pictures that came back are also compared in a network's features, which needs its weights."""
