"""A recorder for NVIDIA FLARE: a component of the server that writes the testbed's transcript.

NVIDIA FLARE is not installed with the testbed. This file is loaded by jobs that name it, on a server that has both.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from testbed.core import Parameters, Protocol, Status, Transcript
from testbed.subjects.federation.flare_messages import added, arrays_of, content, in_order, numbers_in, plain_arrays
from testbed.subjects.federation.recorder import Recorder, attempted

_LOG = logging.getLogger("testbed")
Widget: Any = importlib.import_module("nvflare.widgets.widget").Widget
SENT = "_after_task_data_filter"
"""FLARE's event after all filters of what goes to a client."""
ANSWERED = "_after_task_result_filter"
"""FLARE's event after all of the server's filters of what a client returned."""
AGGREGATED = "_after_model_update"
"""FLARE's event when the global model has changed."""
STARTED, ENDED = "_start_run", "_end_run"
TASK_DATA, TASK_RESULT, TASK_NAME, TASK_ID = "__task_data__", "__task_result__", "__task_name__", "__task_id__"
ROUND = "current_round"
BEFORE_TRAINING = "initial_metrics"
"""Where a training answer holds the client's metrics of the model that it received."""
EVALUATE = "validate"
"""The task in which clients evaluate a model."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What went to a client: the round, the task, the arrays, and their number in the spool."""

    round: int
    task: str
    arrays: Parameters | None
    number: int | None


