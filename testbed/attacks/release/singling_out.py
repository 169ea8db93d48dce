"""Singling out: can the release be used to write a description that fits exactly one person?

The row and the columns of a description depend on the row's values and the seed, so that neither the order of rows nor
additional rows elsewhere change it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from testbed.attacks.registry import attack
from testbed.core import Array, Column, Condition, Fields, Predicates, Release, Table
from testbed.core.tables.index import AT_LEAST, AT_MOST, EQUAL, MISSING, Index, count, people_with
from testbed.core.tables.rows import mix, row_keys

ATTEMPTS_PER_PREDICATE = 500
"""Attempts at most for each predicate that is wanted."""
REFERENCE = "https://arxiv.org/abs/2211.10459"
_OPS = ("eq", "le", "ge", "missing")
_NAMES = {EQUAL: "eq", AT_MOST: "le", AT_LEAST: "ge", MISSING: "missing"}


def _one_column(table: Table, column: int, seed: int) -> list[Condition]:
    """All conditions on one column that fit exactly one released person, in a random order given by the seed."""
    values = table.values[column]
    numeric = table.columns[column].kind == "numeric"
    gaps = np.isnan(values) if numeric else values == -1
    found = [Condition(column, "missing")] if len(np.unique(table.persons[gaps])) == 1 else []
    levels, counts = people_with(values[~gaps], table.persons[~gaps])
    found += [Condition(column, "eq", float(v)) for v in levels[counts == 1]]
    if numeric and len(levels):
        found += [Condition(column, "le", float(levels[0]))] if counts[0] == 1 else []
        found += [Condition(column, "ge", float(levels[-1]))] if counts[-1] == 1 else []
    facts = [[c.value for c in found], [float(_OPS.index(c.op)) for c in found]]
    named = tuple(Column(name, "numeric") for name in ("value", "op"))
    keys = row_keys(Table(named, tuple(np.array(f, dtype=float) for f in facts), np.arange(len(found))), seed + column)
    return [found[i] for i in np.argsort(keys, kind="stable")]


@attack(
    subject="release",
    rule="TB-SINGLING_OUT-001",
    risk="singling_out",
    claim=Predicates,
    needs=set(),
    position="recipient",
    access="score",
    reference=REFERENCE,
)
def singling_out_univariate(view: Release, question: Fields, auxiliary: None, rng: np.random.Generator) -> Predicates:
    """Describe a person by one value: a value that one person of the release has may be unique in the original, too.

    Threat model: the recipient holds only the release (Giomi et al. 2023, section 3.2.1). Columns take turns, so that a
    column with many unique values does not dominate.
    """
    seed = int(rng.integers(2**62))
    by_column = [_one_column(view.table, c, seed)[: question.wanted] for c in range(len(question.columns))]
    longest = max(map(len, by_column), default=0)
    chosen = [conditions[i] for i in range(longest) for conditions in by_column if i < len(conditions)]
    return Predicates(tuple((c,) for c in chosen[: question.wanted]))


@attack(
    subject="release",
    rule="TB-SINGLING_OUT-002",
    risk="singling_out",
    claim=Predicates,
    needs=set(),
    position="recipient",
    access="score",
    reference=REFERENCE,
    margin=0.5,
)
def singling_out_multivariate(
    view: Release,
    question: Fields,
    auxiliary: None,
    rng: np.random.Generator,
    *,
    smallest: int = 2,
    largest: int = 4,
    margin: float = 0.0,
) -> Predicates:
    """Describe a person by several attributes of one released row that fit no other released person.

    Threat model: the recipient holds only the release (Giomi et al. 2023, section 3.2.1). For a numeric column, the
    condition is 'at least' the value if it is above the release's median, and 'at most' otherwise; for other columns it
    is equality. The number of columns is between `smallest` and `largest`. With a `margin`, bounds are moved by that
    share of the distance to the next released value, so that a value changed by noise still satisfies them.
    """
    table = view.table
    medians = np.array(
        [_median(v) if c.kind == "numeric" else np.nan for c, v in zip(table.columns, table.values, strict=True)]
    )
    keys = row_keys(table, int(rng.integers(2**62)))
    index, width = Index.of(table), len(table.columns)
    sizes = np.array(sorted({min(width, s) for s in range(smallest, largest + 1)}), dtype=np.int64)
    most = min(ATTEMPTS_PER_PREDICATE * question.wanted, 512 * len(table))
    rows, data = np.argsort(keys, kind="stable"), (index.values, index.order, index.ranked, index.known, index.person)
    columns, ops, bounds, lengths = _form(
        *data, index.several, rows, keys, medians, sizes, most, question.wanted, margin
    )
    made = (
        tuple(Condition(int(columns[i, c]), _NAMES[int(ops[i, c])], float(bounds[i, c])) for c in range(n))  # type: ignore[arg-type]
        for i, n in enumerate(lengths)
    )
    return Predicates(tuple(made))


def _median(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


@numba.njit(cache=True, nogil=True)
def _form(
    values: Any,
    order: Any,
    ranked: Any,
    known: Any,
    person: Any,
    several: bool,
    rows: Any,
    keys: Any,
    medians: Any,
    sizes: Any,
    most: int,
    wanted: int,
    margin: float,
) -> Any:  # pragma: no cover - compiled
    """Up to `wanted` conjunctions that fit one person, in `most` attempts: columns, operations, bounds, lengths."""
    p, widest = values.shape[0], sizes[-1]
    columns = np.zeros((wanted, widest), np.int64)
    ops = np.zeros((wanted, widest), np.int64)
    bounds = np.zeros((wanted, widest))
    lengths = np.zeros(wanted, np.int64)
    bits, seen = bounds.view(np.uint64), {np.uint64(0)}
    made, attempt = 0, 0
    pick = np.empty(p, np.int64)
    while attempt < most and made < wanted:
        row = rows[attempt % rows.shape[0]]
        state = mix(keys[row] + np.uint64(attempt // rows.shape[0] + 1) * np.uint64(0x9E3779B97F4A7C15))
        attempt += 1
        size = sizes[np.int64(state % np.uint64(sizes.shape[0]))]
        for c in range(p):
            pick[c] = c
        for c in range(size):
            state = mix(state + np.uint64(0x9E3779B97F4A7C15))
            at = c + np.int64(state % np.uint64(p - c))
            pick[c], pick[at] = pick[at], pick[c]
        for c in range(1, size):  # in ascending order; np.sort takes a second to compile
            for at in range(c, 0, -1):
                if pick[at - 1] > pick[at]:
                    pick[at - 1], pick[at] = pick[at], pick[at - 1]
        chosen = pick[:size]
        for c in range(size):
            value = values[chosen[c], row]
            columns[made, c], bounds[made, c] = chosen[c], value
            if value != value:
                ops[made, c], bounds[made, c] = MISSING, 0.0
            elif medians[chosen[c]] != medians[chosen[c]]:
                ops[made, c] = EQUAL
            else:
                ops[made, c] = AT_LEAST if value > medians[chosen[c]] else AT_MOST
                if margin > 0:
                    along = ranked[chosen[c], : known[chosen[c]]]
                    if ops[made, c] == AT_LEAST:
                        at = np.searchsorted(along, value, "left")
                        beyond = along[at - 1] if at > 0 else value
                    else:
                        at = np.searchsorted(along, value, "right")
                        beyond = along[at] if at < along.shape[0] else value
                    bounds[made, c] = value + margin * (beyond - value)
        if count(values, order, ranked, known, person, several, chosen, ops[made, :size], bounds[made, :size], 2) != 1:
            continue
        text = np.uint64(size)
        for c in range(size):
            text = mix(text ^ mix(bits[made, c] + np.uint64(4 * chosen[c] + ops[made, c])))
        if text not in seen:
            seen.add(text)
            lengths[made] = size
            made += 1
    return columns[:made], ops[:made], bounds[:made], lengths[:made]


@attack(
    subject="release",
    rule="TB-SINGLING_OUT-009",
    risk="singling_out",
    claim=Predicates,
    needs=set(),
    position="recipient",
    access="score",
    reference=REFERENCE,
    baseline=True,
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
    """Describe nobody in particular, by values drawn uniformly from each column's range.

    Threat model: the recipient knows the columns and their ranges only. It is the baseline of singling out: how often
    does a random description fit one person?
    """
    width = len(question.columns)
    known = [
        v[~np.isnan(v)] if c.kind == "numeric" else v
        for c, v in zip(view.table.columns, view.table.values, strict=True)
    ]
    ranges = [
        (float(v.min()), float(v.max()), bool(np.all(v == np.round(v)))) if len(v) else (0.0, 0.0, True) for v in known
    ]
    chosen: list[tuple[Condition, ...]] = []
    for i in range(question.wanted):
        size = min(width, smallest + i % (largest - smallest + 1))
        columns = sorted(int(c) for c in rng.choice(width, size, replace=False))
        chosen.append(tuple(_random_condition(view.table, c, ranges[c], rng) for c in columns))
    return Predicates(tuple(chosen))


def _random_condition(
    table: Table, column: int, range_: tuple[float, float, bool], rng: np.random.Generator
) -> Condition:
    spec = table.columns[column]
    if spec.kind == "categorical":
        return Condition(column, "eq", float(rng.integers(max(1, len(spec.levels)))))
    low, high, whole = range_
    value = low + float(rng.uniform()) * (high / 2 - low / 2) * 2
    return Condition(column, _OPS[int(rng.integers(3))], float(round(value)) if whole else value)  # type: ignore[arg-type]
