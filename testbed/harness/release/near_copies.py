"""The near-copy rule: does the release hold rows of single people of the original, slightly changed? It decides.

It complements the copy rule and starts from the released rows, because a release may hold few real people, or people
who were slightly changed. Each released row is compared with all real people, original and control together. A person's
score tells how much nearer some released row is to this person than to the second nearest person. Each column counts by
the square root of its distance, so one changed cell hides nobody.

The search does not know who is a member. If nothing leaks, the people with the highest scores are therefore members as
often as chance draws them, which gives an exact test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from testbed.core import Array, Table
from testbed.core.randomness import keyed_rng
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.rows import row_keys
from testbed.core.tables.scale import Scale
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Validity
from testbed.findings.statistics import Interval
from testbed.harness.release.coincidences import ALLOWED, chance_of_agreement, persons_apart
from testbed.harness.release.grids import alike
from testbed.harness.release.promising import promise
from testbed.harness.release.setting import Setting

NEAR_P, SUSPECT_P, EXTREME_P = 0.001, 0.01, 1e-4
"""Levels of p-values. Below the first the rule fails a release; below the second a person must look at it. The third
is for the test whether released rows are nearer to single people than fresh people would be."""
RARER = 1e-3
"""Factor by which an agreement must be less probable than the least probable one between two real people."""
FEWEST_LONE = 5
"""Number of people with whom released rows agree beyond chance, from which a person must look. A few may be patients
who are registered twice. Draws of fresh people from framingham had three or four in 3 of 200 cases, and never five."""
SIZES = sorted(first * 2**i for i in range(40) for first in (10, 15))
"""Numbers of people with the highest scores that the rule tests: 10, 15, 20, 30, 40, 60, ... If both groups are equally
large, chance makes all of 15 people members in one of 32,768 releases."""
EXPECTED_CONTROLS = 30
"""Most controls that chance would give among the people tested. For two groups of equal size this allows 60 people. A
slight closeness to many members, which every trained generator has, is left to the membership risk and its limit."""
PAIRS = 5_000_000_000
"""Most pairs of a released and a real row that are compared: some 15 CPU seconds for 20 columns. All rows are compared
for up to 50,000 people in each table. From larger tables half as many rows are drawn at random as this allows, and half
as many are the most promising of all rows."""
MOST_NEIGHBOURS = 16
"""Nearest rows that are looked at for one released row, to find the second nearest person."""
SHUFFLED_P = 0.001
"""Level of the question whether people are found no more often than with each column shuffled by itself."""
REACHED = 3
"""Rows of the shuffled release that may have a higher score than the limit."""
SAME = 1e-6
"""A distance that is negligible, in widths of a column. It keeps the logarithm of a score finite."""
ORDINARY, ORDINARY_PAIRS = 5000, 1_000_000_000
"""Rows of real people that are compared with other real people, to learn how near fresh people are to each other; and
most pairs for that."""
EXTREME = (0.995, 0.999)
"""Quantiles of the scores of real people's rows, above which a score is extreme."""


@dataclass(frozen=True, slots=True)
class NearCopies:
    """Result of the test: `members` of the `asked` people with the highest scores are members.

    `p_value` is exact and covers all sizes tested. `member_p` and `control_p` are p-values of another test: are
    released rows nearer to single members, or to single controls, than fresh people would be? `lone` and
    `lone_controls` count members and controls who agree with a released row in more columns than chance would give
    anybody.
    """

    asked: int
    members: int
    share: float
    """The members' share of all people: the share that chance would give."""
    p_value: float
    least_p: float
    """The smallest p-value that was possible: all people tested, or as many as there are, are members."""
    member_p: float
    control_p: float
    lone: int
    lone_controls: int
    reached: float = 0.0
    """The score that only a few released rows reach."""
    caught: int | None = None
    """The fewest members, nearer to released rows than everybody else, that the test finds in 4 of 5 cases."""


@dataclass(frozen=True, slots=True)
class Search:
    """For each row (n,): the nearest row of the pool, the person of that row, and the score."""

    row: Array
    whose: Array
    score: Array


