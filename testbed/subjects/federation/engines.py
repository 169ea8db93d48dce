"""The engines: each runs a ServerApp and a ClientApp on a number of nodes, and returns what the server saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from testbed.core import Transcript
from testbed.subjects.federation import compat, deployment

Seen: TypeAlias = Callable[[], Transcript]
"""What the server saw; it is called after the ServerApp has ended, in the process where the ServerApp ran."""
Engine: TypeAlias = Callable[[ServerApp, ClientApp, int, Seen], Transcript]


def _in_process(server: ServerApp, client: ClientApp, nodes: int, seen: Seen) -> Transcript:
    compat.run_in_process(server, client, nodes)
    return seen()


def _simulation(server: ServerApp, client: ClientApp, nodes: int, seen: Seen) -> Transcript:
    compat.run_simulation(server, client, nodes)
    return seen()


ENGINES: dict[str, Engine] = {
    "in-process": _in_process,
    "simulation": _simulation,
    "deployment": deployment.run,
}
