"""Does the release hold rows that are single people of the original, slightly moved? The near-copy rule, which decides.

The copy rule's sister, seen from the released row's side: a release may hold few people, or people who were moved. Each
released row is searched among all real people, of the original and of the control together. A person's score is how
much nearer some released row comes to them than to the second nearest person, where each column counts by the square
root of its distance, so that one changed cell hides nobody. The search knows nobody's group, so where nothing leaks the
people with the highest scores are members as often as chance draws them: an exact test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.core import Array, Table
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.rows import row_keys
from testbed.core.tables.scale import Scale
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Validity
from testbed.findings.statistics import Interval
from testbed.harness.release.coincidences import ALLOWED, chance_of_agreement, persons_apart
from testbed.harness.release.setting import Setting

NEAR_P, SUSPECT_P, EXTREME_P = 0.001, 0.01, 1e-4
"""Below the first the rule fails a release, below the second a person must look; the third is that of rows nearer to
single people than fresh people would come."""
RARER = 1e-3
"""By so much must the chance of an agreement be smaller than the smallest that two real people show."""
FEWEST_LONE = 5
"""People with whom single rows agree beyond chance; a few may be patients who are registered twice. Fresh people of
framingham had three or four in 3 of 200 draws, and never five."""
SIZES = sorted(first * 2**i for i in range(40) for first in (10, 15))
"""The rule looks at so many people with the highest scores: 10, 15, 20, 30, 40, 60, ... Of equal groups, 15 members of
15 are chance in one of 32,768 releases."""
EXPECTED_CONTROLS = 30
"""Up to so many controls are expected among those looked at. Where two groups are of one size that is 60 people: a
release that leans to its members by a little, as all that learn do, is a matter of membership and its limit."""
PAIRS = 600_000_000
"""Pairs of rows that are compared at most; of larger tables so many released rows are drawn."""
MOST_NEIGHBOURS = 16
"""Rows of one person that are passed over at most in the search for the second nearest person."""
SAME = 1e-6
"""A distance that is as good as none, in widths of a column."""
ORDINARY = 5000
"""Real people who are searched among the others, to see how near one fresh person comes to another."""
EXTREME = (0.995, 0.999)
"""The shares of real people whose score is lower than one that counts as extreme."""


@dataclass(frozen=True, slots=True)
class NearCopies:
    """`members` of the `asked` people with the highest scores were used; `p_value` is exact, for all sizes together.

    `member_p` and `control_p` are of the question whether released rows lie as near to single members, or to single
    people of the control, as fresh people would. `lone` members, and `lone_controls`, agree with a released row in more
    columns than chance would give anybody.
    """

    asked: int
    members: int
    share: float
    """The members' share of all people, which chance would give."""
    p_value: float
    least_p: float
    """The p-value if all who were looked at had been members."""
    member_p: float
    control_p: float
    lone: int
    lone_controls: int


@dataclass(frozen=True, slots=True)
class Search:
    """For each row searched: the pool's row that is nearest, that row's person, and the score (all (n,))."""

    row: Array
    whose: Array
    score: Array


