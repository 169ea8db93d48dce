"""What each defence of a federation hides from a curious server, and what it costs.

    python benchmarks/defences.py              the table of docs/defences.md
    python benchmarks/defences.py percentile:50 topk:0.2+gaussian:0.1
    python benchmarks/defences.py attack=cosine_tv               gradient matching on a convolutional network

Digits, four clients, ten rounds of one record each, seed 0. `knows` is the share of line-ups of 1,000 that the attack
wins when it knows the defence, `naive` when it does not; `accuracy` is that of a whole training. `bytes` are those of
a client's round, at four bytes a number and in the smallest form that the defence allows. `ms` are CPU milliseconds of
that round, with the defence and without. Gradient matching is slower: two clients, and the heuristics alone.
"""

from __future__ import annotations

import sys
import warnings

from testbed.findings.assemble import environment
from testbed.findings.schema import Estimate, Measure
from testbed.harness.run import run
from testbed.harness.scenario import find

TABLE = ["none", "clip:1", "quantise:8", "topk:0.1", "percentile", "percentile:90", "sign_only", "svt", "head_only"]
TABLE += ["mixup", "gaussian:0.1", "gaussian:1", "local_dp:1", "dpsgd:8", "dpsgd:2", "central_dp:1", "median", "secagg"]
TABLE += ["soteria", "larger_batch:8", "early_stopping:5"]
MATCHED = ["none", "topk:0.01", "percentile", "sign_only", "quantise:2", "soteria:0.8", "head_only", "clip:0.01"]
MATCHING = ["attack=cosine_tv", "iterations=60", "clients=2", "rounds=10"]


def told(measure: Measure) -> str:
    return f"{measure.value:.3g}" if isinstance(measure, Estimate) else measure.unmeasured


def main() -> None:
    warnings.simplefilter("ignore")
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed 0")
    columns = " ".join(f"{name:>8}" for name in ("bytes", "smallest", "ms with", "without"))
    print(f"{'defence':28} {'knows':>18} {'naive':>8} {'epsilon':>14} {'accuracy':>9} {columns}")
    curious = find("curious_server")
    matching = MATCHING[0] in sys.argv[1:]
    rules = MATCHING if matching else ["clients=4", "rounds=10"]
    for text in [a for a in sys.argv[1:] if a != MATCHING[0]] or (MATCHED if matching else TABLE):
        result = run(curious, curious.parse([f"defence={text}", *rules])).result
        knows, *others = result.findings
        epsilon = [told(d.epsilon) for d in result.defences if isinstance(d.epsilon, Estimate)]
        naive = next((told(f.measure) for f in others if f.risk == knows.risk), "")
        accuracy = told(result.utility[1 if result.defences else 0].measure)
        sent = result.traffic
        amounts = [f"{sent.dense:.0f}", f"{sent.smallest:.0f}"] if sent else ["", ""]
        spent = [f"{1000 * s:.2f}" for s in (result.run.environment.client_round or {}).values()] or ["", ""]
        cost = " ".join(f"{text:>8}" for text in (*amounts, *spent))
        given = ", ".join(epsilon) or "none"
        print(f"{text:28} {told(knows.measure):>18} {naive:>8} {given:>14} {accuracy:>9} {cost}", flush=True)


if __name__ == "__main__":
    main()
