# pyright: strict
"""Who attacks, from where, and what the attacker knows beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from testbed.core.errors import ThreatError

Position = Literal["server", "client", "recipient"]


Access = Literal["white", "score", "label"]


KNOWLEDGE = frozenset(
    {
        "architecture",  # the model's code, so that gradients can be computed
        "auxiliary",  # other people's records from the same population
        "batch_size",
        "generator",  # the synthesiser's code
        "hyper_parameters",  # learning rate, steps, optimiser
        "known_columns",  # a target's other attributes
        "labels",  # the labels in a client's batch
        "queries",  # may ask the model about records of the attacker's own making
        "recipe",  # may run the whole pipeline on own records
        "some_memberships",  # of people other than those asked about, who was used and who was not
        "target_records",  # the records whose membership is in doubt
    }
)
"""The closed set of what an attacker may know beforehand; what is not granted is refused."""


@dataclass(frozen=True, slots=True)
class Threat:
    """Who attacks, from where, knowing what. `nodes` are the partitions a client position holds."""

    position: Position
    malicious: bool = False
    knows: frozenset[str] = frozenset()
    access: Access = "white"
    budget: int | None = None
    nodes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if unknown := self.knows - KNOWLEDGE:
            raise ThreatError(
                "TB-THREAT-001",
                f"Unknown kind of knowledge: {', '.join(sorted(unknown))}.",
                "What an attacker may know is a closed set, so that threat models can be compared.",
                f"Use some of: {', '.join(sorted(KNOWLEDGE))}.",
            )
