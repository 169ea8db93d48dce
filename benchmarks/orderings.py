"""The published order of membership attacks on a released model, at a reduced scale: AUC and TPR at 1 % FPR.

python benchmarks/orderings.py
"""

from __future__ import annotations

import numpy as np
import peers

from testbed import models
from testbed.attacks.registry import find
from testbed.core import ModelSpec, Records, Threat
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import source
from testbed.findings import statistics
from testbed.findings.assemble import environment
from testbed.harness.recipes import Remembered
from testbed.models.ensemble import Training
from testbed.subjects.predictors.torch_module import TorchRecipe

TARGETS = 10
SHADOWS = (4, 16, 64)
ATTACKS = (
    ("rmia", {"online": True}),
    ("rmia", {"online": False}),
    ("lira", {"online": True}),
    ("lira", {"online": False}),
    ("lira", {"online": True, "per_example": True}),
    ("bavaria", {}),
    ("base", {}),
    ("reference_models", {}),
    ("shadow_attack_model", {}),
    ("quantile_regression", {}),
    ("population", {}),
    ("prediction_loss", {}),
)
THREAT = Threat("recipient", knows=frozenset({"target_records", "auxiliary", "recipe"}), access="score")


def main() -> None:
    peers.one_thread()
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed 0")
    print(
        f"mnist5k, MLP 784-64-10 trained on 1,000 of 2,000 people, {TARGETS} models attacked; mean, t interval at 95 %"
    )
    people = source("mnist5k").people
    order = keyed_rng(0, "orderings").permutation(len(people))
    asked, others = people.take(order[:2000]), people.take(order[2000:4000])
    spec = ModelSpec("mlp", {"shape": [int(s) for s in people.x.shape[1:]], "classes": 10, "hidden": [64]})
    recipe = TorchRecipe(lambda: models.build(spec), Training(30, 32, 0.1), "logits", 10)
    for shadows in SHADOWS:
        shared = Remembered(recipe, 1)
        found: dict[str, list[tuple[float, float]]] = {}
        for target in range(TARGETS):
            rng = keyed_rng(target, "target")
            used = rng.permutation(len(asked)) < len(asked) // 2
            view = recipe(asked.take(np.flatnonzero(used)), rng)
            for name, params in ATTACKS:
                known = find(name).defaults
                told = {**params, **({"shadows": shadows} if "shadows" in known else {})}
                scores = find(name).run(view, Records(asked), others, 0, THREAT, told, shared).values
                rate = float(statistics.accuser(0.01, scores[~used])(scores[used]).mean())
                label = name + "".join(f", {k}" if v else f", not {k}" for k, v in params.items())
                found.setdefault(label, []).append((statistics.auc(scores[used], scores[~used]).value, rate))
        print(f"{shadows} shadow models")
        for label, values in found.items():
            area, rate = (statistics.t_interval(np.array(v)) for v in zip(*values, strict=True))
            print(
                f"  {label:28} AUC {area.value:.3f} ({area.low:.3f} to {area.high:.3f})  "
                f"TPR {rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
