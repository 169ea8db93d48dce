"""Whose membership is exposed: findings by group of people, and the share of records that most models expose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from testbed.attacks.model.shadows import Shadows, confidence, finest
from testbed.core import Array, Cohort, Evidence, Group, Unavailable
from testbed.core.disclosure import MIN_CELL
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan, numbered
from testbed.findings.schema import Estimate, Finding, Measure, four_digits
from testbed.findings.wording import plain_words
from testbed.harness.cells import Judged, unmeasured
from testbed.harness.model.persons import mostly, several_rows

SHARE, NEIGHBOUR = 0.05, 5
"""Share of people who count as outliers, and the nearest neighbour whose distance decides."""
GROUP_FPR = 0.1
"""False-positive rate of the threshold for findings by group."""
FALSE_ALARM = 0.05
"""False-positive rate at which a shadow model recognises a record."""
OFTEN = 0.5
"""Share of the models trained with a record that must recognise it, for the record to be at risk."""
TOSSES = 5
"""Repetitions of the control, in which coins decide which models count as trained with a record."""
OUTLIERS = "outliers"
MOST_CLASSES = 20
"""Classes up to which each one is a group."""
GROUPS: tuple[Group, Group] = ("used", "unused")
OFTEN_PLAN = Plan(
    rule="TB-MEMBERSHIP-840", risk="membership", attack="records_at_risk", metric="rate", unit="record", primary=False
)


def by_group(
    attack: str,
    evidence: Evidence,
    pooled: Cohort,
    used: Array,
    described: bool,
    min_cell: int = MIN_CELL,
    design: float = 1.0,
) -> list[Judged]:
    """Findings of the deciding attack for each class and for outliers, at the same threshold. They inform.

    The threshold accuses a tenth of all controls. A group with fewer than `min_cell` members or controls is not shown.
    If only one class is too small, the smallest other class is not shown either, because the hidden one could be
    computed from it. p-values are Holm-adjusted over the groups. The number of guesses is divided by `design`, a design
    effect of the scores.
    """
    groups = _groups(pooled, used, described)
    several = several_rows(pooled)
    groups = {name: mostly(mine, pooled.persons) for name, mine in groups.items()} if several else groups
    hidden = _hidden(groups, pooled, used, min_cell)
    true = evidence.where(evidence.view == "true")
    accused = statistics.accuser(GROUP_FPR, true.score[true.group == "unused"])
    judged: list[Judged] = []
    chances: list[float] = []
    for number, (name, mine) in enumerate(groups.items(), 1):
        plan = Plan(
            rule=numbered(OFTEN_PLAN.rule, number),
            risk="membership",
            attack=attack,
            target=name,
            unit="person" if several else "record",
        )
        if name in hidden:
            needs = f"{min_cell} or more members, and as many controls, in this group"
            judged.append(unmeasured(plan, Unavailable("small_group", needs)))
            continue
        rows = true.where(mine[true.item.astype(int)])
        rows = _judged(rows, accused(rows.score))
        rates = [statistics.proportion(c.success, c.cluster) for c in (rows.cell("true", g) for g in GROUPS)]
        rates = [statistics.widened(r, design) for r in rates] if design > 1 else rates
        chances.append(statistics.exceedance_p(rates[0], rates[1]))
        judged.append(Judged(plan, _at_rate(findings_.rates(plan, rows, design=design)), rows))
    adjusted = map(four_digits, statistics.holm(np.array(chances)).tolist()) if chances else iter(())
    return [
        replace(one, finding=one.finding.model_copy(update={"adjusted_p": next(adjusted)})) if one.evidence else one
        for one in judged
    ]


def _at_rate(finding: Finding) -> Finding:
    """The finding, whose sentence says at which false-positive rate groups are looked at."""
    if not isinstance(finding.measure, Estimate):
        return finding
    measure = finding.measure.model_copy(update={"fpr": GROUP_FPR})
    cells: dict[str, Measure] = {"measure": measure, "control": finding.control}
    plain = plain_words(finding.risk, finding.target, cells, finding.excess)
    return finding.model_copy(update={"plain": plain})


def _hidden(groups: dict[str, Array], pooled: Cohort, used: Array, min_cell: int) -> set[str]:
    """Names of the groups that are too small to show. A single hidden class hides the smallest other class too."""
    people = {
        name: min(len(np.unique(pooled.persons[mine & side])) for side in (used, ~used))
        for name, mine in groups.items()
    }
    small = {name for name, n in people.items() if n < min_cell}
    classes = sorted((name for name in groups if name != OUTLIERS), key=lambda name: people[name])
    if len(small & set(classes)) == 1:
        small |= set(classes[:2])
    return small


def _judged(rows: Evidence, success: Array) -> Evidence:
    return Evidence(
        rows.view, rows.group, rows.item, rows.cluster, rows.score, success.astype(float), len(rows), len(rows)
    )


def _groups(pooled: Cohort, used: Array, described: bool) -> dict[str, Array]:
    """Which of the pooled people (n,) bool are in each group, by name. A single class is no group."""
    classes = np.unique(pooled.y)
    made: dict[str, Array] = {}
    if 1 < len(classes) <= MOST_CLASSES:
        made = {f"class {i} of {len(classes)}": pooled.y == c for i, c in enumerate(classes.tolist(), 1)}
    if described and used.sum() > NEIGHBOUR:
        distance = _neighbour(pooled, used)
        far = distance >= np.quantile(distance, 1 - SHARE)
        if far.mean() <= 2 * SHARE:  # else many are equally far away, and nobody stands out
            made[OUTLIERS] = far
    return made


def _neighbour(pooled: Cohort, used: Array) -> Array:
    """The distance (n,) of each record to the fifth nearest record of other people in the training data."""
    x = StandardScaler().fit_transform(pooled.x.reshape(len(pooled), -1))
    theirs = pooled.persons[used]
    most = int(np.unique(theirs, return_counts=True)[1].max())
    wanted = min(NEIGHBOUR + most, len(theirs))
    far, who = NearestNeighbors(n_neighbors=wanted).fit(x[used]).kneighbors(x)
    far = np.sort(np.where(theirs[who] == pooled.persons[:, None], np.inf, far), axis=1)
    return far[:, min(NEIGHBOUR, wanted) - 1]


def risk(made: Shadows, persons: Array | None = None) -> Array:
    """The share (n,) of the shadow models trained with a record that recognise it.

    Records of one of the `persons` (n,) are recognised together, by the mean of their scores.

    Each shadow model in turn is attacked. The others show how confident a model is with and without the record
    (LiRA's normal likelihoods, with one variance for all records). A model recognises a record if the record's score
    is above the threshold that only one in twenty records reaches which were not in its training data.
    """
    floor = finest(made.shadow)
    said, included = confidence(made.shadow, floor), made.included
    recognised = np.zeros(said.shape)
    person = None if persons is None else np.unique(persons[made.order], return_inverse=True)[1]
    first = None if person is None else np.unique(person, return_index=True)[1]
    for k in range(len(said)):
        rest = np.arange(len(said)) != k
        levels = [_level(said[rest], mask[rest]) for mask in (included, ~included)]
        (mean_in, spread_in), (mean_out, spread_out) = levels
        score = -0.5 * ((said[k] - mean_in) / spread_in) ** 2 + 0.5 * ((said[k] - mean_out) / spread_out) ** 2
        if person is None or first is None:
            recognised[k] = statistics.accuser(FALSE_ALARM, score[~included[k]])(score)
            continue
        score = np.bincount(person, score) / np.bincount(person)
        recognised[k] = statistics.accuser(FALSE_ALARM, score[~included[k][first]])(score)[person]
    values = np.empty(len(made.order))
    values[made.order] = (recognised * included).sum(0) / included.sum(0)
    return values


def by_coins(made: Shadows, persons: Array, rng: np.random.Generator) -> Shadows:
    """The same answers, but a coin decides for each person and pair of shadow models which of the two held the records.

    A record that is recognised by chance, or because it is unlike others, is recognised here too. A record that models
    memorise is not.
    """
    person = np.unique(persons[made.order], return_inverse=True)[1]
    coins = rng.random((len(made.included) // 2, person.max() + 1)) < 0.5
    return replace(made, included=made.included ^ np.repeat(coins, 2, axis=0)[:, person])


def _level(said: Array, chosen: Array) -> tuple[Array, float]:
    """Each record's mean over the models chosen, and one standard deviation around these means for all records."""
    count = np.maximum(chosen.sum(0), 1)
    mean = (said * chosen).sum(0) / count
    squares = ((said - mean) ** 2 * chosen).sum()
    return mean, float(np.sqrt(max(squares / max((count - 1).sum(), 1), 1e-12)))


def records_at_risk(made: Shadows, pooled: Cohort, used: Array, seed: int = 0) -> Judged:
    """The share of training records that half or more of the models trained with them recognise. It informs.

    In the control, coins decide which models count as trained with a record. It is the mean over five repetitions.
    """
    whose = pooled.persons if several_rows(pooled) else None
    persons, place = np.unique(pooled.persons[used], return_inverse=True)[1], slice(None)
    if whose is not None:  # one row for each person
        place = np.unique(persons, return_index=True)[1]
        persons = persons[place]
    own = risk(made, whose)[used][place]
    coins = [by_coins(made, pooled.persons, keyed_rng(seed, "coins", i)) for i in range(TOSSES)]
    tossed = [risk(each, whose)[used][place] for each in coins]
    often = [(own >= OFTEN).astype(float), np.mean([t >= OFTEN for t in tossed], axis=0)]
    cells = [
        Evidence.rows("true", group, score=score, success=success, cluster=persons)
        for group, score, success in zip(("used", "unused"), (own, np.mean(tossed, axis=0)), often, strict=True)
    ]
    share, control = (statistics.proportion(c.success, persons) for c in cells)
    plan = OFTEN_PLAN if whose is None else replace(OFTEN_PLAN, unit="person")
    said, chance = (findings_.percent(findings_.estimate("rate", v, plan.unit)) for v in (share, control))
    plain = (
        f"Among models of this kind that were trained again on half of these people: an attacker with "
        f"{100 * FALSE_ALARM:g} false alarms in 100 recognises {said} of the members in half or more of the models "
        f"trained with them. If coins decide which models count as trained with them, it is {chance}."
    )
    return Judged(plan, findings_.diagnostic(plan, share, control, plain), Evidence.join(*cells))
