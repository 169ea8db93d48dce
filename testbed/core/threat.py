# pyright: strict
"""The threat model: who attacks, from which position, and what the attacker knows beforehand."""

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
        "defence",  # the clients' and the server's defences with their parameters, but not their noise
        "generator",  # the synthesiser's code
        "hyper_parameters",  # learning rate, steps, optimiser
        "known_columns",  # a target's other attributes
        "labels",  # the labels in a client's batch
        "queries",  # the model's answers about records that the attacker makes up
        "recipe",  # the whole pipeline, to run on the attacker's own records
        "some_memberships",  # of people other than those asked about, who was used and who was not
        "some_sites",  # of people other than those asked about, at which hospital they are
        "target_records",  # the records whose membership is asked about
    }
)
"""All kinds of knowledge that a threat model can grant; an attack that needs one which is not granted is refused."""


@dataclass(frozen=True, slots=True)
class Threat:
    """A threat model: position, whether malicious, prior knowledge, access to the model, and the query budget.

    `nodes` are the client numbers that an attacker in a client's position controls. Raises `ThreatError` for a kind of
    knowledge that is not in `KNOWLEDGE`.
    """

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
                "The kinds of knowledge are a fixed list, so that threat models can be compared.",
                f"Use only: {', '.join(sorted(KNOWLEDGE))}.",
            )
