"""What gradients at a cut give away of labels, and what defences cost: `python benchmarks/split.py`.

`heart`, split in half by columns, 100 batches of 32, seed 0. The attacker is `cut_direction`: one who
knows the defence, and one who does not. The AUC is that of the joint network on people whom nobody trained on.
"""

from __future__ import annotations

from testbed.findings.plan import UNAWARE
from testbed.findings.schema import Estimate
from testbed.harness.run import run
from testbed.harness.scenario import find

DEFENCES = ("none", "cut_noise:0.5", "cut_noise:1", "cut_noise:2", "cut_noise:4", "equal_norms")


def share(measure: object) -> str:
    return f"{100 * measure.value:.0f} %" if isinstance(measure, Estimate) else "not readable"


def main() -> None:
    print(
        "| defence | labels | by one who does not know | of people outside | excess | AUC |\n|---|---|---|---|---|---|"
    )
    for defence in DEFENCES:
        result = run(find("split_learning"), {"defence": defence}).result
        found, useful = result.findings[0], result.utility[-1].measure
        naive = next((share(f.measure) for f in result.findings if f.target == UNAWARE), "")
        assert isinstance(found.excess, Estimate)
        assert isinstance(useful, Estimate)
        low, value, high = (f"{100 * v:.0f}" for v in (found.excess.low, found.excess.value, found.excess.high))
        labels = f"{share(found.measure)} | {naive} | {share(found.control)}"
        row = f"{labels} | {value} ({low} to {high}) | {useful.value:.2f}"
        print(f"| `{defence}` | {row} |", flush=True)


if __name__ == "__main__":
    main()
