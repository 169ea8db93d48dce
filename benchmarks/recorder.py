"""What recording costs: memory where models are large, CPU seconds where clients are many.

python benchmarks/recorder.py                      20 rounds x 50 clients x 1 million parameters (4 GB of disk), and
                                                   5 rounds x 1,000 clients with a small network
python benchmarks/recorder.py --rounds 3           fewer rounds
Each run is a process of its own. The plain run is the same app without the recorder.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

import testbed
from testbed.core import Protocol
from testbed.findings.assemble import environment
from testbed.subjects.federation import compat, transcript

KINDS = {"large": (50, 20), "training": (1000, 5), "idle": (1000, 5)}
"""Clients and rounds. `large` has one array of a million parameters; the others have a network of 2,410 parameters in
four arrays, which clients train on one batch of 8, or send back at once."""


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


def initial(kind: str) -> ArrayRecord:
    torch.manual_seed(0)
    if kind == "large":
        return ArrayRecord({"w": Array(np.zeros(1_000_000, np.float32))})
    return ArrayRecord(network().state_dict())


def answered(kind: str, client: int, content: RecordDict) -> ArrayRecord:
    """What a client returns; no two answers are equal."""
    (arrays,) = content.array_records.values()
    if kind == "training":
        model = network()
        model.load_state_dict(arrays.to_torch_state_dict())
        rng = torch.Generator().manual_seed(client)
        x, y = torch.rand(8, 64, generator=rng), torch.randint(10, (8,), generator=rng)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        return ArrayRecord(model.state_dict())
    moved = np.float32(1e-3 * (client + 1))
    return ArrayRecord({name: Array(array.numpy() + moved) for name, array in arrays.items()})


def federation(kind: str, clients: int, rounds: int, path: Path | None) -> None:
    client, app = ClientApp(), ServerApp()

    @client.train()
    def train(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        metrics = MetricRecord({"num-examples": 8, "partition-id": number})
        content = RecordDict({"arrays": answered(kind, number, message.content), "metrics": metrics})
        return Message(content, reply_to=message)

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy: Any = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
        if path is not None:
            strategy = testbed.record(strategy, protocol=Protocol("fedavg", 8, learning_rate=0.1), path=path)
        strategy.start(grid, initial(kind), num_rounds=rounds)

    torch.set_num_threads(1)
    started = time.process_time()
    compat.run_in_process(app, client, clients)
    spent = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    read = 0 if path is None else len(transcript.read(path).exchanges)
    print(spent, peak, read)


def measured(kind: str, clients: int, rounds: int, folder: Path | None) -> tuple[float, float, int]:
    """CPU seconds, peak memory in MB, and exchanges in the transcript."""
    path = "" if folder is None else str(folder / "t.transcript")
    command = [sys.executable, __file__, "--one", kind, str(clients), str(rounds), path]
    quiet = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet)
    spent, peak, read = done.stdout.split()
    return float(spent), int(peak) / 1e6, int(read)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options.add_argument("--rounds", type=int)
    options.add_argument("--kinds", default=",".join(KINDS))
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    if chosen.one:
        kind, clients, rounds, path = chosen.one
        federation(kind, int(clients), int(rounds), Path(path) if path else None)
        return
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}")
    for kind in chosen.kinds.split(","):
        clients, rounds = KINDS[kind]
        rounds = chosen.rounds or rounds
        plain: list[tuple[float, float, int]] = []
        recorded: list[tuple[float, float, int]] = []
        for _ in range(1 if kind == "large" else chosen.repeats):
            plain.append(measured(kind, clients, rounds, None))
            with tempfile.TemporaryDirectory() as folder:
                recorded.append(measured(kind, clients, rounds, Path(folder)))
                size = (Path(folder) / "t.transcript").stat().st_size / 1e6
        assert {r[2] for r in recorded} == {clients * rounds}
        cpu = [min(run[0] for run in runs) for runs in (plain, recorded)]
        memory = [max(run[1] for run in runs) for runs in (plain, recorded)]
        print(
            f"{kind:8} {clients} clients, {rounds} rounds, a transcript of {size:,.0f} MB: CPU {cpu[0]:.1f} s plain, "
            f"{cpu[1]:.1f} s recorded ({cpu[1] / cpu[0]:.2f}x); memory at most {memory[0]:.0f} MB plain, "
            f"{memory[1]:.0f} MB recorded"
        )


if __name__ == "__main__":
    main()
