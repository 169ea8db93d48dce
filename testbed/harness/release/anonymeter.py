"""anonymeter's own evaluators on the same tables, for comparison, with their known differences from ours.

anonymeter is under the Clear BSD licence, which grants no patent rights, and calls its method patent-pending. It is
an extra, and is imported only if the user asks for it. Its figures inform and never decide.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Generator, Sequence
from functools import partial
from importlib import metadata
from typing import Any, cast

import numpy as np
import pandas as pd

from testbed.core import Table
from testbed.core.errors import UsageError
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import AttackRun, Estimate, Finding, Measure, Metric, Risk, Unit, Unmeasured
from testbed.harness.release.linkability import Pair
from testbed.harness.release.setting import Setting, shorten

GUESSES = 500
"""Guesses of each evaluator, unless the user asks for another number."""
MOST_SECRETS = 99
"""Most secrets that are evaluated: their rules are numbered from 901 to 999."""
DIFFERENCES: dict[str, str] = {
    "singling_out": "anonymeter divides by the guesses asked for, not by those formed; for a smaller control it "
    "corrects with a curve fitted to a constant, which inflates the risk",
    "linkability": "anonymeter scales each column by the range of all rows, counts two missing values as different, "
    "and settles ties by the order of rows",
    "attribute_inference": "anonymeter aligns its blind guesses by row labels and loses most of them, counts every "
    "negative numeric guess as correct, and counts two missing values as different",
}


def frame_of(table: Table) -> pd.DataFrame:
    """The table as a pandas frame: dates as days, categories as text, missing values as missing."""
    made: dict[str, Any] = {}
    for column, values in zip(table.columns, table.values, strict=True):
        if column.kind == "numeric":
            made[column.name] = values
        else:
            levels = np.array([*column.levels, *(f"other {i}" for i in range(int(values.max(initial=0)) + 1))], object)
            text = levels[values]
            text[values == -1] = None
            made[column.name] = text
    return pd.DataFrame(made)


def check_installed() -> None:
    """Raises `UsageError` if anonymeter is not installed. It runs before any attack and loads nothing."""
    with contextlib.suppress(ModuleNotFoundError):
        if importlib.util.find_spec("anonymeter") is not None:
            return
    raise UsageError(
        "TB-CLI-004",
        "anonymeter is not installed.",
        "The option --instrument asks for anonymeter's evaluators.",
        "Install leakage-testbed[anonymeter], or leave --instrument out.",
    )


def anonymeter(setting: Setting, secrets: Sequence[str], pairs: Sequence[Pair]) -> list[Finding]:
    """Findings of anonymeter on its three risks. An evaluator that stops gives an unmeasured finding.

    Raises `UsageError` if anonymeter is not installed.
    """
    check_installed()
    from anonymeter import evaluators

    tables = [setting.members, setting.release.table, setting.controls]
    original, synthetic, control = cast(
        "tuple[Any, Any, Any]", (frame_of(t) if t is not None else None for t in tables)
    )
    asked = min(setting.wanted or GUESSES, *(len(t) for t in tables if t is not None))
    names = [c.name for c in setting.members.columns]
    numeric = {c.name for c in setting.members.columns if c.kind == "numeric"}

    def singling_out(mode: str) -> Any:
        most = min(3, len(names))
        made = evaluators.SinglingOutEvaluator(original, synthetic, asked, most, control, 1_000_000, setting.seed)
        return made.evaluate(mode=mode)

    def linkability(pair: Pair) -> Any:
        sides = (list(pair[0]), list(pair[1]))
        return evaluators.LinkabilityEvaluator(original, synthetic, sides, asked, 1, control).evaluate(n_jobs=1)

    def inference(secret: str) -> Any:
        others = [n for n in names if n != secret]
        made = evaluators.InferenceEvaluator(original, synthetic, others, secret, secret in numeric, asked, control)
        return made.evaluate(n_jobs=1)

    jobs: list[tuple[Plan, Callable[[], Any]]] = []
    for number, mode in enumerate(("univariate", "multivariate"), 901):
        plan = _plan(number, "singling_out", f"anonymeter_singling_out_{mode}", None, "predicate")
        jobs.append((plan, partial(singling_out, mode)))
    for pair in pairs[:1]:
        target = f"{shorten(pair[0])} | {shorten(pair[1])}"
        jobs.append((_plan(901, "linkability", "anonymeter_linkability", target), partial(linkability, pair)))
    for number, secret in enumerate(secrets[:MOST_SECRETS], 901):
        plan = _plan(number, "attribute_inference", "anonymeter_inference", secret)
        jobs.append((plan, partial(inference, secret)))
    found: list[Finding] = []
    for plan, make in jobs:
        setting.progress(plan.attack.replace("_", " "))
        with _seeded(setting.seed):
            found.append(_evaluated(plan, asked, make))
    return found


def _plan(number: int, risk: Risk, attack: str, target: str | None, unit: Unit = "record") -> Plan:
    return Plan(
        rule=f"TB-{risk.upper()}-{number}",
        risk=risk,
        attack=attack,
        metric="rate",
        unit=unit,
        primary=False,
        params={},
        target=target,
    )


def _evaluated(plan: Plan, asked: int, make: Callable[[], Any]) -> Finding:
    try:
        with _quiet():
            evaluator = make()
            results, risk = evaluator.results(), evaluator.risk()
    except Exception as error:  # our evaluation goes on; the text may quote the table, so only the type is told
        why = Unmeasured(unmeasured="anonymeter_failed", needs=f"another table: {type(error).__name__} stopped it")
        return findings_.unmeasured(plan, why, asked, 0)

    def rate(given: Any) -> Measure:
        if given is None:
            return findings_.NO_CONTROL
        value, error = float(given.value), float(given.error)
        return _estimate("rate", value, value - error, value + error, plan.unit, asked)

    base = findings_.unmeasured(plan, findings_.NOT_APPLICABLE, asked, asked)
    return base.model_copy(
        update={
            "measure": rate(results.attack_rate),
            "control": rate(results.control_rate),
            "baseline": rate(results.baseline_rate),
            "residual": _estimate("residual", risk.value, risk.ci[0], risk.ci[1], plan.unit, asked),
            "attack": AttackRun(name=plan.attack, params={}, requested=asked, performed=asked),
            "plain": f"anonymeter's own figure, for comparison. Known to differ from ours: {DIFFERENCES[plan.risk]}.",
        }
    )


def _estimate(metric: Metric, value: float, low: float, high: float, unit: Unit, n: int) -> Measure:
    if not np.isfinite([value, low, high]).all():
        return Unmeasured(unmeasured="not_a_number", needs="a figure that anonymeter can form")
    version = metadata.version("anonymeter")
    return Estimate(
        metric=metric,
        value=value,
        low=min(low, value),
        high=max(high, value),
        level=0.95,
        method=f"anonymeter {version}",
        unit=unit,
        n=n,
    )


@contextlib.contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Seeds NumPy's global generator for a while, because anonymeter draws from it through pandas.

    Only anonymeter's linkability baseline has a generator of its own.
    """
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Silences anonymeter's warnings and log lines, which may name values of the table."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
