"""Our evaluation of releases beside anonymeter 1.1.0, on the same tables in the same run: CPU seconds and answers.

    python benchmarks/release.py            the table, at 100,000 x 20
    python benchmarks/release.py --large    also 1,000,000 x 20 with peak memory, and the curve to 3,000,000 rows

Ratios matter, seconds do not: both columns are CPU seconds of this process, for neighbours the least of three runs.
Where anonymeter is asked fewer questions than we are, its time is scaled up and the row says so. The last lines show an
exact copy of a table of few categories, of which anonymeter 1.1.0 reports a small risk: it divides by the guesses
asked for, not by those made.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from population import people

from testbed import judge
from testbed.attacks.registry import find
from testbed.core import Fields, Release
from testbed.core.tables.index import Index
from testbed.core.tables.neighbours import nearest, nearest_without_each
from testbed.core.tables.scale import Scale
from testbed.data.tables.encode import encode
from testbed.findings.assemble import environment
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.setting import RECIPIENT

SEED, QUERIES, ROWS = 1, 500, 100_000


def cpu(work: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """CPU seconds, the least of several times, and what was made."""
    spent: list[float] = []
    for _ in range(times):
        started = time.process_time()
        done = work()
        spent.append(time.process_time() - started)
    return min(spent), done


def line(what: str, ours: float, theirs: float | None, wanted: str, note: str = "") -> None:
    other = "not run" if theirs is None else f"{theirs:8.2f}"
    ratio = "" if theirs is None else f"{theirs / ours:6.0f}x"
    print(f"{what:58} {ours:8.3f} {other:>9} {ratio:>8}  at least {wanted:7} {note}")


def anonymeter() -> Any:
    try:
        import anonymeter.evaluators  # noqa: F401 - before its neighbours, which import each other in a circle
        from anonymeter.neighbors.mixed_types_kneighbors import MixedTypeKNeighbors
    except ModuleNotFoundError:
        return None
    return MixedTypeKNeighbors


def neighbours(peer: Any) -> None:
    for kind, wanted in (("mixed", "80x"), ("numeric", "40x")):
        original, synthetic = people(QUERIES, 20, 0, kind), people(ROWS, 20, 1, kind)
        frames = encode(original, synthetic)
        scale, columns = Scale.of(frames.synthetic), frames.original.columns
        small = frames.synthetic.take(np.arange(1000))
        nearest(frames.original, small, scale, 0), nearest_without_each(frames.original, small, columns, scale, 0)
        ours, (found, _, tied) = cpu(lambda f=frames, s=scale: nearest(f.original, f.synthetic, s, 0), 3)
        theirs, agree = None, ""
        if peer:
            searcher = peer(n_neighbors=1, n_jobs=1)
            searcher.fit(synthetic)
            searcher.kneighbors(original.head(2))
            theirs, rows = cpu(lambda s=searcher, o=original: s.kneighbors(o), 3)
            same = np.asarray(rows).reshape(-1) == found[:, 0]
            agree = f"same row for {same[~tied].mean():.1%} of the queries without a tie"
        line(f"nearest of {ROWS:,} x 20 {kind}, {QUERIES} queries", ours, theirs, wanted, agree)
        if kind == "mixed":
            ours, _ = cpu(
                lambda f=frames, s=scale, c=columns: nearest_without_each(f.original, f.synthetic, c, s, 0), 3
            )
            each = None if peer is None else theirs_for_each_secret(peer, original, synthetic)
            line(f"inference of all 20 secrets, {QUERIES} queries", ours, each, "1,000x", "theirs: 10 queries, scaled")


def theirs_for_each_secret(peer: Any, original: pd.DataFrame, synthetic: pd.DataFrame) -> float:
    asked = 10
    spent = 0.0
    for secret in original.columns:
        searcher = peer(n_neighbors=1, n_jobs=1)
        searcher.fit(synthetic.drop(columns=secret))
        seconds, _ = cpu(lambda s=searcher, c=secret: s.kneighbors(original.head(asked).drop(columns=c)))
        spent += seconds
    return spent * QUERIES / asked


def singling_out(peer: Any) -> None:
    wanted = 2000
    tables = [people(ROWS, 20, seed) for seed in range(3)]
    frames = encode(*tables)
    original, control = frames.original, frames.control
    assert control is not None
    question, release = Fields(frames.synthetic.columns, wanted), Release(frames.synthetic)

    def work() -> int:
        claim = find("singling_out_multivariate").run(release, question, None, SEED, RECIPIENT)
        blind = find("random_predicates").run(release, question, None, SEED, RECIPIENT, {"smallest": 2, "largest": 4})
        members, controls = Index.of(original), Index.of(control)
        judge.predicates(claim, members, controls, "true", wanted)
        judge.predicates(blind, members, None, "blind", wanted)
        judge.predicates_design(claim, members, controls, np.random.default_rng(SEED))
        return len(claim.conjunctions)

    work()
    ours, formed = cpu(work)
    theirs = None
    if peer:
        from anonymeter.evaluators import SinglingOutEvaluator

        evaluator = SinglingOutEvaluator(tables[0], tables[1], wanted, 3, tables[2], seed=SEED)
        theirs, _ = cpu(lambda: evaluator.evaluate(mode="multivariate"))
    line(f"singling out, multivariate, {ROWS:,} x 20, {wanted} attacks", ours, theirs, "15x", f"ours formed {formed}")


def small() -> None:
    tables = [people(10_000, 20, seed) for seed in range(3)]
    evaluate(*(t.head(300) for t in tables), attacks=50)
    started = time.perf_counter()
    evaluate(*tables)
    print(f"everything, 10,000 x 20, default guesses: {time.perf_counter() - started:.1f} s (under 20 s)")


def large(rows: int) -> None:
    """The command itself on Parquet files, in a process of its own, so that its peak memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "testbed", "evaluate", "--attacks", str(QUERIES), "--out", f"{folder}/run"]
        for seed, role in enumerate(("original", "synthetic", "control")):
            path = Path(folder) / f"{role}.parquet"
            people(rows, 20, seed).to_parquet(path, index=False)
            command += [f"--{role}", str(path)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, check=False)
        if not (Path(folder) / "run" / "share" / "result.json").is_file():
            raise RuntimeError(f"no result was written: {done.stderr.decode()[-500:]}")
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"evaluate {rows:>9,} x 20, {QUERIES} attacks: {wall:6.1f} s, {spent:6.1f} CPU s, at most "
        f"{after.ru_maxrss / 2**20:.2f} GiB so far, exit code {done.returncode}"
    )


