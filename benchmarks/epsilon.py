"""Does each defence keep its epsilon, and is that epsilon what other accountants compute?

    python benchmarks/epsilon.py                 both tables
    python benchmarks/epsilon.py kept            the first: what attacks show, beside what is promised
    python benchmarks/epsilon.py accounting      the second: ours, Opacus' and dp-accounting's on one mechanism

First table: 20 federations of four clients (three rounds, eight records a client, a small network), a canary at each
client, or at one client if the server adds the noise. `at least` is the exact bound (95 %). `normal` is the estimate
that takes the noise to be Gaussian, with its 95 % interval. `switched off` is the bound without the defence's noise.

Second table: dp-accounting runs in an environment of its own, `$PEERS/dp-accounting` (a virtual environment with it).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from opacus.accountants import PRVAccountant

from testbed.core import ModelSpec, Protocol
from testbed.core.defence import Defence, Exposure
from testbed.defences import named
from testbed.defences.accounting import DELTA, gaussian_mechanism
from testbed.defences.dpsgd import multiplier
from testbed.findings import statistics
from testbed.harness.dp_audit.one_shot import accounted
from testbed.harness.dp_audit.promised import audited, estimated, promises
from testbed.subjects.federation.federation import Federation

CLAIMS = ["dpsgd:8", "dpsgd:2", "gaussian:1", "gaussian:4", "local_dp:1", "central_dp:4", "adaptive_clipping:4"]
RUNS, CLIENTS, RECORDS = 20, 4, 8
SPEC = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [16]})
QUIET = {"noise": 1e-9, "epsilon": 1e9}
"""Values of a parameter at which a defence adds no noise that counts."""
THEIRS = """
import json, sys
import dp_accounting as dp
from dp_accounting import pld, rdp
ORDERS = [1 + x / 10.0 for x in range(1, 100)] + list(range(12, 64))  # those of Opacus

def epsilon(kind, noise, rate, times, delta):
    one = dp.GaussianDpEvent(noise)
    event = dp.SelfComposedDpEvent(one if rate == 1 else dp.PoissonSampledDpEvent(rate, one), times)
    made = rdp.RdpAccountant(ORDERS) if kind == "rdp" else pld.PLDAccountant(value_discretization_interval=1e-4)
    return made.compose(event).get_epsilon(delta)

print(json.dumps([epsilon(*row) for row in json.load(sys.stdin)]))
"""


def switched_off(one: Defence) -> Defence:
    """The defence with its promise, and without its noise."""
    quiet = {k: QUIET.get(k, v) for k, v in one.params.items()}
    return replace(one, make=lambda **given: one.make(**{**given, **{k: v for k, v in quiet.items() if k in QUIET}}))


def kept() -> None:
    print(f"{'defence':22} {'unit':>7} {'promised':>9} {'at least':>9} {'normal (95 %)':>24} {'switched off':>13}")
    for text in CLAIMS:
        for kind in ("fedsgd", "fedavg"):
            protocol = Protocol(kind, 4, 1, learning_rate=0.1, rounds=3, clients=CLIENTS)  # type: ignore[arg-type]
            made = Federation(SPEC, protocol, 3, named.configured(text))
            promise = (promises(made, RECORDS, "server") or promises(made, RECORDS, "client"))[0]
            canaries = RUNS * (CLIENTS if promise.updates else 1)
            seen = audited(made, RECORDS, promise, canaries)
            silent = replace(made, defences=tuple(switched_off(d) for d in made.defences))
            off = statistics.epsilon_by_rank(audited(silent, RECORDS, promise, RUNS).log_p, promise.delta)
            shown, normal = statistics.epsilon_by_rank(seen.log_p, promise.delta), estimated(seen, promise.delta)
            about = f"{normal.value:.2f} ({normal.low:.2f} to {normal.high:.2f})"
            name = f"{text}, {kind}"
            print(
                f"{name:22} {promise.unit:>7} {promise.epsilon:9.2f} {shown.value:9.2f} {about:>24} {off.value:13.0f}",
                flush=True,
            )


def rows() -> list[tuple[str, float, tuple[Any, ...]]]:
    """A mechanism in words, our epsilon of it, and the accountant's question: kind, noise, rate, times, delta."""
    found: list[tuple[str, float, tuple[Any, ...]]] = []
    for noise, rounds in ((1.0, 1), (4.0, 10), (20.0, 50)):
        promised = gaussian_mechanism(Exposure(rounds), noise=noise)
        assert promised is not None
        asked = ("pld", noise / 2, 1, rounds, DELTA)  # an update moves by twice the clipping bound
        found.append((f"Gaussian, noise {noise:g}, {rounds} rounds", promised.epsilon, asked))
    for epsilon, uses in ((8.0, 5), (2.0, 30)):
        asked = ("pld", multiplier(epsilon, DELTA, uses) / 2, 1, uses, DELTA)
        found.append((f"DP-SGD, dealt batches, {uses} uses", epsilon, asked))
    for noise, rounds in ((1.0, 3), (4.0, 20)):
        asked = ("rdp", noise, 1, rounds, DELTA)
        found.append((f"Renyi, noise {noise:g}, {rounds} rounds", accounted(noise, rounds, DELTA), asked))
    for noise, rate, steps in ((1.0, 0.01, 1000), (1.2, 0.05, 200)):
        found.append(
            (
                f"Poisson {rate:g}, noise {noise:g}, {steps}",
                poisson(noise, rate, steps),
                ("rdp", noise, rate, steps, DELTA),
            )
        )
    return found


def poisson(noise: float, rate: float, steps: int) -> float:
    """The epsilon of DP-SGD with batches drawn by coins, as a training audit states it."""
    from opacus.accountants import RDPAccountant

    made = RDPAccountant()
    made.history = [(noise, rate, steps)]
    return float(made.get_epsilon(DELTA))


def opacus(asked: tuple[Any, ...]) -> float:
    kind, noise, rate, times, delta = asked
    if kind == "rdp":
        return poisson(noise, rate, times)
    made = PRVAccountant()
    made.history = [(noise, rate, times)]
    return float(made.get_epsilon(delta, eps_error=0.005))


def theirs(asked: list[tuple[Any, ...]]) -> list[float] | None:
    """What dp-accounting computes; None without its environment."""
    python = Path(os.environ.get("PEERS", "")) / "dp-accounting" / "bin" / "python"
    if not os.environ.get("PEERS") or not python.is_file():
        return None
    done = subprocess.run([python, "-c", THEIRS], input=json.dumps(asked), capture_output=True, text=True, check=True)
    return [float(e) for e in json.loads(done.stdout)]


def accounting() -> None:
    found = rows()
    peer = theirs([asked for *_, asked in found])
    print(f"{'mechanism':34} {'ours':>9} {'Opacus':>9} {'dp-accounting':>14}")
    for number, (name, ours, asked) in enumerate(found):
        other = f"{peer[number]:14.4f}" if peer else f"{'not installed':>14}"
        print(f"{name:34} {ours:9.4f} {opacus(asked):9.4f} {other}", flush=True)


def main() -> None:
    warnings.simplefilter("ignore")  # of accountants whose best order lies at the edge
    wanted = sys.argv[1:] or ["kept", "accounting"]
    for part in wanted:
        {"kept": kept, "accounting": accounting}[part]()


if __name__ == "__main__":
    main()
