# pyright: strict
"""A plan: one measurement, declared before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from testbed.core.rules import derived as derived
from testbed.core.rules import numbered as numbered
from testbed.findings.schema import Metric, Risk, Unit

FEWEST_RUNS = 5
"""Runs that an interval over runs needs."""


UNAWARE = "an attacker who does not know the defence"
"""The target of a finding that stands beside that of an attacker who does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One measurement, declared before any number is seen: rule, risk, attack, metric, unit, and whether it decides.

    The rule belongs to the attack. If one attack answers several questions of one rule, such as the settings of a
    sweep, `variant` distinguishes them in the evidence folder.
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
    """Whether reconstructed pictures are also compared by a perceptual distance, which needs a network's weights."""
    unaware: bool = False
    """Whether the attacker is not told which defence is used, for comparison with one who is."""
    variant: str = ""

    @property
    def key(self) -> str:
        """The name of the plan's evidence: its rule, and the variant if there is one."""
        return f"{self.rule}.{self.variant}" if self.variant else self.rule

    def area(self) -> Plan:
        """The plan for the AUC of the same attack, which only informs."""
        return replace(self, rule=derived(self.rule, "auc"), metric="auc", primary=False)
