# pyright: strict
"""What is measured, declared before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from testbed.findings.schema import Metric, Risk, Unit

DERIVED = {"auc": 100, "offline": 1, "paired": 220, "paired_clients": 240}
"""By how much the number of a rule that is derived from an attack's own rule is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was declared before any number was seen: the rule, the risk, the attack, and whether it decides.

    The rule belongs to the attack. Where one attack answers several questions of one rule, such as a sweep's settings,
    `variant` distinguishes them in the evidence folder.
    """

    rule: str
    risk: Risk
    attack: str
    metric: Metric = "rate"
    unit: Unit = "record"
    primary: bool = False
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    target: str | None = None
    fpr: float | None = None
    perceptual: bool = False
    """Whether reconstructed pictures are also compared in a network's features, which needs its weights."""
    variant: str = ""

    @property
    def key(self) -> str:
        """The name of the plan's evidence: its rule, and the variant where there is one."""
        return f"{self.rule}.{self.variant}" if self.variant else self.rule

    def area(self) -> Plan:
        """The plan for the area under the curve of the same attack, which informs."""
        return replace(self, rule=derived(self.rule, "auc"), metric="auc", primary=False)


def derived(rule: str, by: str) -> str:
    """The rule that follows from another one, such as that of an attack's area under the curve."""
    risk, _, number = rule.rpartition("-")
    return f"{risk}-{int(number) + DERIVED[by]:03d}"


def numbered(rule: str, place: int) -> str:
    """The rule `place` numbers after another one: an attack that asks about several secrets has a block of rules."""
    risk, _, number = rule.rpartition("-")
    return f"{risk}-{int(number) + place:03d}"