def near_copies(release: Table, members: Table, controls: Table, seed: int) -> NearCopies:
    """The near-copy rule's test. Rows of one person count as that person; ties are settled by what rows say."""
    pool, person = _together(members, controls)
    used = np.zeros(person.max() + 1, dtype=bool)
    used[person[: len(members)]] = True
    most = max(1, PAIRS // len(pool))
    asked = _drawn(release, most, seed)
    scale = Scale.of(release)
    released = _nearer(asked, pool, person, scale, seed)
    best = np.full(len(used), -np.inf)
    np.maximum.at(best, released.whose, released.score)
    best[best <= 0] = -np.inf
    tie = np.zeros(len(used), np.uint64)
    np.maximum.at(tie, person, row_keys(pool, seed))
    order = np.lexsort((tie, -best))
    order = order[np.isfinite(best[order])]
    top, inside, p, least = _tops(used[order], int(used.sum()), len(used))
    # Real people, each searched among the others, say how near one fresh person comes to another.
    rows = np.argsort(row_keys(pool, seed + 1), kind="stable")[: min(ORDINARY, most)]
    fresh = pool.take(rows)
    ordinary = _nearer(fresh, pool, person, scale, seed, person[rows])
    extreme = [_extreme_p(released, ordinary, group) for group in (used, ~used)]
    lone = _lone(asked, released, fresh, ordinary, pool, person, used)
    return NearCopies(top, inside, float(used.mean()), p, least, extreme[0], extreme[1], *lone)


def _together(members: Table, controls: Table) -> tuple[Table, Array]:
    """All real people in one table, and the number of the person behind each row."""
    person = persons_apart(members, controls)
    values = (np.concatenate(pair) for pair in zip(members.values, controls.values, strict=True))
    return Table(members.columns, tuple(values), person), person


def _drawn(release: Table, most: int, seed: int) -> Table:
    """At most so many released rows, drawn by what they say, so that their order plays no part."""
    if len(release) <= most:
        return release
    return release.take(np.argsort(row_keys(release, seed), kind="stable")[:most])


def _nearer(asked: Table, pool: Table, person: Array, scale: Scale, seed: int, apart: Array | None = None) -> Search:
    """The person nearest to each row, and how many times nearer than the next one, as a logarithm.

    `apart` (n,) names for each row a person who is passed over: the one whose row it is.
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
    # Where all that were found are one person's, the next person is at least as far as the last of them.
    second = np.where(np.isfinite(second), second, np.where(known, distance, 0.0).max(1))
    first = np.where(known[:, 0], distance[:, 0], second)
    return Search(found[:, 0], who[:, 0], np.log(second + SAME) - np.log(first + SAME))


def _tops(used: Array, members: int, people: int) -> tuple[int, int, float, float]:
    """How many people with the highest scores are looked at, how many of these are members, and the p-value.

    Several sizes are looked at, and the smallest p-value counts, times their number. The last is the smallest p-value
    that was possible.
    """
    most = min(len(used), EXPECTED_CONTROLS * people / max(1, people - members))
    sizes = [n for n in SIZES if n <= most]
    if not sizes:
        return 0, 0, 1.0, 1.0

    def chance(inside: int, n: int) -> float:
        return min(1.0, len(sizes) * statistics.labels_by_chance(inside, n, members, people - members))

    p, n, inside = min((chance(int(used[:n].sum()), n), n, int(used[:n].sum())) for n in sizes)
    return n, inside, p, min(chance(min(n, members), n) for n in sizes)


def _extreme_p(released: Search, ordinary: Search, group: Array) -> float:
    """P that released rows lie this near to single people of a group, if they were fresh people (Fisher's test).

    Extreme is a score that few real people reach among the others; for several such shares the smallest p-value counts,
    times their number. Rows next to one person, of which a generator may make many, count once.
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
    """Members, and controls, with whom a released row agrees in more columns than chance would give anybody.

    That is far more than any two real people agree, who may be families or registered twice.
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
    """The near-copy rule's finding: members' share of the people with the highest scores, beside their share of all."""
    setting.progress("near copies")
    if setting.controls is None:
        return findings_.unmeasured(PLAN, findings_.NO_CONTROL)
    found = near_copies(setting.release.table, setting.members, setting.controls, setting.seed)
    flags = ["near_copies"] if found.p_value < NEAR_P else []
    suspected = found.p_value < SUSPECT_P or found.member_p < EXTREME_P or found.lone >= FEWEST_LONE
    flags += ["near_copies_suspected"] if suspected and not flags else []
    flags += [CONTAMINATED] if found.control_p < EXTREME_P or found.lone_controls >= FEWEST_LONE else []
    finding = findings_.unmeasured(PLAN, findings_.NOT_APPLICABLE, found.asked, found.asked)
    update: dict[str, object] = {"validity": Validity(ok=not flags, flags=flags), "plain": _plain(found, flags)}
    if found.asked:
        measure = statistics.wilson(found.members, found.asked)
        chance = Interval(found.share, found.share, found.share, 1.0, "closed form: members' share", found.asked)
        update["measure"] = findings_.estimate("rate", measure, "person")
        update["baseline"] = findings_.estimate("rate", chance, "person")
    return finding.model_copy(update=update)


def _plain(found: NearCopies, flags: list[str]) -> str:
    if not found.asked:
        return "No released row is nearer to one single person than to all others, so nobody is nearly copied."
    told = (
        f"Of the {found.asked} people to whom single released rows come nearest, "
        f"{100 * found.members / found.asked:.0f} % are people of the original; chance would give about "
        f"{100 * found.share:.0f} %."
    )
    if "near_copies" in flags:
        return f"{told} The release holds rows that are single people of the original, slightly changed."
    if "near_copies_suspected" in flags and found.lone >= FEWEST_LONE:
        return f"{told} Some released rows agree with single people in more columns than chance would give anybody."
    if "near_copies_suspected" in flags:
        return f"{told} Some released rows lie nearer to single people than fresh people would come."
    if found.least_p > NEAR_P or found.members == found.asked:
        return f"{told} These are too few people, or the control is too small, to tell copies from chance."
    return f"{told} That is no sign of people who were copied with small changes."
