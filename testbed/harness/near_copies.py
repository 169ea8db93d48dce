"""Does the release hold rows that are single people of the original, slightly moved? The near-copy rule, which decides.

The copy rule's sister, seen from the released row's side: a release may hold few people, or people who were moved. Each
released row is searched among all real people, of the original and of the control together. A person's score is how
much nearer some released row comes to them than to the second nearest person, where each column counts by the square
root of its distance, so that one changed cell hides nobody. The search knows nobody's group, so where
nothing leaks the people with the highest scores are members as often as chance draws them: an exact test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed import findings as findings_
from testbed import stats
from testbed.attacks.kit import keyed_rng
from testbed.attacks.release.neighbours import nearest
from testbed.attacks.release.scale import Scale
from testbed.core import Array, Table
from testbed.findings import Plan
from testbed.harness.coincidences import persons_apart
from testbed.harness.targets import Setting
from testbed.matching import row_keys
from testbed.report.schema import Finding, Validity
from testbed.stats import Interval

NEAR_P, SUSPECT_P, CONTROL_P = 0.001, 0.01, 1e-4
"""Below the first the rule fails a release, below the second a person must look; the third is asked of the control."""
SIZES = sorted(first * 2**i for i in range(40) for first in (10, 15))
"""The rule looks at so many people with the highest scores: 10, 15, 20, 30, 40, 60, ... Of equal groups, 15 members of
15 are chance in one of 32,768 releases."""
PAIRS = 1_000_000_000
"""Pairs of rows that are compared at most; of larger tables so many released rows are drawn."""
MOST_NEIGHBOURS = 16
"""Rows of one person that are passed over at most in the search for the second nearest person."""
SAME = 1e-6
"""A distance that is as good as none, in widths of a column."""
ORDINARY = 5000
"""Real people who are searched among the others, to see how near one fresh person comes to another."""
EXTREME = 0.995
"""The share of real people whose score is lower than one that counts as extreme."""


@dataclass(frozen=True, slots=True)
class NearCopies:
    """Of the `asked` people with the highest scores, `members` were used; `p_value` is exact, for all sizes together.

    `control_p` is that of the question whether released rows lie next to people of the control as real people would.
    """

    asked: int
    members: int
    share: float
    """The members' share of all people, which chance would give."""
    p_value: float
    control_p: float


def near_copies(release: Table, members: Table, controls: Table, seed: int) -> NearCopies:
    """The near-copy rule's test. Rows of one person count as that person; ties are settled by what rows say."""
    pool, person = _together(members, controls)
    used = np.zeros(person.max() + 1, dtype=bool)
    used[person[: len(members)]] = True
    rng = keyed_rng(seed, "near copies")
    most = max(1, PAIRS // len(pool))
    asked = _drawn(release, most, seed)
    scale = Scale.of(release)
    whose, score = _nearer(asked, pool, person, scale, seed)
    best = np.full(len(used), -np.inf)
    np.maximum.at(best, whose, score)
    best[best <= 0] = -np.inf
    tie = np.zeros(len(used), np.uint64)
    np.maximum.at(tie, person, row_keys(pool, seed))
    order = np.lexsort((tie, -best))
    order = order[np.isfinite(best[order])]
    top, inside, p = _tops(used[order], int(used.sum()), len(used))
    control_p = _contaminated(whose, score, used, pool, person, scale, rng, most, seed)
    return NearCopies(top, inside, float(used.mean()), p, control_p)


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


def _nearer(
    asked: Table, pool: Table, person: Array, scale: Scale, seed: int, apart: Array | None = None
) -> tuple[Array, Array]:
    """The person nearest to each row (n,), and how many times nearer than the next one (n,), as a logarithm.

    `apart` (n,) names for each row a person who is passed over: the one whose row it is.
    """
    rows = int(np.bincount(person).max())
    k = min(len(pool), MOST_NEIGHBOURS, rows + 1 if apart is None else 2 * rows + 1)
    found, distance, _ = nearest(asked, pool, scale, seed, k, root=True)
    who = person[found]
    if apart is not None:
        distance = np.where(who == apart[:, None], np.inf, distance)
        by_distance = np.argsort(distance, axis=1, kind="stable")
        who, distance = (np.take_along_axis(a, by_distance, 1) for a in (who, distance))
    others = np.where(who == who[:, :1], np.inf, distance)
    second = others.min(1)
    # Where all that were found are one person's, the next person is at least as far as the last of them.
    last = np.where(np.isfinite(distance), distance, -np.inf).max(1)
    second = np.where(np.isfinite(second), second, last)
    first = np.where(np.isfinite(distance[:, 0]), distance[:, 0], second)
    return who[:, 0], np.log(second + SAME) - np.log(first + SAME)


def _tops(used: Array, members: int, people: int) -> tuple[int, int, float]:
    """Of people in the order of their scores: how many are looked at, how many of these are members, and the p-value.

    Several sizes are looked at, and the smallest p-value counts, times their number.
    """
    sizes = [n for n in SIZES if n <= len(used)]
    if not sizes:
        return 0, 0, 1.0
    tried = [
        (stats.labels_by_chance(int(used[:n].sum()), n, members, people - members), n, int(used[:n].sum()))
        for n in sizes
    ]
    p, n, inside = min(tried)
    return n, inside, min(1.0, len(sizes) * p)


def _contaminated(
    whose: Array,
    score: Array,
    used: Array,
    pool: Table,
    person: Array,
    scale: Scale,
    rng: np.random.Generator,
    most: int,
    seed: int,
) -> float:
    """P that released rows lie this near to single people of the control, if they were fresh people (Fisher's test).

    Real people, each searched among the others, say how near one fresh person comes to the next.
    """
    rows = np.sort(rng.permutation(len(pool))[: min(ORDINARY, most)])
    nearest_other, ordinary = _nearer(pool.take(rows), pool, person, scale, seed, person[rows])
    extreme = np.quantile(ordinary, EXTREME)
    # Rows next to one person, of which a generator may make many, count once.
    released = len(np.unique(whose[(score > extreme) & ~used[whose]]))
    expected = len(np.unique(nearest_other[(ordinary > extreme) & ~used[nearest_other]]))
    return stats.labels_by_chance(released, released + expected, len(score), len(ordinary))


# --- the finding ------------------------------------------------------------------------------------------


PLAN = Plan("TB-COPYING-005", "copying", "near_copies", "rate", "person")
CONTAMINATED = "control_in_release"


def near_copied(setting: Setting) -> Finding:
    """The near-copy rule's finding: members' share of the people with the highest scores, beside their share of all."""
    setting.progress("near copies")
    if setting.controls is None:
        return findings_.unmeasured(PLAN, findings_.NO_CONTROL)
    found = near_copies(setting.release.table, setting.members, setting.controls, setting.seed)
    flags = ["near_copies"] if found.p_value < NEAR_P else []
    flags += ["near_copies_suspected"] if NEAR_P <= found.p_value < SUSPECT_P else []
    flags += [CONTAMINATED] if found.control_p < CONTROL_P else []
    finding = findings_.unmeasured(PLAN, findings_.NOT_APPLICABLE, found.asked, found.asked)
    update: dict[str, object] = {"validity": Validity(ok=not flags, flags=flags), "plain": _plain(found, flags)}
    if found.asked:
        measure = stats.wilson(found.members, found.asked)
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
    if "near_copies_suspected" in flags:
        return f"{told} That is rare by chance: a few released rows may be single people, slightly changed."
    return f"{told} That is no sign of people who were copied with small changes."
