"""Rounds per CPU second and peak memory of a federation of many clients, on the in-process engine.

python benchmarks/many_clients.py [CLIENTS]

Each setting runs in a process of its own, because a process's peak memory never falls. Each client has four records.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np

from testbed.core import ModelSpec, Protocol
from testbed.data.cohorts import source
from testbed.findings.assemble import environment
from testbed.subjects.federation.attendance import Attendance
from testbed.subjects.federation.federation import Federation, by_party

CLIENTS, EACH, SEED = 1000, 4, 1
SETTINGS = {
    "all, 2 rounds": (2, {}, Attendance()),
    "all, 6 rounds": (6, {}, Attendance()),
    "a tenth a round, 6 rounds": (6, {}, Attendance(participation=0.1)),
    "dropouts and stragglers": (2, {}, Attendance(dropouts=0.1, stragglers=0.2)),
    "fedprox": (2, {"proximal_mu": 0.1}, Attendance()),
    "fedadam": (2, {"server": "adam", "server_rate": 0.01}, Attendance()),
    "scaffold": (2, {"controls": True}, Attendance()),
    "personal layers": (2, {"personal": 1}, Attendance()),
}
SPEC = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [32]})


def one(name: str, clients: int) -> None:
    """Runs a setting and prints its line."""
    rounds, rules, attendance = SETTINGS[name]
    people = source("digits").people
    rows = np.arange(EACH * clients) % len(people)
    parts = by_party(people.take(rows), np.arange(len(rows)) % clients)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    protocol = Protocol("fedavg", 2, learning_rate=0.1, rounds=rounds, **rules)  # type: ignore[arg-type]
    began = time.process_time()
    seen = Federation(SPEC, protocol, SEED, attendance=attendance).run(parts)
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answers = sum(e.returned is not None for e in seen.exchanges)
    print(
        f"{name:26} {rounds / spent:7.3f} rounds a CPU second, {answers:5} answers "
        f"of {1000 * spent / answers:5.2f} CPU ms; peak {peak:5.0f} MiB, {before:4.0f} before it began",
        flush=True,
    )


def main() -> None:
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed {SEED}")
    print(f"{clients} clients of {EACH} records, a network of 2,410 numbers, two local steps a round", flush=True)
    for name in SETTINGS:
        subprocess.run([sys.executable, __file__, "--one", name, str(clients)], check=True)


if __name__ == "__main__":
    if "--one" in sys.argv:
        one(sys.argv[2], int(sys.argv[3]))
    else:
        main()