def few_categories(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    common = {"sex": rng.choice(["f", "m"], 400), "age": rng.choice(list("abc"), 400)}
    common["ward"] = rng.choice(list("ABCD"), 400)
    rare = pd.DataFrame({"sex": ["f"] * 6, "age": ["c"] * 6, "ward": [f"R{seed}{i}" for i in range(6)]})
    return pd.concat([pd.DataFrame(common), rare], ignore_index=True)


def copied(peer: Any) -> None:
    original, control = few_categories(1), few_categories(2)
    result = evaluate(original, original, control, seed=SEED).result
    first = next(f for f in result.findings if f.attack.name == "singling_out_univariate")
    print("an exact copy of a table of few categories:")
    print(f"  ours: {result.decision.verdict}; {first.measure.value:.0%} of {first.attack.performed} predicates right")  # type: ignore[union-attr]
    if peer:
        from anonymeter.evaluators import SinglingOutEvaluator

        evaluator = SinglingOutEvaluator(original, original, QUERIES, control=control, seed=SEED)
        print(f"  anonymeter: risk {evaluator.evaluate(mode='univariate').risk().value:.3f}")


def main() -> None:
    warnings.simplefilter("ignore")
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, seed {SEED}")
    peer = anonymeter()
    print(f"{'':58} {'ours':>8} {'theirs':>9} {'ratio':>8}  (CPU seconds)")
    neighbours(peer)
    singling_out(peer)
    small()
    copied(peer)
    if "--large" in sys.argv:
        for rows in (30_000, 100_000, 300_000, 1_000_000, 3_000_000):
            large(rows)


if __name__ == "__main__":
    main()
