"""All code that uses Flower beyond its public interface; it is tested against one pinned version.

It uses the identity that `Message()` reads (`flwr.supercore.task_identity`), the private message id, the `Run` type of
`Grid`, `run_simulation` (deprecated in Flower 1.41, without a successor in Python), secure aggregation (SecAgg+),
which exists only in Flower's legacy workflow, and how the processes of a deployment start apps and wait for messages.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from testbed.core.executor import loopback, swept

VERSION = "1.41.0"
PARTITION = "partition-id"
PARTITIONS = "num-partitions"
FIRST_NODE = 1000
CLIENT_ERROR = 0


class InMemoryGrid(Grid):
    """A grid whose nodes run in this process: each message is answered at once by a call of the ClientApp.

    Replies come in the order of the messages, and node ids ascend with partition ids, so that runs are repeatable.
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
        # A client must not be able to change the server's arrays or the config of other clients.
        content = message.content.copy()
        for name, record in message.content.config_records.items():
            content[name] = copy.deepcopy(record)
        private = Message(content, node, message.metadata.message_type)
        private.metadata.__dict__.update(message.metadata.__dict__)
        try:
            return self._app(private, self._contexts[node])
        except Exception as error:  # as in a SuperNode, a failure is sent as a reply
            return Message(Error(code=CLIENT_ERROR, reason=f"{type(error).__name__}: {error}"), reply_to=private)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(list(messages)))


def run_in_process(server_app: ServerApp, client_app: ClientApp, nodes: int) -> None:
    """Runs a federation in this process."""
    with identity(), quiet():
        context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
        server_app(InMemoryGrid(client_app, nodes), context)


def run_simulation(server_app: ServerApp, client_app: ClientApp, nodes: int) -> None:
    """Runs a federation on Flower's simulation runtime (Ray), on the cluster that RAY_ADDRESS names, if it is set."""
    import ray
    from flwr.simulation import run_simulation as run

    config: dict[str, Any] = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    if "RAY_ADDRESS" not in os.environ:
        quietly: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "address": "local"}
        config["init_args"] = {"num_cpus": os.cpu_count() or 1, **quietly}
    local = loopback() if "init_args" in config else contextlib.nullcontext()
    with swept(), warnings.catch_warnings(), quiet(), local:
        for kind in (DeprecationWarning, FutureWarning, RuntimeWarning, UserWarning):  # not ResourceWarning
            warnings.simplefilter("ignore", kind)
        try:
            run(server_app, client_app, nodes, backend_config=cast(Any, config))
        finally:
            ray.shutdown()


@contextlib.contextmanager
def identity() -> Generator[None]:
    """A context in which Flower's messages can be made: outside of a run they lack a sender."""
    before = (TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id)  # pyright: ignore[reportPrivateUsage]
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    try:
        yield
    finally:
        TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = before  # pyright: ignore[reportPrivateUsage]


@contextlib.contextmanager
def quiet(below: int = logging.ERROR) -> Generator[None]:
    """A context in which Flower logs only from a level on, by default errors: its progress lines are not shown."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(below)
    try:
        yield
    finally:
        logger.setLevel(level)


LOADED = ("flwr.superlink.main", "flwr.supernode.main", "flwr.superlink.grid.http_grid", "flwr.cli.ls")
"""Modules that Flower's commands import only when they run; imported before they are started, all of them share it."""
PAUSE_S = 0.3
"""Seconds between two questions of a SuperNode or a ServerApp whether there are messages; Flower waits for 3."""


def deployed(bundle: str, launch: Callable[[Sequence[str]], None]) -> dict[str, Callable[[], Any]]:
    """Flower's commands by name, settled for processes that are forked from this one.

    Apps are started by `launch` with their command line. They refuse every bundle but the one whose SHA-256 is
    `bundle`: whoever reaches the port of a SuperLink may start a run, and a run's code would see the clients' records.
    """
    from flwr.cli.install import install_from_fab

    def popen(command: Sequence[str], **_: Any) -> None:
        launch(command)

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, PAUSE_S))

    def installed(content: bytes, **options: Any) -> Any:
        if hashlib.sha256(content).hexdigest() != bundle:
            raise PermissionError("another app than the one of this deployment")
        return install_from_fab(content, **options)

    starting = SimpleNamespace(Popen=popen, DEVNULL=None)
    asking = SimpleNamespace(**{**vars(time), "sleep": sleep})
    _settle("flwr.supercore.superexec.executor.subprocess_executor", "subprocess", starting)
    for module in ("flwr.superlink.grid.http_grid", "flwr.supernode.start_client_internal"):
        _settle(module, "time", asking)
    for module in ("flwr.supernode.runtime.run_clientapp", "flwr.superlink.runtime.run_serverapp"):
        _settle(module, "install_from_fab", installed)
    for module in LOADED:
        importlib.import_module(module)
    points = metadata.distribution("flwr").entry_points.select(group="console_scripts")
    return {point.name: point.load() for point in points if not point.name.endswith(("simulation", "agentapp"))}


