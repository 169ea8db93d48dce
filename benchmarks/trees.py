"""What defences of boosted trees leave of the exact numbers, and what they cost: `python benchmarks/trees.py`.

`heart`, its four hospitals, ten rounds of bagging, seed 0. The attacker is `tree_leaves`: one who knows the
defence, and one who does not. The AUC is that of the last
model on people whom nobody trained on.
"""

from __future__ import annotations

from testbed.findings.plan import UNAWARE
from testbed.findings.schema import Estimate
from testbed.harness.run import run
from testbed.harness.scenario import find

DEFENCES = (
    "none",
    "bare_trees",
    "leaf_noise:0.01",
    "leaf_noise:0.1",
    "round_thresholds:10",
    "large_leaves:5",
    "shallow_trees:2",
    "bare_trees+leaf_noise:0.01",
)


def share(measure: object) -> str:
    return f"{100 * measure.value:.0f} %" if isinstance(measure, Estimate) else "not readable"


def main() -> None:
    print("| defence | leaves | exact | by one who does not know | of others | AUC |\n|---|---|---|---|---|---|")
    for defence in DEFENCES:
        result = run(find("federated_trees"), {"defence": defence}).result
        leaves = result.findings[0]
        beside = (f for f in result.findings if f.target == UNAWARE and f.attack.name == leaves.attack.name)
        naive = next((share(f.measure) for f in beside), "")
        useful = result.utility[-1].measure
        assert isinstance(useful, Estimate)
        auc = f"{useful.value:.2f} ({useful.low:.2f} to {useful.high:.2f})"
        count = leaves.measure.n if isinstance(leaves.measure, Estimate) else 0
        row = f"{share(leaves.measure)} | {naive} | {share(leaves.control)} | {auc}"
        print(f"| `{defence}` | {count} | {row} |", flush=True)


if __name__ == "__main__":
    main()
