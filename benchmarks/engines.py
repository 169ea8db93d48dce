"""What a round costs on each engine, with the same apps, and whether the models agree to the byte.

python benchmarks/engines.py
"""

from __future__ import annotations

import time

import numpy as np

from testbed.core import ModelSpec, Protocol
from testbed.data.cohorts import source
from testbed.findings.assemble import environment
from testbed.subjects.federation.federation import Federation, by_party

CLIENTS, ROUNDS, SEED = 4, 20, 1


def main() -> None:
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed {SEED}")
    people = source("digits").people.take(np.arange(400))
    spec = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [32]})
    finals: list[bytes] = []
    for engine in ("in-process", "simulation", "deployment"):
        times: list[float] = []
        for rounds in (1, 1 + ROUNDS):
            protocol = Protocol("fedavg", 32, learning_rate=0.1, rounds=rounds)
            started = time.perf_counter()
            seen = Federation(spec, protocol, SEED).run(by_party(people, np.arange(400) % CLIENTS), engine)
            times.append(time.perf_counter() - started)
        finals.append(b"".join(v.tobytes() for v in (seen.final or {}).values()))
        each = (times[1] - times[0]) / ROUNDS
        print(f"{engine:11} {1000 * each:7.1f} ms a round of {CLIENTS} clients, {times[0]:5.1f} s to start and end")
    print("final models equal to the byte:", len(set(finals)) == 1)


if __name__ == "__main__":
    main()