def _settle(module: str, name: str, value: Any) -> None:
    """Replaces what a module of Flower calls by this name; a package may hide its module behind a function."""
    loaded: Any = importlib.import_module(module)
    if not hasattr(loaded, name):
        raise AttributeError(f"{module} has no {name}: Flower is not the version that this was written for")
    setattr(loaded, name, value)


def bundle_of(app: Path) -> str:
    """The SHA-256 of the bundle that Flower makes of the app in this folder."""
    from flwr.cli.build import build_fab_from_disk

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a library that Flower lists files with
        return hashlib.sha256(build_fab_from_disk(app)).hexdigest()


@dataclass
class Shares:
    """What a server collects in one round of SecAgg+: masked vectors, and shares of both secrets of every node.

    An honest server receives shares of only one secret of a node: of the seed of the node's own mask if the node is
    alive, or of the key of its pairwise masks if it dropped out.
    """

    keys: dict[int, bytes] = field(default_factory=dict[int, bytes])
    neighbours: dict[int, list[int]] = field(default_factory=dict[int, "list[int]"])
    masked: dict[int, list[Any]] = field(default_factory=dict[int, "list[Any]"])
    seeds: dict[int, list[bytes]] = field(default_factory=dict[int, "list[bytes]"])
    secrets: dict[int, list[bytes]] = field(default_factory=dict[int, "list[bytes]"])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


class AskingForBoth(Grid):
    """A malicious server's grid for SecAgg+: it asks for shares as if living nodes had also dropped out.

    All answers are stored in `shares`. The workflow receives the honest part of each answer, so the sum stays right.
    """

    def __init__(self, inner: Grid, shares: Shares) -> None:
        self._inner, self._shares = inner, shares

    def set_run(self, run: Run) -> None:
        self._inner.set_run(run)

    @property
    def run(self) -> Run:
        return self._inner.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return self._inner.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        return self._inner.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._inner.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._inner.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        sent = list(messages)
        stage, honest = "", dict[int, "tuple[int, int]"]()
        for message in sent:
            config = cast(dict[str, Any], message.content.config_records[SECURE_RECORD])
            node, stage = message.metadata.dst_node_id, str(config["stage"])
            if stage == "setup":
                self._shares.settings = {k: config[k] for k in ("clipping_range", "target_range", "mod_range")}
            elif stage == "share_keys":
                known = {int(k): v for k, v in config.items() if k != "stage"}
                self._shares.keys |= {k: v[0] for k, v in known.items()}
                self._shares.neighbours[node] = [k for k in known if k != node]
            elif stage == "unmask":
                living, dead = list(config["active_nids"]), list(config["dead_nids"])
                honest[node] = (len(living), len(living) + len(dead))
                config["dead_nids"] = dead + living
        replies = list(self._inner.send_and_receive(sent, timeout=timeout))
        for reply in (r for r in replies if not r.has_error()):
            config = cast(dict[str, Any], reply.content.config_records[SECURE_RECORD])
            node = reply.metadata.src_node_id
            if stage == "collect_masked_vectors":
                self._shares.masked[node] = list(config["masked_params"])
            elif stage == "unmask":
                living, kept = honest[node]
                for place, (owner, share) in enumerate(zip(config["nids"], config["shares"], strict=True)):
                    (self._shares.seeds if place < living else self._shares.secrets).setdefault(owner, []).append(share)
                config["nids"], config["shares"] = config["nids"][:kept], config["shares"][:kept]
        return replies


SECURE_RECORD = "secaggplus_configs"


