# pyright: strict
"""Parts of the columns in which released rows are single people, while the rest of the row is somebody else's.

Partly synthetic tables keep some columns of real people, slightly moved, and make the others. Rows may also be put
together from blocks of several people. Such a row is near nobody as a whole, so the near-copy rule also looks at parts.

Parts are found without knowing who is a member: they are those in which released rows come nearer to single people, of
original or control, than real people come to each other. The rule's test on each part is therefore exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from testbed.core import Array, Table
from testbed.core.randomness import keyed_rng
from testbed.core.tables.neighbours import gaps
from testbed.core.tables.rows import row_keys
from testbed.core.tables.scale import Scale
from testbed.harness.release.grids import alike
from testbed.harness.release.near_copies import NEAR_P, SAME, SIZES, as_often, near_copies, shuffled, together

ROWS, POOL, FEWEST, CELLS = 400, 4000, 300, 24_000_000
"""The number of released and of real rows by which parts are compared; the most and the fewest people who are searched;
and the most cells of all matrices together, by which the number of people is chosen between these two."""
MOST = 300
"""Most pairs of columns, and most windows, that are looked at; of more, random ones."""
GROWN, STEPS, TESTED = 4, 4, 3
"""Parts that are enlarged, columns that are added to each, and parts that are tested."""
EXTREME = (0.95, 0.99)
"""Quantiles of real people's scores above which a score counts."""
FAR = 4.0
"""Standard deviations by which more released than real rows must have such a score, for a part to be tested."""

Part = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Copied:
    """Names of columns in which released rows are single people of the original, and the test that shows it.

    `members` of the `asked` people tested are members; `share` is their share of all people.
    """

    columns: tuple[str, ...]
    asked: int
    members: int
    share: float
    p_value: float


def copied_part(release: Table, members: Table, controls: Table, seed: int) -> Copied | None:
    """The part in which single people of the original are found most surely; None if chance explains all parts.

    Columns that are members' one by one, as in a sample of each, are no such part: the same must not be found once each
    released column is shuffled by itself.
    """
    if len(release.columns) < 3 or len(members) + len(controls) < SIZES[0]:
        return None  # too few columns for a part, or too few people for the test
    found: list[Copied] = []
    for part in promising_parts(release, members, controls, seed):
        names = tuple(release.columns[i].name for i in part)
        tables = release.select(names), members.select(names), controls.select(names)
        test = near_copies(*tables, seed)
        if TESTED * test.p_value < NEAR_P and not as_often(
            test, near_copies(shuffled(tables[0], seed), *tables[1:], seed)
        ):
            found.append(Copied(names, test.asked, test.members, test.share, test.p_value))
    return min(found, key=lambda c: c.p_value, default=None)  # of equal ones the most promising


def promising_parts(release: Table, members: Table, controls: Table, seed: int) -> list[Part]:
    """The parts in which released rows come nearest to single people, at most `TESTED`, without knowing the members."""
    sample = _Sample.of(*alike(release, members, controls), seed)
    width = len(release.columns)
    known: dict[Part, float] = {}

    def ordered(parts: Sequence[Part]) -> list[Part]:
        for part in parts:
            if part not in known:
                known[part] = sample.excess(part)
        return sorted(parts, key=lambda p: (-known[p], p))

    for part in ordered([*pairs(width, seed), *windows(width, seed)])[:GROWN]:
        for _ in range(min(STEPS, width - 1 - len(part)) if known[part] > FAR / 2 else 0):
            larger = ordered([tuple(sorted((*part, i))) for i in range(width) if i not in part])[0]
            if known[larger] <= known[part]:
                break
            part = larger
    return [p for p in ordered(list(known)) if known[p] > FAR and len(p) < width][:TESTED]


def pairs(width: int, seed: int) -> list[Part]:
    """All pairs of columns, or random ones if they are too many."""
    return _some([(i, j) for i in range(width) for j in range(i + 1, width)], seed)


def windows(width: int, seed: int) -> list[Part]:
    """Columns that stand together: 3, 4, 6, 8, 12, ... of them, each window a third of its length further.

    Random ones if they are too many.
    """
    found: list[Part] = []
    for shortest in (3, 4):
        length = shortest
        while length < width:
            starts = [*range(0, width - length, max(1, length // 3)), width - length]
            found += [tuple(range(s, s + length)) for s in starts]
            length *= 2
    return _some(found, seed)


def _some(parts: list[Part], seed: int) -> list[Part]:
    if len(parts) <= MOST:
        return parts
    drawn = keyed_rng(seed, "parts of the columns").choice(len(parts), MOST, replace=False)
    return [parts[int(i)] for i in np.sort(drawn)]


@dataclass(frozen=True, slots=True)
class _Sample:
    """Roots of the distances of released and of real rows to some people, column by column, (rows, people) each.

    `space` holds sums of them for a while, since fresh memory takes longer than the sum.
    """

    released: tuple[Array, ...]
    real: tuple[Array, ...]
    space: tuple[Array, Array]

    @staticmethod
    def of(release: Table, members: Table, others: Table | None, seed: int) -> _Sample:
        assert others is not None
        pool, person = together(members, others)
        order = np.argsort(row_keys(pool, seed), kind="stable")
        _, first = np.unique(person[order], return_index=True)  # one row a person
        people = min(POOL, max(FEWEST, CELLS // (2 * ROWS * len(pool.columns))))
        pool = pool.take(order[np.sort(first)][:people])
        drawn = release.take(np.argsort(row_keys(release, seed), kind="stable")[:ROWS])
        scale = Scale.of(release)
        released, real = (gaps(rows, pool, scale) for rows in (drawn, pool.take(np.arange(min(ROWS, len(pool))))))
        for column in real:
            np.fill_diagonal(column, np.inf)  # the same row
        return _Sample(released, real, (np.empty_like(released[0]), np.empty_like(real[0])))

    def excess(self, part: Part) -> float:
        """By how many standard deviations more released than real rows are very near to one person alone."""
        sides = ((self.released, self.space[0]), (self.real, self.space[1]))
        found, usual = (_scores([columns[i] for i in part], space) for columns, space in sides)
        return max(_more(found > limit, usual > limit) for limit in np.quantile(usual, EXTREME))


def _scores(columns: Sequence[Array], space: Array) -> Array:
    """For each row the log ratio of the second nearest person's distance to the nearest one's. `space` is written."""
    distance = np.add(columns[0], columns[1], out=space)
    for column in columns[2:]:
        distance += column
    rows = np.arange(len(distance))
    nearest = distance.argmin(1)
    first = distance[rows, nearest]
    distance[rows, nearest] = np.inf
    return np.log(distance.min(1) + SAME) - np.log(first + SAME)


def _more(hits: Array, usual: Array) -> float:
    """The difference of two shares in standard deviations."""
    share = (hits.sum() + usual.sum()) / (len(hits) + len(usual))
    deviation = np.sqrt(max(share * (1 - share), 1e-9) * (1 / len(hits) + 1 / len(usual)))
    return float((hits.mean() - usual.mean()) / deviation)
