"""Answers to an app's own queries: a real app is recorded and judged with a positive control; bad answers are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

import testbed
from testbed.attacks.membership.queries import query_metrics
from testbed.core import Asked, Cohort, Protocol, Records, Threat, Transcript, Unavailable
from testbed.core.errors import InputError
from testbed.findings.schema import Estimate, Finding, Unmeasured
from testbed.subjects.federation import compat, transcript
from tests.attacks.test_evaluations import FACTORY, SPEC, names, net, people, told

THREAT = Threat("server", knows=frozenset({"architecture", "target_records"}))
CLIENTS, EACH, MODELS = 4, 3, 24


def app() -> ClientApp:
    """A client that says how it does under a model that the server sends, in a metric and in an array of one number."""
    made = ClientApp()

    @made.query("check")
    def check(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        model = net(0)
        model.load_state_dict(message.content["model"].to_torch_state_dict())  # type: ignore[union-attr]
        said = told(model, people(EACH, number))
        numbers = MetricRecord({"num-examples": EACH, "partition-id": number})
        arrays = ArrayRecord({"loss": Array(np.array(said["eval_loss"]))})
        return Message(RecordDict({"numbers": numbers, "arrays": arrays}), reply_to=message)

    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app of queries alone, recorded, with its clients' records and some that nobody holds."""
    folder = tmp_path_factory.mktemp("queries")
    strategy, server = testbed.record(FedAvg(), path=folder / "t.transcript"), ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        with strategy.watching(grid):
            for number in range(MODELS):
                sent = RecordDict({"model": ArrayRecord(net(number).state_dict())})
                grid.send_and_receive([Message(sent, node, "query.check") for node in grid.get_node_ids()])

    compat.run_in_process(server, app(), CLIENTS)
    for number in range(CLIENTS):
        saved(folder / f"{number}.npz", people(EACH, number))
    saved(folder / "controls.npz", people(400, 100))
    (folder / "net.py").write_text(FACTORY)
    return folder


def saved(path: Path, held: Cohort) -> None:
    np.savez(path, x=held.x, y=held.y)


def judged(folder: Path, path: str = "t.transcript", shift: int = 0, **more: Any) -> Finding:
    records = {number: folder / f"{(number + shift) % CLIENTS}.npz" for number in range(CLIENTS)}
    asked: dict[str, Any] = {"records": records, "controls": folder / "controls.npz", **more}
    done = testbed.replay(folder / path, "query_metrics", model=f"{folder}/net.py:net", shape=(6,), **asked)
    return done.result.findings[0]


def test_an_app_of_queries_is_judged_with_its_owners_records_and_a_positive_control(folder: Path) -> None:
    found = judged(folder)
    assert isinstance(found.measure, Estimate)
    assert isinstance(found.excess, Estimate)
    assert isinstance(found.baseline, Estimate)
    assert isinstance(found.positive_control, Estimate)
    assert found.excess.low > 0.3
    assert found.baseline.value == found.measure.fpr
    assert found.positive_control.value >= 0.9
    assert found.validity.flags == ["few_guesses"]


def test_other_clients_files_explain_no_answer(folder: Path) -> None:
    found = judged(folder, shift=1)
    assert "answers_unexplained" in found.validity.flags
    assert "positive_control_missing" in found.validity.flags


def rewritten(folder: Path, name: str, change: Callable[[float], float]) -> str:
    """The recording with its losses changed, as an app that hides them sends them."""
    seen = transcript.read(folder / "t.transcript")
    with transcript.Writer(folder / name, protocol=Protocol("fedavg", 4, learning_rate=0.1)) as writer:
        for e in seen.asked:
            loss = change(float((e.returned or {})["loss"]))
            writer.evaluated(e.round, e.client, e.sent, {"loss": loss, "num-examples": EACH}, e.kind)
    return name


def test_a_rounded_answer_has_no_positive_control_that_is_not_rounded(folder: Path) -> None:
    found = judged(folder, rewritten(folder, "rounded.transcript", lambda loss: round(loss, 1)))
    assert isinstance(found.positive_control, Unmeasured)
    assert found.validity.flags == ["few_guesses", "positive_control_missing"]


def test_the_queries_of_one_name_can_be_read_alone(folder: Path) -> None:
    whole, other = judged(folder, params={"query": "check"}), judged(folder, params={"query": "chekc"})
    assert isinstance(whole.measure, Estimate)
    assert other.measure == Unmeasured(
        unmeasured="no_query_metrics",
        needs="clients' answers with a loss or an accuracy, and the model that each is about",
    )


def asked(metrics: dict[str, float], sent: Any, returned: Any = None, kind: str = "query") -> Asked:
    return Asked(0, 0, sent, returned, metrics, kind=kind)


def read(*answers: Asked) -> Any:
    view = Transcript((), SPEC, Protocol(), asked=answers)
    return query_metrics.run(view, Records(people(5)), None, 0, THREAT)


MODEL = dict(zip(names(), (p.detach().numpy() for p in net(1).parameters()), strict=True))
COUNTS = {"histogram": np.array([3.0, 4.0]), "edges": np.array([0.0, 1.0, 2.0])}


@pytest.mark.parametrize(
    "answer",
    [
        asked({}, MODEL),  # without numbers
        asked({"loss": float("nan")}, MODEL),
        asked({"patients": 7.0}, MODEL),
        asked({"loss": 0.5}, None),  # nothing says of which model
        asked({"num-examples": 3.0}, {"edges": COUNTS["edges"]}, COUNTS),  # federated analytics
        asked({}, MODEL, {"losses": np.array([0.5, 0.7])}),  # several numbers
        asked({"loss": 0.5}, MODEL, kind="evaluate"),  # no query
    ],
)
def test_answers_that_say_no_loss_of_a_model_are_named(answer: Asked) -> None:
    with pytest.raises(Unavailable, match="no_query_metrics"):
        read(answer)


def test_models_of_another_kind_are_passed_over_and_refused_where_there_is_no_other() -> None:
    other = asked({"loss": 0.5}, {"edges": COUNTS["edges"]})
    broken = asked({"loss": 0.5}, {**MODEL, names()[0]: MODEL[names()[0]] * np.nan})
    whole = asked({"loss": 0.5, "num-examples": 4.0}, MODEL)
    assert np.array_equal(read(other, whole).values, read(whole).values)
    with pytest.raises(InputError, match="TB-MODEL-003"):
        read(other)
    assert torch.isfinite(torch.tensor(read(broken, whole).values)).all()
