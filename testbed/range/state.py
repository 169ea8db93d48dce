# pyright: strict
"""What the instructor's side remembers between commands, in the folder white/."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from testbed.range.instance import Instance, write_secret

STATE = "state.json"
BITS = 48
"""Bits of a seed from which people are generated. Whoever knows it knows everybody."""
Progress: TypeAlias = Callable[[str], None]


@dataclass
class State:
    """The seeds of people, and how far each team is."""

    seeds: dict[str, int]
    public_seed: int
    rounds: dict[str, int]
    dropped: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """The hospitals that no longer take part, by team."""
    hints: dict[str, int] = field(default_factory=dict[str, int])

    @staticmethod
    def new(teams: int) -> State:
        """The state of an exercise that begins, with new seeds."""
        names = [str(t) for t in range(1, teams + 1)]
        return State({t: secrets.randbits(BITS) for t in names}, secrets.randbits(BITS), dict.fromkeys(names, 0))

    @staticmethod
    def of(instance: Instance) -> State:
        told: dict[str, Any] = json.loads((instance.white / STATE).read_text(encoding="utf-8"))
        if isinstance(told.get("dropped"), list):  # an instance of an earlier version dropped them for all teams
            told["dropped"] = {team: list(told["dropped"]) for team in told["rounds"]}
        return State(**told)

    def keep(self, instance: Instance) -> None:
        write_secret(instance.white / STATE, json.dumps(vars(self)))
