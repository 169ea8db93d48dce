"""Who sees what: our verdict beside SDMetrics' three privacy metrics and anonymeter 1.1.0, on releases with a leak.

    python benchmarks/peers_of_releases.py            all releases
    python benchmarks/peers_of_releases.py moved      those whose name holds this word

Each release is one in which something is known to leak, beside one of fresh people in which nothing does. SDMetrics'
scores are best at 1 and worst at 0, and have no limit: read them against those of the fresh release of the same table.
anonymeter's figures are its risks in per cent, the largest of each kind by the lower bound, which is in brackets.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from testbed.findings.schema import Estimate, Result
from testbed.harness.release.evaluate import evaluate

ROWS = 1000
"""Rows that SDMetrics compares at most: it compares each pair."""
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def labs(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Eight correlated lab values, age, sex, ward and diagnosis."""
    w = np.random.default_rng(1).normal(size=(8, 3))
    z = rng.normal(size=(n, 3))
    d = pd.DataFrame({f"lab{i}": (10 * (z @ w[i] + rng.normal(size=n))).round(1) for i in range(8)})
    d["age"] = np.clip(rng.normal(60, 15, n), 18, 99).round()
    d["sex"], d["ward"] = rng.choice(["F", "M"], n), rng.choice(list("ABCDEFGH"), n)
    return d.assign(dx=rng.choice([f"D{i}" for i in range(20)], n))


def moved(table: pd.DataFrame, noise: float, rng: np.random.Generator) -> pd.DataFrame:
    """The same people, each number with normal noise of this share of the column's standard deviation."""
    numbers = table.select_dtypes("number").columns
    return table.assign(**{c: (table[c] + rng.normal(0, noise * table[c].std(), len(table))).round(1) for c in numbers})


def costs(n: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame({f"cost{i}": np.exp(rng.normal(0, 2, n)).round(3) for i in range(8)})


def mixed(own: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([own, fresh.iloc[len(own) :]], ignore_index=True)


def _few_moved(rng: np.random.Generator) -> Tables:
    original, control = labs(4600, rng), labs(2300, rng)
    return original, moved(original.head(60), 0.05, rng), control


def _some_moved(rng: np.random.Generator) -> Tables:
    original, control, fresh = (labs(2500, rng) for _ in range(3))
    return original, mixed(moved(original.head(38), 0.05, rng), fresh), control


def _all_moved(rng: np.random.Generator) -> Tables:
    original, control = labs(2000, rng), labs(2000, rng)
    return original, moved(original, 0.3, rng), control


def _skewed(rng: np.random.Generator) -> Tables:
    original, control, fresh = costs(1500, rng), costs(2200, rng), costs(1500, rng)
    own = (original.head(300) * np.exp(rng.normal(0, 0.3, (300, 8)))).round(3)
    return original, mixed(own, fresh), control


def _odd(rng: np.random.Generator) -> Tables:
    original, release, control = _all_moved(rng)
    numbers = list(release.select_dtypes("number").columns)
    release.loc[0, numbers] = 99999.0
    return original, release, control


def _rounded(rng: np.random.Generator) -> Tables:
    original, control, fresh = (labs(2000, rng) for _ in range(3))
    release = mixed(original.head(40), fresh)
    numbers = list(release.select_dtypes("number").columns)
    release[numbers] = (release[numbers] / 5).round() * 5
    return original, release, control


def _both(rng: np.random.Generator) -> Tables:
    original, control, fresh = (labs(2000, rng) for _ in range(3))
    return original, pd.concat([original.head(400), control.head(400), fresh.head(1200)], ignore_index=True), control


RELEASES: dict[str, Callable[[np.random.Generator], Tables]] = {
    "fresh people, labs": lambda rng: (labs(2000, rng), labs(2000, rng), labs(2000, rng)),
    "fresh people, skewed costs": lambda rng: (costs(1500, rng), costs(1500, rng), costs(2200, rng)),
    "60 rows, all people moved by 5 %": _few_moved,
    "38 of 2,500 rows are people moved by 5 %": _some_moved,
    "all rows are people moved by 30 %": _all_moved,
    "the same, one row with 99999 everywhere": _odd,
    "20 % people moved by 30 %, skewed costs": _skewed,
    "2 % copies, numbers rounded to 5": _rounded,
    "20 % of original and of control copied": _both,
}


def sdmetrics(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> list[float]:
    """The scores of DCRBaselineProtection, DCROverfittingProtection and DisclosureProtection."""
    from sdmetrics.single_table import DCRBaselineProtection, DCROverfittingProtection, DisclosureProtection

    numbers = list(original.select_dtypes("number").columns)
    kinds: dict[str, Any] = {c: {"sdtype": "numerical" if c in numbers else "categorical"} for c in original.columns}
    metadata = {"tables": {"release": {"columns": kinds}}}
    near: Any = DCRBaselineProtection.compute_breakdown(original, release, metadata, "release", num_rows_subsample=ROWS)
    halves: Any = DCROverfittingProtection.compute_breakdown(
        original, release, control, metadata, "release", num_rows_subsample=min(ROWS, len(release))
    )
    told: Any = DisclosureProtection.compute_breakdown(
        original,
        release,
        known_column_names=list(original.columns[:3]),
        sensitive_column_names=[original.columns[-1]],
        continuous_column_names=[c for c in [*original.columns[:3], original.columns[-1]] if c in numbers],
    )
    return [float(found["score"]) for found in (near, halves, told)]


def anonymeter(result: Result) -> str:
    """anonymeter's largest risk (what is left to learn beyond the control) of each kind, with its lower bound."""
    found: list[str] = []
    for risk in ("singling_out", "linkability", "attribute_inference"):
        risks = [
            f.residual
            for f in result.findings
            if f.risk == risk and "anonymeter" in f.attack.name and isinstance(f.residual, Estimate)
        ]
        largest = max(risks, key=lambda e: e.low, default=None)
        found.append("   not run    " if largest is None else f"{100 * largest.value:5.1f} ({100 * largest.low:5.1f})")
    return "  ".join(found)


def main() -> None:
    warnings.simplefilter("ignore")
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"{'release':42} {'ours':7} {'DCR base':>8} {'DCR over':>8} {'discl.':>7}   anonymeter: singling out,")
    print(f"{'':42} {'':7} {'':>8} {'':>8} {'':>7}   linkability, inference; risks that FAIL here")
    for number, (name, make) in enumerate(RELEASES.items()):
        if wanted not in name:
            continue
        started = time.process_time()
        original, release, control = make(np.random.default_rng(number))
        done = evaluate(original, release, control, data_class="synthetic", instrument="anonymeter").result
        scores = "".join(f"{score:9.3f}" for score in sdmetrics(original, release, control))
        failed = sorted({f"{f.risk} ({f.attack.name})" for f in done.findings if f.verdict == "fail"})
        spent = f"[{time.process_time() - started:.0f} CPU s]"
        print(f"{name:42} {done.decision.verdict.upper():7}{scores}   {anonymeter(done)}  {', '.join(failed)} {spent}")


if __name__ == "__main__":
    main()