def near_copies(release: Table, members: Table, controls: Table, seed: int, above: float = 0.0) -> NearCopies:
    """The near-copy rule's test. A person with several rows counts once. Ties are settled by the rows' values.

    Numbers are compared on the coarser grid of release and people. Only people with a score above the limit are tested.
    """
    release, members, others = alike(release, members, controls)
    controls = controls if others is None else others
    pool, person = together(members, controls)
    used = np.zeros(person.max() + 1, dtype=bool)
    used[person[: len(members)]] = True
    asked, promising = _drawn(release, pool, max(2, PAIRS // len(pool)), seed)
    scale = Scale.of(release)
    released = nearer(asked, pool, person, scale, seed)
    best = np.full(len(used), -np.inf)
    np.maximum.at(best, released.whose, released.score)
    further = None if promising is None else nearer(promising, pool, person, scale, seed)
    if further is not None:
        np.maximum.at(best, further.whose, further.score)
    best[best <= above] = -np.inf
    order, (top, inside, p, least) = highest(best, used, pool, person, seed)
    # Real people's rows, compared with other people, show how near one fresh person is to another.
    rows = np.argsort(row_keys(pool, seed + 1), kind="stable")[: min(ORDINARY, max(1, ORDINARY_PAIRS // len(pool)))]
    fresh = pool.take(rows)
    ordinary = nearer(fresh, pool, person, scale, seed, person[rows])
    extreme = [_extreme_p(released, ordinary, group) for group in (used, ~used)]
    lone = _lone(asked, released, fresh, ordinary, pool, person, used)
    count = int(used.sum()), int((~used).sum())
    caught = statistics.nearest_people(tested_sizes(len(order), count[0], len(used)), count, NEAR_P)
    reached = float(np.sort(released.score)[-REACHED:][0])
    return NearCopies(top, inside, float(used.mean()), p, least, extreme[0], extreme[1], *lone, reached, caught)


def by_columns(found: NearCopies, release: Table, members: Table, controls: Table, seed: int) -> bool:
    """Whether a finding is explained by single columns: each of them holds values of members, as a sample of it does.

    Members must then be found about as often once each released column is shuffled by itself, and no longer among the
    people with higher scores than these rows reach.
    """
    mixed = near_copies(shuffled(release, seed), members, controls, seed)
    if not as_often(found, mixed):
        return False
    return near_copies(release, members, controls, seed, mixed.reached).p_value >= NEAR_P


def shuffled(table: Table, seed: int) -> Table:
    """The table with each column shuffled by itself."""
    rng = keyed_rng(seed, "columns shuffled")
    return Table(table.columns, tuple(v[rng.permutation(len(v))] for v in table.values), table.persons)


class _Test(Protocol):
    """A test of people with the highest scores: so many of those asked are members."""

    @property
    def asked(self) -> int: ...
    @property
    def members(self) -> int: ...


def as_often(test: _Test, shuffled: _Test) -> bool:
    """Are members found in the shuffled table about as often as in what was released?"""
    if not shuffled.asked:
        return False
    return (
        statistics.labels_by_chance(test.members, test.members + shuffled.members, test.asked, shuffled.asked)
        > SHUFFLED_P
    )


def together(members: Table, controls: Table) -> tuple[Table, Array]:
    """The rows of all real people in one table, and the number of each row's person."""
    person = persons_apart(members, controls)
    values = (np.concatenate(pair) for pair in zip(members.values, controls.values, strict=True))
    return Table(members.columns, tuple(values), person), person


def _drawn(release: Table, pool: Table, most: int, seed: int) -> tuple[Table, Table | None]:
    """All released rows. If they are more than `most`: half as many drawn at random, and half as many promising ones.

    They are drawn by a hash of their values, so the order of rows changes nothing.
    """
    if len(release) <= most:
        return release, None
    keys = row_keys(release, seed)
    order = np.argsort(keys, kind="stable")
    drawn, others = order[: most // 2], order[most // 2 :]
    hits = promise(release, pool, seed)[others]
    promising = others[np.lexsort((keys[others], -hits))][: most - most // 2]
    return release.take(drawn), release.take(promising)


def nearer(asked: Table, pool: Table, person: Array, scale: Scale, seed: int, apart: Array | None = None) -> Search:
    """The person nearest to each row, and the score: the log ratio of the second nearest person's distance to it.

    `apart` (n,) is the person to pass over for each row, namely the one whose row it is.
    """
    rows = int(np.bincount(person).max())
    k = min(len(pool), MOST_NEIGHBOURS, rows + 1 if apart is None else 2 * rows + 1)
    found, distance, _ = nearest(asked, pool, scale, seed, k, root=True)
    who = person[found]
    if apart is not None:
        distance = np.where(who == apart[:, None], np.inf, distance)
        by_distance = np.argsort(distance, axis=1, kind="stable")
        found, who, distance = (np.take_along_axis(a, by_distance, 1) for a in (found, who, distance))
    known = np.isfinite(distance)
    second = np.where(known & (who != who[:, :1]), distance, np.inf).min(1)
    # If all rows found belong to one person, the next person is at least as far away as the last of these rows.
    second = np.where(np.isfinite(second), second, np.where(known, distance, 0.0).max(1))
    first = np.where(known[:, 0], distance[:, 0], second)
    return Search(found[:, 0], who[:, 0], np.log(second + SAME) - np.log(first + SAME))


def highest(
    score: Array, used: Array, pool: Table, person: Array, seed: int
) -> tuple[Array, tuple[int, int, float, float]]:
    """The people with a positive score, highest first, and the test on them (see `_tops`).

    `used` says who is a member; `person` is the person of each row of the pool. Ties are settled by the rows' values.
    """
    tie = np.zeros(len(used), np.uint64)
    np.maximum.at(tie, person, row_keys(pool, seed))
    order = np.lexsort((tie, -score))
    order = order[score[order] > 0]
    return order, _tops(used[order], int(used.sum()), len(used))


def tested_sizes(scored: int, members: int, people: int) -> list[int]:
    """The numbers of people that are tested, of so many who have a score."""
    most = min(scored, EXPECTED_CONTROLS * people / max(1, people - members))
    return [n for n in SIZES if n <= most]


def _tops(used: Array, members: int, people: int) -> tuple[int, int, float, float]:
    """The number of people tested, the number of members among them, the p-value, and the smallest possible p-value.

    People with the highest scores are tested in groups of several sizes. The smallest p-value counts, multiplied by
    the number of sizes.
    """
    sizes = tested_sizes(len(used), members, people)
    if not sizes:
        return 0, 0, 1.0, 1.0

    def chance(inside: int, n: int) -> float:
        return min(1.0, len(sizes) * statistics.labels_by_chance(inside, n, members, people - members))

    p, n, inside = min((chance(int(used[:n].sum()), n), n, int(used[:n].sum())) for n in sizes)
    return n, inside, p, min(chance(min(n, members), n) for n in sizes)


def _extreme_p(released: Search, ordinary: Search, group: Array) -> float:
    """The p-value that released rows are nearer to single people of a group than fresh people are (Fisher's test).

    It compares the number of people with an extreme score, which few real people's rows reach. The smallest p-value
    over several quantiles counts, multiplied by their number. A generator may make many rows next to one person: these
    count once.
    """
    found: list[float] = []
    for share in EXTREME:
        extreme = np.quantile(ordinary.score, share)
        hit, expected = (
            len(np.unique(search.whose[(search.score > extreme) & group[search.whose]]))
            for search in (released, ordinary)
        )
        found.append(statistics.labels_by_chance(hit, hit + expected, len(released.score), len(ordinary.score)))
    return min(1.0, len(found) * min(found))


def _lone(
    asked: Table, released: Search, fresh: Table, ordinary: Search, pool: Table, person: Array, used: Array
) -> tuple[int, int]:
    """Numbers of members and of controls with whom a released row agrees in more columns than chance would give.

    The agreement must also be far less probable than any between two real people, such as relatives or one patient
    registered twice.
    """
    if not len(pool.columns):
        return 0, 0
    chance, among_real = (
        chance_of_agreement(rows, pool, search.row, person) for rows, search in ((asked, released), (fresh, ordinary))
    )
    limit = min(ALLOWED / (len(asked) * len(used)), RARER * float(among_real.min()))
    found = released.whose[chance < limit]
    return len(np.unique(found[used[found]])), len(np.unique(found[~used[found]]))


PLAN = Plan(rule="TB-COPYING-005", risk="copying", attack="near_copies", metric="rate", unit="person", primary=True)
CONTAMINATED = "control_in_release"


def near_copied(setting: Setting) -> Finding:
    """The near-copy rule's finding: members' share of the people with the highest scores, and of all people.

    It is not applicable, without a measure, if so few people have a released row nearer to them than to others that
    even copies of all of them would not fail the test.
    """
    setting.progress("near copies")
    if setting.controls is None:
        return findings_.unmeasured(PLAN, findings_.NO_CONTROL)
    tables = setting.release.table, setting.members, setting.controls, setting.seed
    found = near_copies(*tables)
    near = found.p_value < NEAR_P and not by_columns(found, *tables)
    flags = ["near_copies"] if near else []
    suspected = found.p_value < SUSPECT_P or found.member_p < EXTREME_P or found.lone >= FEWEST_LONE
    flags += ["near_copies_suspected"] if suspected and not flags else []
    flags += [CONTAMINATED] if found.control_p < EXTREME_P or found.lone_controls >= FEWEST_LONE else []
    finding = findings_.unmeasured(PLAN, findings_.NOT_APPLICABLE, found.asked, found.asked)
    update: dict[str, object] = {"validity": Validity(ok=not flags, flags=flags), "plain": _plain(found, flags)}
    if found.asked and (flags or found.least_p < NEAR_P):  # a test that no number of copies could fail is no test
        measure = statistics.wilson(found.members, found.asked)
        chance = Interval(found.share, found.share, found.share, 1.0, "closed form: members' share", found.asked)
        update["measure"] = findings_.estimate("rate", measure, "person")
        update["baseline"] = findings_.estimate("rate", chance, "person")
    return finding.model_copy(update=update)


BY_COLUMNS = (
    " The same is found once each released column is shuffled by itself. So single columns hold numbers or dates of "
    "people of the original as they are, and no more of one person together than chance gives. Round them, or make new "
    "ones."
)
CAUGHT = (
    "This test would have caught {} people or more in 4 of 5 cases, if released rows are nearer to them than to "
    "everybody else."
)


NOT_APPLICABLE = (
    "The near-copy rule is not applicable: {} people have a released row that is nearer to them than to everybody "
    "else. Even if all of them were copied, the test could not fail with this control."
)


def _plain(found: NearCopies, flags: list[str]) -> str:
    if not found.asked:
        return NOT_APPLICABLE.format(f"fewer than {SIZES[0]}")
    told = (
        f"The test looks at the {found.asked} people who are closest to single released rows. "
        f"{100 * found.members / found.asked:.0f} % of them are people of the original. "
        f"Chance would give about {100 * found.share:.0f} %."
    )
    if "near_copies" in flags:
        return f"{told} The release holds rows of single people of the original, slightly changed."
    if "near_copies_suspected" in flags and found.lone >= FEWEST_LONE:
        return f"{told} Some released rows agree with single people in more columns than chance would give anybody."
    if "near_copies_suspected" in flags and found.p_value < NEAR_P:
        return told + BY_COLUMNS
    if "near_copies_suspected" in flags:
        return f"{told} Some released rows are nearer to single people than rows of fresh people would be."
    if found.least_p >= NEAR_P:
        return NOT_APPLICABLE.format("too few")
    chance = f"Chance gives as many in {100 * found.p_value:.0f} % of cases, so this" if found.p_value < 1 else "This"
    told = f"{told} {chance} is no sign that people were copied with small changes."
    return told if found.caught is None else f"{told} {CAUGHT.format(found.caught)}"
