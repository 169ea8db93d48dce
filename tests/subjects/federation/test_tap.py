"""Nobody notices the recorder: an app runs with it as it does without, whatever its clients and its strategy do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Result

import testbed
from testbed.attacks.registry import find
from testbed.core import Batch, Protocol, Threat, Transcript
from testbed.core.errors import UsageError
from testbed.subjects.federation import compat

CLIENTS = 3
SENT = {"0.weight": np.ones((2, 3), np.float32), "0.bias": np.zeros(2, np.float32)}
Change = Callable[[int, int, RecordDict], None]
"""What a client does to its reply: (client, round, content)."""


def moved(client: int) -> dict[str, np.ndarray[Any, Any]]:
    """One step of one record whose values are the client's number + 1."""
    bias = np.array([0.1, -0.2], np.float32)
    return {
        "0.weight": SENT["0.weight"] - np.outer(bias, np.full(3, client + 1.0)).astype(np.float32),
        "0.bias": SENT["0.bias"] - bias,
    }


def run(strategy: Any, change: Change = lambda *_: None, starts: int = 1, rounds: int = 1) -> list[Any]:
    client, app, results = ClientApp(), ServerApp(), []

    @client.train()
    def train(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        arrays = ArrayRecord({k: Array(v) for k, v in moved(number).items()})
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1, "partition-id": number})})
        change(number, int(next(iter(message.content.config_records.values())).get("server-round", 0)), content)
        return Message(content, reply_to=message)

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        for _ in range(starts):
            first = ArrayRecord({k: Array(v) for k, v in SENT.items()})
            results.append(strategy.start(grid, first, num_rounds=rounds, train_config=ConfigRecord({})))

    compat.run_in_process(app, client, CLIENTS)
    return results


def fedavg(kind: type[FedAvg] = FedAvg) -> Any:
    return kind(fraction_evaluate=0.0, min_train_nodes=CLIENTS, min_available_nodes=CLIENTS)


def recorded(change: Change = lambda *_: None, kind: type[FedAvg] = FedAvg, **how: int) -> Transcript:
    strategy = testbed.record(fedavg(kind), protocol=Protocol("fedavg", 1, learning_rate=1.0, local_steps=1))
    run(strategy, change, **how)
    return strategy.transcript()


def metric(value: float) -> Change:
    def change(client: int, _: int, content: RecordDict) -> None:
        content["metrics"] = MetricRecord({"num-examples": 1, "partition-id": value if client == 1 else client})

    return change


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_ends_no_federation(value: float) -> None:
    assert sorted(e.client for e in recorded(metric(value)).exchanges) == [0, 1, 2]


def test_two_clients_that_claim_one_number_are_two_clients() -> None:
    seen = recorded(metric(0.0))
    assert sorted(e.client for e in seen.exchanges) == [0, 1, 2]


def test_a_client_that_changes_its_number_stays_one_client() -> None:
    def change(client: int, round_: int, content: RecordDict) -> None:
        content["metrics"] = MetricRecord({"num-examples": 1, "partition-id": (client + round_) % CLIENTS})

    seen = recorded(change, rounds=3)
    assert sorted(e.key for e in seen.exchanges) == [(r, c) for r in (1, 2, 3) for c in range(CLIENTS)]


class Reading(FedAvg):
    """Replies in an encoding of the app's own, which its strategy decodes."""

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        whole = list(replies)
        for message in whole:
            for arrays in message.content.array_records.values():
                for array in arrays.values():
                    array.stype = "numpy.ndarray"
        return super().aggregate_train(server_round, whole)


def test_answers_in_an_encoding_of_their_own_pass_on_and_are_unread() -> None:
    def encoded(client: int, _: int, content: RecordDict) -> None:
        for array in content["arrays"].values():
            array.stype = "somebody's own"

    seen = recorded(encoded, Reading)
    assert [(e.status, e.returned) for e in seen.exchanges] == [("ok", None)] * CLIENTS
    assert seen.final is not None


def test_arrays_that_the_file_cannot_hold_are_unread() -> None:
    def strange(client: int, _: int, content: RecordDict) -> None:
        content["arrays"] = ArrayRecord({k: Array(v.astype(np.complex128)) for k, v in moved(client).items()})

    seen = recorded(strange)
    assert all(e.returned is None for e in seen.exchanges)


class Own(FedAvg):
    """A strategy with a loop of its own."""

    started = False
    noted = "nothing"

    def note(self, text: str) -> None:
        self.noted = text

    def start(self, grid: Grid, initial_arrays: ArrayRecord, num_rounds: int = 3, **more: Any) -> Result:
        self.started = True
        return super().start(grid, initial_arrays, num_rounds=1, **more)


