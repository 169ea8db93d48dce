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

    `nodes` are the client numbers that an attacker in a client's position controls. With `turns`, the position changes
    by round: the attacker is the server in these rounds alone, and in all others a client that holds `nodes`, as where
    hospitals aggregate in turn (swarm learning). Raises `ThreatError` for a kind of knowledge that is not in
    `KNOWLEDGE`, and for turns of another position than the server's or without a node.
    """

    position: Position
    malicious: bool = False
    knows: frozenset[str] = frozenset()
    access: Access = "white"
    budget: int | None = None
    nodes: tuple[int, ...] = ()
    turns: tuple[int, ...] | None = None

    @property
    def own(self) -> tuple[int, ...]:
        """The clients whose records are the attacker's own; none of a server that is no client."""
        return self.nodes if self.position == "client" or self.turns is not None else ()

    def __post_init__(self) -> None:
        if unknown := self.knows - KNOWLEDGE:
            raise ThreatError(
                "TB-THREAT-001",
                f"Unknown kind of knowledge: {', '.join(sorted(unknown))}.",
                "The kinds of knowledge are a fixed list, so that threat models can be compared.",
                f"Use only: {', '.join(sorted(KNOWLEDGE))}.",
            )
        if self.turns is not None and (self.position != "server" or not self.nodes):
            raise ThreatError(
                "TB-THREAT-004",
                "Turns were given to an attacker that cannot take them.",
                "Whoever aggregates in some rounds is the server then, and a client in all others.",
                "Use the position server, and name the attacker's own client in `nodes`.",
            )
