"""Whose membership shows: groups of people beside each other, and how many records are recognised time and again."""

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
from testbed.findings.schema import four_digits
from testbed.harness.cells import Judged, unmeasured

SHARE, NEIGHBOUR = 0.05, 5
GROUP_FPR = 0.1
FALSE_ALARM = 0.05
OFTEN = 0.5
TOSSES = 5
OUTLIERS = "outliers"
MOST_CLASSES = 20
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
    """The deciding attack's answers once more, by class and for outliers, at one threshold for all.

    The threshold is where a tenth of all controls are accused. Groups of fewer than `min_cell` people on either side
    say nothing; where that is one class alone, neither does the smallest other, from which it could be worked out.
    p-values are Holm-adjusted over the groups; the findings inform. The number of guesses is divided by `design`, a
    design effect of the scores.
    """
    groups = _groups(pooled, used, described)
    hidden = _hidden(groups, pooled, used, min_cell)
    true = evidence.where(evidence.view == "true")
    accused = statistics.accuser(GROUP_FPR, true.score[true.group == "unused"])
    judged: list[Judged] = []
    chances: list[float] = []
    for number, (name, mine) in enumerate(groups.items(), 1):
        plan = Plan(rule=numbered(OFTEN_PLAN.rule, number), risk="membership", attack=attack, target=name)
        if name in hidden:
            judged.append(unmeasured(plan, Unavailable("small_group", f"{min_cell} or more people on either side")))
            continue
        rows = true.where(mine[true.item.astype(int)])
        rows = _judged(rows, accused(rows.score))
        rates = [statistics.proportion(c.success, c.cluster) for c in (rows.cell("true", g) for g in GROUPS)]
        rates = [statistics.widened(r, design) for r in rates] if design > 1 else rates
        chances.append(statistics.exceedance_p(rates[0], rates[1]))
        judged.append(Judged(plan, findings_.rates(plan, rows, design=design), rows))
    adjusted = map(four_digits, statistics.holm(np.array(chances)).tolist()) if chances else iter(())
    return [
        replace(one, finding=one.finding.model_copy(update={"adjusted_p": next(adjusted)})) if one.evidence else one
        for one in judged
    ]


def _hidden(groups: dict[str, Array], pooled: Cohort, used: Array, min_cell: int) -> set[str]:
    """Groups too small to be shown, and the class by whose size a single hidden one would be known."""
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
    """By name, who of the pooled people (n,) bool is in each group; none by class where there is one class alone."""
    classes = np.unique(pooled.y)
    made: dict[str, Array] = {}
    if 1 < len(classes) <= MOST_CLASSES:
        made = {f"class {i} of {len(classes)}": pooled.y == c for i, c in enumerate(classes.tolist(), 1)}
    if described and used.sum() > NEIGHBOUR:
        distance = _neighbour(pooled, used)
        far = distance >= np.quantile(distance, 1 - SHARE)
        if far.mean() <= 2 * SHARE:  # else most are equally far, and nobody stands out
            made[OUTLIERS] = far
    return made


def _neighbour(pooled: Cohort, used: Array) -> Array:
    """How far each record (n,) is from the fifth nearest record of other people in the training data."""
    x = StandardScaler().fit_transform(pooled.x.reshape(len(pooled), -1))
    theirs = pooled.persons[used]
    most = int(np.unique(theirs, return_counts=True)[1].max())
    wanted = min(NEIGHBOUR + most, len(theirs))
    far, who = NearestNeighbors(n_neighbors=wanted).fit(x[used]).kneighbors(x)
    far = np.sort(np.where(theirs[who] == pooled.persons[:, None], np.inf, far), axis=1)
    return far[:, min(NEIGHBOUR, wanted) - 1]


def risk(made: Shadows) -> Array:
    """The share (n,) of the shadows trained with each record by which it is recognised.

    Each shadow in turn is the model under attack, and the others say what its confidence would be without the record
    and with it (LiRA's normal likelihoods, one variance for all). It is recognised where it scores so high that of the
    records that this shadow was not trained with one in twenty does.
    """
    floor = finest(made.shadow)
    said, included = confidence(made.shadow, floor), made.included
    recognised = np.zeros(said.shape)
    for k in range(len(said)):
        rest = np.arange(len(said)) != k
        levels = [_level(said[rest], mask[rest]) for mask in (included, ~included)]
        (mean_in, spread_in), (mean_out, spread_out) = levels
        score = -0.5 * ((said[k] - mean_in) / spread_in) ** 2 + 0.5 * ((said[k] - mean_out) / spread_out) ** 2
        recognised[k] = statistics.accuser(FALSE_ALARM, score[~included[k]])(score)
    values = np.empty(len(made.order))
    values[made.order] = (recognised * included).sum(0) / included.sum(0)
    return values


def by_coins(made: Shadows, persons: Array, rng: np.random.Generator) -> Shadows:
    """The same answers, had a coin for each person and pair of shadows decided which of the two holds the record.

    What recurs by chance, or because a record is unlike others, recurs there as well; what models keep does not.
    """
    person = np.unique(persons[made.order], return_inverse=True)[1]
    coins = rng.random((len(made.included) // 2, person.max() + 1)) < 0.5
    return replace(made, included=made.included ^ np.repeat(coins, 2, axis=0)[:, person])


def _level(said: Array, chosen: Array) -> tuple[Array, float]:
    """Each record's mean over the models chosen, and one standard deviation about these for all records."""
    count = np.maximum(chosen.sum(0), 1)
    mean = (said * chosen).sum(0) / count
    squares = ((said - mean) ** 2 * chosen).sum()
    return mean, float(np.sqrt(max(squares / max((count - 1).sum(), 1), 1e-12)))


def records_at_risk(made: Shadows, pooled: Cohort, used: Array, seed: int = 0) -> Judged:
    """How many training records are recognised by half or more of the models that are trained with them; informs.

    The control says how many are where coins decide which models count as trained with them, the mean over five tosses.
    """
    persons = np.unique(pooled.persons[used], return_inverse=True)[1]
    own = risk(made)[used]
    tossed = [risk(by_coins(made, pooled.persons, keyed_rng(seed, "coins", i)))[used] for i in range(TOSSES)]
    often = [(own >= OFTEN).astype(float), np.mean([t >= OFTEN for t in tossed], axis=0)]
    cells = [
        Evidence.rows("true", group, score=score, success=success, cluster=persons)
        for group, score, success in zip(("used", "unused"), (own, np.mean(tossed, axis=0)), often, strict=True)
    ]
    share, control = (statistics.proportion(c.success, persons) for c in cells)
    said, chance = (findings_.percent(findings_.estimate("rate", v, "record")) for v in (share, control))
    plain = (
        f"{said} of training records are recognised by half or more of the models that such training makes of them, "
        f"at {FALSE_ALARM:.0%} false alarms; where coins decide which models count as made of them, {chance} are."
    )
    return Judged(OFTEN_PLAN, findings_.diagnostic(OFTEN_PLAN, share, control, plain), Evidence.join(*cells))
