"""Singling out: can someone use the release to write a description that fits exactly one person?"""

from __future__ import annotations

import numpy as np

from testbed.attacks.kit import attack
from testbed.core import Condition, Fields, Predicates, Release, Table

ATTEMPTS_PER_PREDICATE = 60
REFERENCE = "https://arxiv.org/abs/2211.10459"


def _one_column(table: Table, column: int) -> list[Condition]:
    """All conditions on one column that fit exactly one released row: rare values, the extremes, a lone gap."""
    values = table.values[column]
    numeric = table.columns[column].kind == "numeric"
    gaps = np.isnan(values) if numeric else values == -1
    found = [Condition(column, "missing")] if gaps.sum() == 1 else []
    levels, counts = np.unique(values[~gaps], return_counts=True)
    found += [Condition(column, "eq", float(v)) for v in levels[counts == 1]]
    if numeric and len(levels):
        found += [Condition(column, "le", float(levels[0]))] if counts[0] == 1 else []
        found += [Condition(column, "ge", float(levels[-1]))] if counts[-1] == 1 else []
    return found


@attack(
    risk="singling_out",
    claim=Predicates,
    needs=set(),
    position="recipient",
    access="score",
    reference=REFERENCE,
)
def singling_out_univariate(view: Release, question: Fields, auxiliary: None, rng: np.random.Generator) -> Predicates:
    """Describe a person by one rare value: what occurs once in the release may occur once in the original.

    Threat model: the recipient holds the release alone (Giomi et al. 2023, section 3.2.1). Conditions are drawn
    evenly over the columns, so that one column with many unique values does not stand for all.
    """
    by_column = [_one_column(view.table, c) for c in range(len(question.columns))]
    for conditions in by_column:
        rng.shuffle(conditions)  # type: ignore[arg-type]
    chosen: list[tuple[Condition, ...]] = []
    while len(chosen) < question.wanted and any(by_column):
        for conditions in by_column:
            if conditions and len(chosen) < question.wanted:
                chosen.append((conditions.pop(),))
    return Predicates(tuple(chosen))


@attack(
    risk="singling_out",
    claim=Predicates,
    needs=set(),
    position="recipient",
    access="score",
    reference=REFERENCE,
)
def singling_out_multivariate(
    view: Release,
    question: Fields,
    auxiliary: None,
    rng: np.random.Generator,
    *,
    smallest: int = 2,
    largest: int = 4,
) -> Predicates:
    """Describe a person by several attributes of one released row that together fit no other released row.

    Threat model: the recipient holds the release alone (Giomi et al. 2023, section 3.2.1). Of a numeric column the
    condition is the half-line away from the release's median; of others it is equality. Column-set sizes are
    swept from `smallest` to `largest`.
    """
    table = view.table
    medians = [
        float(np.median(known)) if c.kind == "numeric" and len(known := v[~np.isnan(v)]) else 0.0
        for c, v in zip(table.columns, table.values, strict=True)
    ]
    width = len(question.columns)
    found: dict[tuple[Condition, ...], None] = {}
    for attempt in range(ATTEMPTS_PER_PREDICATE * question.wanted):
        if len(found) >= question.wanted:
            break
        size = min(width, smallest + attempt % (largest - smallest + 1))
        row = int(rng.integers(len(table)))
        columns = sorted(int(c) for c in rng.choice(width, size, replace=False))
        conjunction = tuple(_condition_of(table, row, c, medians[c]) for c in columns)
        if conjunction not in found and _fits_one(table, conjunction):
            found[conjunction] = None
    return Predicates(tuple(found))


def _condition_of(table: Table, row: int, column: int, median: float) -> Condition:
    value = float(table.values[column][row])
    if table.columns[column].kind == "categorical":
        return Condition(column, "missing") if value == -1 else Condition(column, "eq", value)
    if np.isnan(value):
        return Condition(column, "missing")
    return Condition(column, "ge" if value > median else "le", value)


def _fits_one(table: Table, conjunction: tuple[Condition, ...]) -> bool:
    return int(table.matching(conjunction).sum()) == 1


@attack(
    risk="singling_out",
    claim=Predicates,
    needs=set(),
    position="recipient",
    access="score",
    reference=REFERENCE,
)
def random_predicates(
    view: Release,
    question: Fields,
    auxiliary: None,
    rng: np.random.Generator,
    *,
    smallest: int = 1,
    largest: int = 1,
) -> Predicates:
    """Describe nobody in particular: values drawn evenly from each column's range, whatever rows exist.

    Threat model: the recipient knows the columns and their ranges. It is the baseline of singling out: how often a
    random description happens to fit one person.
    """
    width = len(question.columns)
    chosen: list[tuple[Condition, ...]] = []
    for i in range(question.wanted):
        size = min(width, smallest + i % (largest - smallest + 1))
        columns = sorted(int(c) for c in rng.choice(width, size, replace=False))
        chosen.append(tuple(_random_condition(view.table, c, rng) for c in columns))
    return Predicates(tuple(chosen))


def _random_condition(table: Table, column: int, rng: np.random.Generator) -> Condition:
    spec, values = table.columns[column], table.values[column]
    if spec.kind == "categorical":
        return Condition(column, "eq", float(rng.integers(max(1, len(spec.levels)))))
    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    value = float(rng.uniform(low, high)) if high > low else low
    if np.all(known == np.round(known)):
        value = float(round(value))
    return Condition(column, str(rng.choice(["eq", "le", "ge"])), value)  # type: ignore[arg-type]