def unmasked(shares: Shares, node: int) -> list[Any] | None:
    """One node's own vector, computed from shares of both its secrets; None if they were not collected."""
    from flwr.common import bytes_to_ndarray
    from flwr.common.secure_aggregation import ndarrays_arithmetic as arithmetic
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
    from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_mod
    from flwr.common.secure_aggregation.quantization import dequantize
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    from flwr.supercore.primitives.asymmetric import bytes_to_private_key, bytes_to_public_key

    if node not in shares.masked or node not in shares.seeds or node not in shares.secrets:
        return None
    modulus = int(shares.settings["mod_range"])
    vector = [bytes_to_ndarray(b) for b in shares.masked[node]]
    dimensions = [v.shape for v in vector]
    vector = arithmetic.parameters_subtraction(
        vector, pseudo_rand_gen(combine_shares(shares.seeds[node]), modulus, dimensions)
    )
    secret = bytes_to_private_key(combine_shares(shares.secrets[node]))
    for other in shares.neighbours[node]:
        key = generate_shared_key(secret, bytes_to_public_key(shares.keys[other]))
        mask = pseudo_rand_gen(key, modulus, dimensions)
        undo = arithmetic.parameters_subtraction if node > other else arithmetic.parameters_addition
        vector = undo(vector, mask)
    ratio, parts = arithmetic.factor_extract(parameters_mod(vector, modulus))
    target = int(shares.settings["target_range"])
    plain = dequantize(parts, float(shares.settings["clipping_range"]), target)
    return [p * (target / ratio) for p in plain]


class RefusalError(Exception):
    """A client's own mod answered with an error, within the mods of secure aggregation."""


def secure_mods(names: Sequence[str]) -> list[Any]:
    """The mods that a client on the Message API needs under SecAgg+: the protocol, and a translation of messages.

    Where the client refuses to train, they raise `RefusalError`. Without the translation, every client fails in the
    third stage of a round, and the workflow stops without an error.
    """
    from flwr.app import Array, ArrayRecord, ConfigRecord
    from flwr.client.mod import secaggplus_mod
    from flwr.common import FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
    from flwr.common.typing import Code
    from flwr.compat.common import recorddict_compat

    def translated(message: Message, context: Context, call_next: Any) -> Message:
        if message.metadata.message_type != "train":
            return call_next(message, context)
        asked = recorddict_compat.recorddict_to_fitins(message.content, keep_input=True)
        given_arrays = parameters_to_ndarrays(asked.parameters)
        arrays = {n: Array(np.ascontiguousarray(v)) for n, v in zip(names, given_arrays, strict=True)}
        config = ConfigRecord(cast(Any, asked.config))
        message.content = RecordDict({"arrays": ArrayRecord(arrays), "config": config})
        reply = call_next(message, context)
        if reply.has_error():  # Flower's mod would read the content that an error does not have
            raise RefusalError
        answered = next(iter(reply.content.array_records.values()))
        metrics = next(iter(reply.content.metric_records.values()))
        values = ndarrays_to_parameters([answered[n].numpy() for n in names])
        result = FitRes(Status(Code.OK, ""), values, int(str(metrics["num-examples"])), {})
        reply.content = recorddict_compat.fitres_to_recorddict(result, keep_input=True)
        return reply

    return [secaggplus_mod, translated]


def secure_round(
    grid: Grid, round_: int, sent: dict[int, list[Any]], config: dict[str, Any], threshold: float, max_weight: float
) -> list[Any] | None:
    """The weighted mean of one round of SecAgg+ over the nodes in `sent` (arrays by node); None if the round halted."""
    from flwr.app import ConfigRecord
    from flwr.common import FitIns, ndarrays_to_parameters, parameters_to_ndarrays
    from flwr.compat.common import recorddict_compat
    from flwr.server.compat.legacy_context import LegacyContext
    from flwr.server.workflow import SecAggPlusWorkflow
    from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key

    means: list[list[Any]] = []

    class Asking:
        def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> list[Any]:
            return [
                (SimpleNamespace(node_id=n), FitIns(ndarrays_to_parameters(a), dict(config))) for n, a in sent.items()
            ]

        def aggregate_fit(self, server_round: int, results: list[Any], failures: list[Any]) -> tuple[None, Any]:
            means.append(parameters_to_ndarrays(results[0][1].parameters))
            return None, {}

    context = LegacyContext(
        Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={}), strategy=cast(Any, Asking())
    )
    context.client_manager.num_available = lambda: len(sent)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: round_})
    first = ndarrays_to_parameters(next(iter(sent.values())))
    context.state.array_records[MAIN_PARAMS_RECORD] = recorddict_compat.parameters_to_arrayrecord(
        first, keep_input=True
    )
    # The result says whether the round halted; Flower's own log lines would not name the run.
    with warnings.catch_warnings(), quiet(logging.CRITICAL):
        warnings.simplefilter("ignore")
        SecAggPlusWorkflow(1.0, threshold, max_weight=max_weight)(grid, context)
    return means[0] if means else None
