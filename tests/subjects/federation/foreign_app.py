"""Somebody's own Flower app: it knows nothing of the testbed, and names its parameters in its own way."""

from __future__ import annotations

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy

PATIENTS = np.random.default_rng(7).random((4, 12)).astype(np.float32)


class Triage(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.intake = torch.nn.Linear(12, 8)
        self.decision = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decision(torch.relu(self.intake(x)))


def make_triage() -> torch.nn.Module:
    return Triage()


client = ClientApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    model = Triage()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    patient = int(context.node_config["partition-id"])
    loss = torch.nn.functional.cross_entropy(model(torch.tensor(PATIENTS[[patient]])), torch.tensor([patient % 3]))
    loss.backward()
    optimizer.step()
    content = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(content), reply_to=message)


class Ward(torch.nn.Module):
    """One that normalises by running statistics, and keeps a layer as it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.intake = torch.nn.Linear(12, 16)
        self.normal = torch.nn.BatchNorm1d(16)
        self.calibration = torch.nn.Linear(16, 16).requires_grad_(requires_grad=False)
        self.decision = torch.nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decision(self.calibration(torch.relu(self.normal(self.intake(x)))))


def make_ward() -> torch.nn.Module:
    return Ward()


PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0))
ward_client = ClientApp()


@ward_client.train()
def train_ward(message: Message, context: Context) -> Message:
    model = Ward()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    pair = list(PAIRS[int(context.node_config["partition-id"])])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    loss = torch.nn.functional.cross_entropy(model(torch.tensor(PATIENTS[pair])), torch.tensor(pair) % 3)
    loss.backward()
    optimizer.step()
    content = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": 2})}
    return Message(RecordDict(content), reply_to=message)


def make_server(wrap, rounds: int = 1, model: type[torch.nn.Module] = Triage) -> tuple[ServerApp, Strategy]:
    app = ServerApp()
    strategy = wrap(FedAvg(fraction_evaluate=0.0, min_train_nodes=4, min_available_nodes=4))

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        torch.manual_seed(0)
        first = ArrayRecord(model().state_dict())
        strategy.start(grid, first, num_rounds=rounds, train_config=ConfigRecord({"lr": 0.1}))

    return app, strategy
