"""The three risks of a release, ours and anonymeter's, on the same tables in the same run: answers and CPU seconds.

    python benchmarks/release.py [rows]

Prints, per attack, CPU seconds of both and their ratio; and what each says of an exact copy of a table of few
categories, where anonymeter 1.1.0 divides by the guesses asked for and not by those it could form.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Release, Split
from testbed.data.tables import encode
from testbed.doctor import population
from testbed.harness.release import examine
from testbed.report.results import environment

ATTACKS, SEED = 500, 1


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    done = work()
    return time.process_time() - started, done


def ours(original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame) -> tuple[float, Any]:
    frames = encode(original, synthetic, control)
    split, release = Split(frames.original, frames.control, None), Release(frames.synthetic)
    examine(split, release, attacks=20, seed=SEED)  # compile the kernels
    return cpu(lambda: examine(split, release, attacks=ATTACKS, seed=SEED))


def theirs(original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame) -> tuple[float, dict[str, float]]:
    """anonymeter's own evaluators: all secrets, one link, univariate and multivariate singling out."""
    from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator, SinglingOutEvaluator

    columns = list(original.columns)

    def work() -> dict[str, float]:
        risks: dict[str, float] = {}
        for mode in ("univariate", "multivariate"):
            evaluator = SinglingOutEvaluator(original, synthetic, n_attacks=ATTACKS, control=control, seed=SEED)
            risks[f"singling out, {mode}"] = evaluator.evaluate(mode=mode).risk().value
        link = LinkabilityEvaluator(original, synthetic, (columns[::2], columns[1::2]), ATTACKS, 1, control)
        risks["linkability"] = link.evaluate(n_jobs=1).risk().value
        for secret in columns:
            aux = [c for c in columns if c != secret]
            numeric = pd.api.types.is_numeric_dtype(original[secret])
            inference = InferenceEvaluator(original, synthetic, aux, secret, numeric, ATTACKS, control)
            risks[f"inference of {secret}"] = inference.evaluate(n_jobs=1).risk().value
        return risks

    return cpu(work)


def few_categories(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    common = {
        "sex": rng.choice(["f", "m"], 400),
        "age": rng.choice(list("abc"), 400),
        "ward": rng.choice(list("ABCD"), 400),
    }
    rare = pd.DataFrame({"sex": ["f"] * 6, "age": ["c"] * 6, "ward": [f"R{seed}{i}" for i in range(6)]})
    return pd.concat([pd.DataFrame(common), rare], ignore_index=True)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    warnings.simplefilter("ignore")
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed {SEED}")
    everybody = population(3 * rows, SEED)
    original, control, fresh = (everybody.iloc[i * rows : (i + 1) * rows].reset_index(drop=True) for i in range(3))
    seconds, _ = ours(original, fresh, control)
    try:
        other, _ = theirs(original, fresh, control)
    except ModuleNotFoundError:
        print("anonymeter: not run (install leakage-testbed[anonymeter])")
        return
    print(
        f"all risks, {rows} x {original.shape[1]}, {ATTACKS} attacks: ours {seconds:.2f} CPU s with positive controls,"
    )
    print(f"  anonymeter {other:.2f} CPU s without; ratio {other / seconds:.1f}")
    copied, held = few_categories(1), few_categories(2)
    _, examined = ours(copied, copied, held)
    first = next(f for f in examined.findings if f.attack.name == "singling_out_univariate")
    _, risks = theirs(copied, copied, held)
    print("an exact copy of a table of few categories, singling out:")
    print(f"  ours {first.measure.value:.3f} ({first.attack.performed} of {first.attack.requested} formed); ", end="")
    print(f"anonymeter's risk {risks['singling out, univariate']:.3f}")


if __name__ == "__main__":
    main()
