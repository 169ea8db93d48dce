"""Everything that touches Flower beyond its public interface; pinned to one version and tested against it.

Used here: the identity that `Message()` reads (`flwr.supercore.task_identity`), the private message id, the
`Run` type of `Grid`, and `run_simulation`, which Flower 1.41 calls deprecated and has no successor in Python.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

VERSION = "1.41.0"
PARTITION = "partition-id"
PARTITIONS = "num-partitions"
FIRST_NODE = 1000
CLIENT_ERROR = 0


class InMemoryGrid(Grid):
    """Nodes in this process: a message is answered by calling the ClientApp, replies in the order of nodes.

    Node ids ascend with partition ids, so that a run needs no clock and no race to be repeatable.
    """

    def __init__(self, client_app: ClientApp, nodes: int) -> None:
        self._app = client_app
        self._contexts = {
            FIRST_NODE + i: Context(
                run_id=1,
                node_id=FIRST_NODE + i,
                node_config={PARTITION: i, PARTITIONS: nodes},
                state=RecordDict(),
                run_config={},
            )
            for i in range(nodes)
        }
        self._run = Run.create_empty(run_id=1)
        self._replies: dict[str, Message] = {}
        self._sent = 0

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        keys: list[str] = []
        for message in messages:
            self._sent += 1
            key = f"m{self._sent}"
            message.metadata.__dict__["_message_id"] = key
            self._replies[key] = self._answer(message)
            keys.append(key)
        return keys

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        # A client must not be able to write into the server's arrays.
        private = Message(message.content.copy(), node, message.metadata.message_type)
        private.metadata.__dict__.update(message.metadata.__dict__)
        try:
            return self._app(private, self._contexts[node])
        except Exception as error:  # as a SuperNode does: the failure travels as a reply
            return Message(Error(code=CLIENT_ERROR, reason=f"{type(error).__name__}: {error}"), reply_to=private)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(list(messages)))


def run_in_process(server_app: ServerApp, client_app: ClientApp, nodes: int) -> None:
    """Run a federation in this process."""
    with _identity(), quiet():
        context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
        server_app(InMemoryGrid(client_app, nodes), context)


def run_simulation(server_app: ServerApp, client_app: ClientApp, nodes: int) -> None:
    """Run a federation on Flower's simulation runtime (Ray); RAY_ADDRESS names an existing cluster."""
    import ray
    from flwr.simulation import run_simulation as run

    config: dict[str, Any] = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    if "RAY_ADDRESS" not in os.environ:
        config["init_args"] = {"num_cpus": os.cpu_count() or 1, "include_dashboard": False, "log_to_driver": False}
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        try:
            run(server_app, client_app, nodes, backend_config=cast(Any, config))
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _identity() -> Generator[None]:
    before = (TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id)  # pyright: ignore[reportPrivateUsage]
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    try:
        yield
    finally:
        TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = before  # pyright: ignore[reportPrivateUsage]


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Flower's progress lines are not this program's; its warnings and errors are."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


ENGINES: dict[str, Callable[[ServerApp, ClientApp, int], None]] = {
    "in-process": run_in_process,
    "simulation": run_simulation,
}
