"""RMIA's scores by sorting the others' ratios, beside the matrix of all pairs and ML Privacy Meter's own.

PEERS=DIR python benchmarks/rmia.py     (DIR/ml_privacy_meter: a checkout; without it that row says `not run`)
"""

from __future__ import annotations

import numpy as np
import peers

from testbed.attacks.model.shadow_models import share_exceeded
from testbed.core.randomness import keyed_rng
from testbed.findings.assemble import environment

TARGETS, OTHERS, REPEATED = 8000, 4000, 20


def main() -> None:
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed 0")
    rng = keyed_rng(0, "rmia")
    # Of target, pair and two reference models, the probabilities of the true class, in the peer's layout.
    said, others = rng.beta(4, 2, (TARGETS, 4)), rng.beta(3, 2, (OTHERS, 4))
    members = np.zeros((TARGETS, 4), bool)
    for model in (0, 2):
        members[:, model] = rng.permutation(TARGETS) < TARGETS // 2
        members[:, model + 1] = ~members[:, model]
    outside = np.where(members[:, 2], said[:, 3], said[:, 2])
    # That peer takes, of the two references that hold none of the others, the larger value.
    ratio, theirs = said[:, 0] / ((outside + 1) / 2), others[:, 0] / ((others[:, 2:].max(1) + 1) / 2)
    # a = 0: (1 + a) / 2 p + (1 - a) / 2

    def sorted_() -> np.ndarray:
        # A hair above 1, as the peer asks for more than 1 and we for 1 or more.
        return share_exceeded(ratio, theirs, 1 + 1e-12)

    def matrix() -> np.ndarray:
        return np.average(ratio[:, None] / theirs > 1.0, axis=1)

    peer = peers.module("ml_privacy_meter", "attacks.py")
    rows = [("sorted", sorted_, REPEATED), ("matrix", matrix, 1)]
    if peer is not None:
        rows.append(("ML Privacy Meter", lambda: peer.run_rmia(0, said, others, members, 1, 0.0), 1))
    first, answer = 0.0, np.empty(0)
    for name, work, times in rows:
        made, cpu, _ = peers.timed(lambda work=work, times=times: [work() for _ in range(times)][-1])
        first, answer = (cpu / times, made) if not first else (first, answer)
        apart = float(np.abs(made - answer).max())
        print(f"{name:18} {cpu / times:8.4f} CPU s, ratio {cpu / times / first:7.1f}, largest difference {apart:.2g}")
    if peer is None:
        print("ML Privacy Meter   not run")


if __name__ == "__main__":
    main()
