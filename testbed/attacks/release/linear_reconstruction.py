"""Reconstruction of a binary secret of all people at once, from many counts of the release, by a linear programme."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from scipy import optimize as _optimize
from scipy import sparse as _sparse

from testbed.attacks.registry import attack
from testbed.core import Array, Gaps, Guesses, Release, Table, Unavailable
from testbed.core.tables.rows import row_keys

optimize, sparse = cast(Any, _optimize), cast(Any, _sparse)  # SciPy ships no types
BINS, MOST_PEOPLE = 8, 1000
"""Bins of a number, and people at once at most."""


def binned(table: Table, release: Table) -> Array:
    """Each column as codes (n, p): categories unchanged, numbers in eighths of the release, missing as -1."""
    columns: list[Array] = []
    for column, values, released in zip(table.columns, table.values, release.values, strict=True):
        if column.kind == "categorical":
            columns.append(values.astype(np.int64))
            continue
        known = released[~np.isnan(released)]
        edges = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]) if len(known) else np.empty(0)
        columns.append(np.where(np.isnan(values), -1, np.searchsorted(edges, values, "right")))
    return np.stack(columns, 1)


@attack(
    subject="release",
    rule="TB-ATTRIBUTE_INFERENCE-003",
    risk="attribute_inference",
    claim=Guesses,
    needs={"known_columns"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2301.10053",
    asks="everybody",
)
def linear_reconstruction(
    view: Release,
    question: Gaps,
    auxiliary: None,
    rng: np.random.Generator,
    *,
    queries_per_person: int = 3,
    attributes: int = 3,
) -> Guesses:
    """Find the secrets of all people that together explain the release's counts best (Annamalai et al. 2024).

    Threat model: the recipient knows every attribute of all people asked about, except one binary secret. For random
    combinations of attribute values, the share of released rows with the secret estimates how many of the people with
    this combination have it. A linear programme (HiGHS) with secrets in [0, 1] minimises the total deviation. As many
    people are guessed to have the secret as the release says. The attack uses many people at once, and needs no near
    copy of anybody. Raises `Unavailable` for more than one secret, more than 1,000 people, or a secret that is not
    binary.
    """
    if len(question.secrets) != 1 or len(question.known) > MOST_PEOPLE:
        raise Unavailable("too_many_people", f"one secret, and at most {MOST_PEOPLE} people at once")
    (secret,) = question.secrets
    released = view.table.select((secret.name,)).values[0]
    levels, counts = np.unique(released[~np.isnan(released.astype(float))], return_counts=True)
    if len(levels) != 2:
        raise Unavailable("not_binary", "a secret of two values")
    known = question.without(secret)
    others = view.table.select(tuple(c.name for c in known.columns))
    # A programme may have many solutions; the one found must not depend on the order of people.
    keys = row_keys(known, int(rng.integers(2**62)))
    order = np.argsort(keys, kind="stable")
    people, rows = binned(known, others)[order], binned(others, others)
    has = released == levels[1]
    matrix, wanted = _queries(people, rows, has, queries_per_person * len(people), attributes, rng)
    shares = np.full(len(people), has.mean())
    if len(wanted):
        shares[order] = _solve(matrix, wanted)
    # The share of people guessed to have the secret is that of the release.
    cut = np.quantile(shares, 1 - counts[1] / counts.sum())
    chosen = shares + 1e-9 * (keys.astype(np.float64) / 2.0**64) > cut
    return Guesses({secret.name: np.where(chosen, levels[1], levels[0]).astype(float)}, {secret.name: 0.0})


def _queries(
    people: Array, rows: Array, has: Array, wanted: int, attributes: int, rng: np.random.Generator
) -> tuple[Any, Array]:
    """The people who match each query (q, n), and how many of them should have the secret by the release (q,)."""
    n, p = people.shape
    size = min(attributes, p)
    asked, released = np.ascontiguousarray(people.T), np.ascontiguousarray(rows.T)
    matched: list[Array] = []
    expected: list[float] = []
    seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    for attempt in range(3 * wanted):
        if len(matched) >= wanted:
            break
        columns = tuple(sorted(rng.choice(p, size, replace=False).tolist()))
        person = attempt % n
        key = (columns, tuple(asked[c, person] for c in columns))
        if key in seen:
            continue
        seen.add(key)
        fits = _matching(released, *key)
        found = int(np.count_nonzero(fits))
        if not found:
            continue
        mine = np.flatnonzero(_matching(asked, *key))
        matched.append(mine)
        expected.append(int(np.count_nonzero(fits & has)) / found * len(mine))
    lengths = [len(m) for m in matched]
    where = (np.repeat(np.arange(len(matched)), lengths), np.concatenate(matched) if matched else np.empty(0, int))
    return sparse.csr_matrix((np.ones(sum(lengths)), where), shape=(len(matched), n)), np.array(expected)


def _matching(table: Array, columns: tuple[int, ...], values: tuple[Any, ...]) -> Array:
    """Which rows of a table (p, n) have these values in these columns."""
    fits = np.ones(table.shape[1], bool)
    for column, value in zip(columns, values, strict=True):
        fits &= table[column] == value
    return fits


def _solve(matrix: Any, wanted: Array) -> Array:
    """Secrets (n,) in [0, 1] with the smallest total absolute deviation from the wanted counts."""
    q, n = matrix.shape
    slack = sparse.identity(q, format="csr")
    equalities = sparse.hstack([matrix, slack, -slack], format="csr")
    cost = np.concatenate([np.zeros(n), np.ones(2 * q)])
    bounds = [(0.0, 1.0)] * n + [(0.0, None)] * (2 * q)
    found = optimize.linprog(cost, A_eq=equalities, b_eq=wanted, bounds=bounds, method="highs")
    if found.x is None:
        raise Unavailable("not_solved", "a linear programme that HiGHS can solve")
    return np.asarray(found.x[:n])
