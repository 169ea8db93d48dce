"""Axes of realism: how a scenario's federation differs from all clients, in all rounds, under FedSGD or FedAvg."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from testbed.core import Protocol
from testbed.core.errors import UsageError
from testbed.subjects.federation.attendance import Attendance

PLAIN = "plain"
USUAL: dict[str, float | None] = {"fedprox": 0.1, "fedadam": 0.01, "scaffold": None}
"""The algorithms, each with the value that it has if none is given: FedProx's mu, and the rate of FedAdam's server."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The rules that a scenario adds to its protocol, and who takes part."""

    rules: Mapping[str, Any] = field(default_factory=dict[str, Any])
    attendance: Attendance = field(default_factory=Attendance)
    name: str = PLAIN

    def applied(self, protocol: Protocol) -> Protocol:
        """The protocol under these rules."""
        return replace(protocol, **self.rules)

    @property
    def plain(self) -> bool:
        """Whether nothing differs."""
        return not self.rules and self.attendance.everybody

    @property
    def several(self) -> bool:
        """Whether only several rounds show what these axes do."""
        few = self.attendance.participation < 1 or self.attendance.dropouts > 0 or self.attendance.late
        return few or "server" in self.rules or "controls" in self.rules

    @property
    def title(self) -> str:
        """What differs, for the report's subject: empty, or as `, scaffold, personal layers`."""
        told = [self.name] if self.name != PLAIN else []
        told += ["personal layers"] if "personal" in self.rules else []
        attends = self.attendance
        told += [f"{attends.participation:.0%} of clients a round"] if attends.participation < 1 else []
        told += [f"{attends.dropouts:.0%} dropouts"] if attends.dropouts else []
        kind = "late" if attends.late else "partial"
        told += [f"{attends.stragglers:.0%} {kind} stragglers"] if attends.stragglers else []
        return "".join(f", {t}" for t in told)

    @property
    def sees(self) -> str:
        """What the server sees otherwise than without these axes: empty, or a part of a sentence."""
        told = ["control variates both ways"] if "controls" in self.rules else []
        told += ["no personal layers"] if "personal" in self.rules else []
        told += ["nothing of a client in rounds in which it does not answer"] if not self.attendance.everybody else []
        return f" ({'; '.join(told)})" if told else ""


def axes(algorithm: str, personal: int, attendance: Attendance) -> Axes:
    """The axes that a scenario's parameters name: `algorithm` is plain, scaffold, or fedprox:MU and fedadam:RATE.

    The last two go together: `fedprox:0.1+fedadam:0.01`. Raises `UsageError` for any other text.
    """
    rules: dict[str, Any] = {"personal": personal} if personal else {}
    parts = [] if algorithm.strip() == PLAIN else [p.strip() for p in algorithm.split("+")]
    for part in parts:
        name, colon, text = part.partition(":")
        value = _value(name, text if colon else None)
        match name:
            case "fedprox":
                rules["proximal_mu"] = value
            case "fedadam":
                rules |= {"server": "adam", "server_rate": value}
            case _:
                rules["controls"] = True
    return Axes(rules, attendance, algorithm.strip())


def _value(name: str, text: str | None) -> float | None:
    """The value of an algorithm, its usual one if none is given. Raises `UsageError`."""
    usual = USUAL.get(name)
    try:
        value = usual if text is None else float(text)
    except ValueError:
        value = math.nan
    wrong = value is not None and not 0 < value < math.inf
    if name not in USUAL or wrong or (usual is None and text is not None):
        raise UsageError(
            "TB-SCENARIO-095",
            "There is no such algorithm.",
            "fedprox takes mu and fedadam the server's rate, each above 0; scaffold takes no value.",
            f"Use {PLAIN}, fedprox:0.1, fedadam:0.01, fedprox:0.1+fedadam:0.01, or scaffold.",
        )
    return value
