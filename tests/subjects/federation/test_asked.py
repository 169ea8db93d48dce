"""Messages that train nothing: evaluations and queries are recorded beside the training, and pass on unchanged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

import testbed
from testbed.core import Threat
from testbed.core.errors import InputError, UsageError
from testbed.harness.federation.replay import replay
from testbed.subjects.federation import compat, header, tensors, transcript
from testbed.subjects.federation.tap import seen_by
from tests.conftest import ROOT
from tests.subjects.federation.test_tap import CLIENTS, SENT, moved

ANSWERED = [f"round{r}.client{c}" for r in (1, 2) for c in range(CLIENTS)]


class Asking(FedAvg):
    """Asks every node for its sum before it trains."""

    asked: list[Any]

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Any:
        questions = (Message(RecordDict({"about": ConfigRecord({"column": 2})}), n, "query.sum") for n in nodes(grid))
        self.asked = list(grid.send_and_receive(questions, timeout=3.0))
        return super().configure_train(server_round, arrays, config, grid)


def nodes(grid: Grid) -> list[int]:
    return sorted(grid.get_node_ids())


def client() -> ClientApp:
    app = ClientApp()

    def number(context: Context) -> int:
        return int(context.node_config["partition-id"])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = ArrayRecord({k: Array(v) for k, v in moved(number(context)).items()})
        metrics = MetricRecord({"num-examples": 1, "partition-id": number(context)})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        if number(context) == 2:
            raise ValueError("no data")
        metrics = MetricRecord({"loss": 0.5 + number(context), "num-examples": 4})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    @app.query("sum")
    def total(message: Message, context: Context) -> Message:
        sums = ArrayRecord({"sums": Array(np.arange(3.0) * number(context))})
        return Message(RecordDict({"sums": sums}), reply_to=message)

    return app


def run(strategy: Any, main: Any = None) -> None:
    app = ServerApp()

    @app.main()
    def usual(grid: Grid, context: Context) -> None:
        first = ArrayRecord({k: Array(v) for k, v in SENT.items()})
        (main or (lambda g: strategy.start(g, first, num_rounds=2)))(grid)

    compat.run_in_process(app, client(), CLIENTS)


def app(kind: type[FedAvg] = FedAvg) -> Any:
    return kind(min_train_nodes=CLIENTS, min_evaluate_nodes=CLIENTS, min_available_nodes=CLIENTS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds with queries and evaluations, recorded."""
    path = tmp_path_factory.mktemp("asked") / "t"
    run(testbed.record(app(Asking), path=path))
    return path


def test_evaluations_are_recorded_with_the_model_that_was_sent_and_the_loss(path: Path) -> None:
    seen = transcript.read(path)
    evaluated = [e for e in seen.asked if e.kind == "evaluate"]
    assert [e.key for e in evaluated] == [(r, c) for r in (1, 2) for c in range(CLIENTS)]
    answers = [(e.status, e.metrics.get("loss")) for e in evaluated[:CLIENTS]]
    assert answers == [("ok", 0.5), ("ok", 1.5), ("error", None)]
    for name, values in (evaluated[0].sent or {}).items():
        np.testing.assert_array_equal(values, ((seen.exchanges[-1]).sent or {})[name])


def test_queries_are_recorded_with_what_was_asked_and_answered(path: Path) -> None:
    queries = [e for e in transcript.read(path).asked if e.kind == "query.sum"]
    assert [e.key for e in queries] == [(r, c) for r in (1, 2) for c in range(CLIENTS)]
    assert {e.config["column"] for e in queries} == {2}
    assert [(e.returned or {})["sums"].tolist() for e in queries[:CLIENTS]] == [[0, 0, 0], [0, 1, 2], [0, 2, 4]]


def test_training_is_recorded_as_without_them(path: Path) -> None:
    seen = transcript.read(path)
    assert [f"round{r}.client{c}" for r, c in (e.key for e in seen.exchanges)] == ANSWERED
    plain = replace(seen, asked=())
    assert set(tensors.opened(path)[0]) == {"testbed", "testbed.more"}
    assert b"testbed.more" not in transcript.to_bytes(plain)
    assert transcript.to_bytes(seen) == path.read_bytes()


def test_the_grid_is_as_it_was_and_strategies_get_their_answers() -> None:
    strategy, grids = app(Asking), list[Any]()

    def main(grid: Grid) -> None:
        before, functions = set(vars(grid)), grid.send_and_receive
        testbed.record(strategy).start(grid, ArrayRecord({k: Array(v) for k, v in SENT.items()}), num_rounds=1)
        grids.append((set(vars(grid)) == before, grid.send_and_receive == functions))

    run(strategy, main)
    assert grids == [(True, True)]
    assert len(strategy.asked) == CLIENTS


@pytest.mark.parametrize("pushed", [False, True])
def test_an_app_of_queries_alone_is_recorded(tmp_path: Path, pushed: bool) -> None:
    strategy = testbed.record(FedAvg(), path=tmp_path / "t")

    def main(grid: Grid) -> None:
        with strategy.watching(grid):
            questions = [Message(RecordDict(), n, "query.sum") for n in nodes(grid)]
            if pushed:
                list(grid.pull_messages(list(grid.push_messages(questions))))
            else:
                grid.send_and_receive(questions)

    run(strategy, main)
    seen = transcript.read(tmp_path / "t")
    assert seen.exchanges == ()
    assert [(e.kind, e.key, e.status) for e in seen.asked] == [("query.sum", (0, c), "ok") for c in range(CLIENTS)]
    for attack in ("analytic_linear", "evaluation_metrics"):
        with pytest.raises(UsageError, match="0 answers to training, 0 to evaluations and 3 to queries"):
            replay(tmp_path / "t", attack)


def test_a_client_sees_its_own_alone(path: Path) -> None:
    seen = seen_by(transcript.read(path), Threat("client", nodes=frozenset({1})))  # type: ignore[arg-type]
    assert {e.client for e in seen.asked} == {1}


def test_a_replay_says_that_they_are_there(path: Path) -> None:
    said: list[str] = []
    done = replay(path, "analytic_linear", progress=said.append)
    assert said == [
        "The recording also holds clients' answers to 6 evaluations and 6 queries. analytic_linear does not read them.",
        "Evaluations are read by --attack evaluation_metrics.",
        "Losses and accuracies in answers to queries are read by --attack query_metrics.",
    ]
    told = " ".join(done.result.threat.not_tested)
    assert "when a model was evaluated" in told
    assert "to queries of the app" in told


def test_their_form_is_documented_and_checked(path: Path, tmp_path: Path) -> None:
    written = json.loads((ROOT / "docs" / "transcript.more.schema.json").read_text(encoding="utf-8"))
    assert written == header.schema_of_more()
    whole = path.read_bytes()
    (tmp_path / "t").write_bytes(whole.replace(b'\\"kind\\": \\"evaluate', b'\\"kynd\\": \\"evaluate'))
    with pytest.raises(InputError, match=r"TB-TRANSCRIPT-001.*beside its header is wrong at asked\.\d"):
        transcript.read(tmp_path / "t")