class TranscriptRecorder(Widget):
    """Records what the server of an NVIDIA FLARE job sends and receives.

    Write `recipe.add_server_input_filter(TranscriptRecorder(path))`, or `job.to_server(TranscriptRecorder(path))`. It
    filters nothing: it listens to the events of the server, after all filters.

    The file lies at `path` on the server when the job ends, and its spool beside it until then. Rounds have FLARE's
    numbers. Clients are numbered from 0 in the order of their names, as site-1, site-2, site-10; each message's
    settings hold the client's name. The other arguments are the rules of training, as `Protocol` has them.

    New weights and differences of weights are both recorded as new weights. Metrics of a received model, which clients
    send with their training answers (`FLModel(metrics=...)`) or for the task validate, are recorded as evaluations.
    Arrays in a message's meta, such as SCAFFOLD's, are named after their entry: `scaffold_c_diff.weight`. Nothing here
    raises an error into the job: what cannot be read is recorded as unread, and the log says so.
    """

    def __init__(
        self,
        path: str,
        kind: Literal["fedavg", "fedsgd", "unknown"] = "fedavg",
        batch_size: int | None = None,
        local_epochs: int = 1,
        local_steps: int | None = None,
        learning_rate: float | None = None,
    ) -> None:
        super().__init__()
        # FLARE writes a job's configuration from attributes that are called as the arguments.
        self.path = path
        self.kind: Literal["fedavg", "fedsgd", "unknown"] = kind
        self.batch_size = batch_size
        self.local_epochs = local_epochs
        self.local_steps = local_steps
        self.learning_rate = learning_rate
        self._recorder: Recorder | None = None
        self._clients: dict[str, int] = {}
        self._waiting: dict[tuple[str, str], _Sent] = {}
        self._round = 0
        self._one_at_a_time = threading.Lock()

    def add_to_fed_job(self, job: Any, ctx: Any, **_: Any) -> str:
        """Adds this recorder to a job's server; FLARE calls it. The server imports the testbed from where it is."""
        packages = getattr(job.job, "app_packages", [])
        job.set_app_packages(sorted({*packages, "testbed"}))  # else FLARE sends a copy of this file and not of others
        return job.add_component("transcript_recorder", self, ctx)

    def handle_event(self, event_type: str, fl_ctx: Any) -> None:
        """Records messages as FLARE announces them."""
        steps = {
            STARTED: self._start,
            SENT: self._send,
            ANSWERED: self._answer,
            AGGREGATED: self._whole,
            ENDED: self._end,
        }
        if step := steps.get(event_type):
            with self._one_at_a_time:
                attempted(lambda: step(fl_ctx))

    def _start(self, fl_ctx: Any) -> None:
        protocol = Protocol(self.kind, self.batch_size, self.local_epochs, self.local_steps, self.learning_rate)
        try:
            self._recorder = Recorder(Transcript((), None, protocol), Path(self.path))
        except Exception as error:  # a spool of another run, or a folder that cannot be made
            _LOG.warning("the job is not recorded: %s", error)
            return
        for name in sorted((client.name for client in fl_ctx.get_engine().get_clients()), key=in_order):
            self._numbered(name)

    def _numbered(self, name: str) -> int:
        """The client's number; the next one for a client that joins later."""
        return self._clients.setdefault(name, len(self._clients))

    def _send(self, fl_ctx: Any) -> None:
        if self._recorder is None:
            return
        message, name = fl_ctx.get_prop(TASK_DATA), _client(fl_ctx)
        task, id_ = str(fl_ctx.get_prop(TASK_NAME)), str(fl_ctx.get_prop(TASK_ID))
        told = message.get_header(ROUND)
        round_ = self._round if told is None else int(told)
        if round_ > self._round:
            self._whole(fl_ctx)
        self._round = max(self._round, round_)
        arrays = attempted(lambda: arrays_of(message))
        self._waiting[id_, name] = _Sent(round_, task, arrays, self._recorder.arrays(lambda: arrays))

    def _answer(self, fl_ctx: Any) -> None:
        message, name = fl_ctx.get_prop(TASK_RESULT), _client(fl_ctx)
        sent = self._waiting.pop((str(message.get_header(TASK_ID)), name), None)
        if self._recorder is None or sent is None:
            return
        if message.get_return_code() != "OK":
            self._record(sent, name, None, "error", {}, _kind(sent, None))
            return
        told = content(message)
        returned = attempted(lambda: arrays_of(message))
        if returned and told.get("kind") == "WEIGHT_DIFF":
            returned = added(sent.arrays or {}, returned)
        number = self._recorder.arrays(lambda: returned)
        before: Mapping[str, Any] = told.get("meta", {}).get(BEFORE_TRAINING) or {}
        metrics = numbers_in(told.get("meta", {})) | numbers_in(before)
        if told.get("kind") == "METRICS":
            metrics |= numbers_in(told.get("data", {}))
        kind = _kind(sent, returned)
        self._record(sent, name, number, "ok", metrics, kind)
        if kind is None and before:
            self._record(sent, name, None, "ok", metrics, "evaluate")

    def _record(
        self, sent: _Sent, name: str, returned: int | None, status: Status, metrics: dict[str, float], kind: str | None
    ) -> None:
        assert self._recorder is not None
        settings = {"client": name, "task": sent.task}
        key = sent.round, self._numbered(name)
        self._recorder.exchange(key, (sent.number, returned), status, metrics, settings, kind)

    def _whole(self, fl_ctx: Any) -> None:
        if self._recorder is None:
            return
        model: Mapping[str, Any] = fl_ctx.get_prop("global_model") or {}
        weights: Mapping[str, Any] | None = model.get("weights")
        final = self._recorder.arrays(lambda: plain_arrays(weights)) if weights else None
        self._recorder.whole(self._round, self._numbers(), final)

    def _end(self, fl_ctx: Any) -> None:
        if self._recorder is None:
            return
        for (_, name), sent in self._waiting.items():
            self._record(sent, name, None, "dropped", {}, _kind(sent, None))
        self._waiting.clear()
        self._whole(fl_ctx)
        self._recorder.finish(self._numbers())

    def _numbers(self) -> dict[int, int]:
        return {number: number for number in self._clients.values()}


def _client(fl_ctx: Any) -> str:
    return str(fl_ctx.get_peer_context().get_identity_name())


def _kind(sent: _Sent, returned: Parameters | None) -> str | None:
    """The type of a message that trains nothing, or None for training: a model came back, or nothing yet."""
    if sent.task == EVALUATE:
        return "evaluate"
    return None if sent.arrays and (returned or sent.task == "train") else f"query.{sent.task}"
