"""Somebody's Flower app of boosted trees, as Flower's own XGBoost example is built; it knows nothing of the testbed."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedXgbBagging

import testbed

RNG = np.random.default_rng(3)
SETTINGS = {"objective": "binary:logistic", "eta": 0.1, "max_depth": 6, "tree_method": "hist", "nthread": 1}


def ward(n: int) -> tuple[Any, Any]:
    """Blood pressure, age and weight, in their own units."""
    x = (
        np.stack([RNG.normal(130, 15, n), RNG.integers(30, 90, n), RNG.normal(75, 12, n)], 1)
        .round(1)
        .astype(np.float32)
    )
    return x, (x[:, 0] + x[:, 1] / 2 + RNG.normal(0, 10, n) > 160).astype(np.int64)


WARDS = [ward(80), ward(50)]
OTHERS = ward(200)
client = ClientApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    x, y = WARDS[int(context.node_config["partition-id"])]
    data = xgboost.DMatrix(x, label=y)
    if message.content["config"]["server-round"] == 1:
        model = xgboost.train(SETTINGS, data, num_boost_round=1)
    else:
        model = xgboost.Booster(params=SETTINGS)
        model.load_model(bytearray(message.content["arrays"]["0"].numpy().tobytes()))
        model.update(data, model.num_boosted_rounds())
        model = model[model.num_boosted_rounds() - 1 : model.num_boosted_rounds()]
    arrays = ArrayRecord([np.frombuffer(model.save_raw("json"), dtype=np.uint8)])
    metrics = MetricRecord({"num-examples": len(x)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def make_server(rounds: int) -> tuple[ServerApp, Any]:
    """The app, and its recorded strategy."""
    strategy = testbed.record(
        FedXgbBagging(fraction_evaluate=0.0, min_evaluate_nodes=0, min_available_nodes=len(WARDS))
    )
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        empty = ArrayRecord([np.frombuffer(b"", dtype=np.uint8)])
        strategy.start(grid=grid, initial_arrays=empty, num_rounds=rounds)

    return app, strategy