def test_a_strategys_own_start_runs_and_is_recorded() -> None:
    inner = fedavg(Own)
    strategy = testbed.record(inner)
    run(strategy, rounds=3)
    assert inner.started
    assert sorted(e.key for e in strategy.transcript().exchanges) == [(1, c) for c in range(CLIENTS)]
    assert "configure_train" not in vars(inner)  # as it was


class Straight(FedAvg):
    """A strategy that sends messages of its own, all at once or one by one, and may add up by itself."""

    ones, pushed, aggregates = False, False, True

    def start(self, grid: Grid, initial_arrays: ArrayRecord, num_rounds: int = 3, **more: Any) -> Result:
        result = Result()
        for number in range(1, num_rounds + 1):
            content = {"arrays": initial_arrays, "config": ConfigRecord({"server-round": number})}
            out = [Message(RecordDict(content), node, "train") for node in grid.get_node_ids()]
            replies: list[Message] = []
            for part in [[m] for m in out] if self.ones else [out]:
                if not self.pushed:
                    replies += grid.send_and_receive(part)
                    continue
                wanted = list(grid.push_messages(part))
                while len(replies) < len(wanted):
                    replies += grid.pull_messages(wanted)
            if self.aggregates:
                result.arrays, _ = self.aggregate_train(number, replies)
        return result


class OneByOne(Straight):
    ones = True


class Pushed(Straight):
    pushed = True


class AddsUp(Straight):
    aggregates = False


class AddsUpOneByOne(AddsUp):
    ones = True


@pytest.mark.parametrize("kind", [Straight, OneByOne, Pushed, AddsUp, AddsUpOneByOne])
def test_what_an_own_loop_sends_is_recorded_with_what_came_back(kind: type[Straight]) -> None:
    seen = recorded(kind=kind, rounds=2)
    assert sorted(e.key for e in seen.exchanges) == [(r, c) for r in (1, 2) for c in range(CLIENTS)]
    for exchange in seen.exchanges:
        assert exchange.sent is not None
        assert exchange.returned is not None
        np.testing.assert_array_equal(exchange.sent["0.weight"], SENT["0.weight"])
        np.testing.assert_array_equal(exchange.returned["0.weight"], moved(exchange.client)["0.weight"])
        assert exchange.config == {"server-round": exchange.round}


def test_attributes_are_the_strategys() -> None:
    inner = fedavg(Own)
    strategy = testbed.record(inner)
    strategy.note("seen")
    assert (inner.noted, strategy.noted, strategy.min_train_nodes) == ("seen", "seen", CLIENTS)
    strategy.fraction_train = 0.5
    assert inner.fraction_train == 0.5
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = strategy.nothing_of_that_name


def test_two_starts_of_one_strategy_are_told_apart() -> None:
    seen = recorded(starts=2, rounds=2)
    assert sorted({e.round for e in seen.exchanges}) == [1, 2, 3, 4]
    assert len({e.key for e in seen.exchanges}) == len(seen.exchanges) == 4 * CLIENTS


class Scaffold(FedAvg):
    """Takes the weights, and leaves the control variates."""

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        whole = list(replies)
        for message in whole:
            del message.content["control"]
        return super().aggregate_train(server_round, whole)


def test_weights_beside_control_variates_are_paired_with_what_was_sent() -> None:
    def both(client: int, _: int, content: RecordDict) -> None:
        content["control"] = ArrayRecord({k: Array(v * 0) for k, v in SENT.items()})

    seen = recorded(both, Scaffold)
    returned = seen.exchanges[0].returned
    assert returned is not None
    assert {"0.weight", "0.bias", "control.0.weight", "control.0.bias"} == set(returned)
    keys = tuple(e.key for e in seen.exchanges)
    threat = Threat("server", knows=frozenset({"architecture", "hyper_parameters", "batch_size"}))
    claim = find("analytic_linear").run(seen, Batch(keys, (3,), 2, (1,) * CLIENTS), None, 0, threat)
    assert [claim.batches[key][0, 0].round(4) for key in keys] == [1.0, 2.0, 3.0]


def test_the_global_model_is_the_same_with_the_recorder_and_without() -> None:
    plain, watched = (run(s, rounds=2)[0].arrays for s in (fedavg(), testbed.record(fedavg())))
    for name, values in plain.items():  # Flower adds up answers in the order in which they come
        np.testing.assert_allclose(values.numpy(), watched[name].numpy(), rtol=1e-6)


def test_a_strategy_of_the_old_package_is_refused() -> None:
    from flwr.server.strategy import FedAvg as Old

    with pytest.raises(UsageError, match="TB-RUN-009"):
        testbed.record(Old())  # type: ignore[arg-type]
