"""Whose membership shows: groups of people beside each other, and how many records are recognised time and again."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from testbed import findings as findings_
from testbed import stats
from testbed.attacks.released.shadow_models import Shadows, confidence, finest
from testbed.core import Array, Cohort, Evidence
from testbed.findings import Plan
from testbed.report.gate import MIN_CELL
from testbed.report.schema import Finding, Unmeasured

SHARE, NEIGHBOUR = 0.05, 5
GROUP_FPR = 0.1
FALSE_ALARM = 0.05
OFTEN = 0.5
MOST_CLASSES = 20
OFTEN_PLAN = Plan("TB-MEMBERSHIP-840", "membership", "records_at_risk", "rate", "record", False)


def by_group(
    attack: str, evidence: Evidence, pooled: Cohort, used: Array, described: bool
) -> tuple[list[Finding], dict[str, Evidence]]:
    """The deciding attack's answers once more, by class and for outliers, at one threshold for all.

    The threshold is where a tenth of all controls are accused. Groups of fewer than ten people on either side say
    nothing. p-values are Holm-adjusted over the groups; the findings inform.
    """
    groups = _groups(pooled, used, described)
    true = evidence.where(evidence.view == "true")
    accused = stats.accuser(GROUP_FPR, true.score[true.group == "unused"])
    found: list[Finding] = []
    kept: dict[str, Evidence] = {}
    chances: list[float] = []
    for number, (name, mine) in enumerate(groups.items(), 1):
        plan = Plan(f"TB-MEMBERSHIP-{840 + number}", "membership", attack, "rate", "record", False, {}, name)
        rows = true.where(mine[true.item.astype(int)])
        rows = _judged(rows, accused(rows.score))
        cells = [rows.cell("true", g) for g in ("used", "unused")]
        if min(len(np.unique(c.cluster)) for c in cells) < MIN_CELL:
            why = Unmeasured(unmeasured="small_group", needs=f"{MIN_CELL} or more people of the group on either side")
            found.append(findings_.unmeasured(plan, why))
            continue
        kept[plan.rule] = rows
        rates = [stats.proportion(c.success, c.cluster) for c in cells]
        chances.append(stats.exceedance_p(rates[0], rates[1]))
        found.append(findings_.rates(plan, rows))
    adjusted = iter(stats.holm(np.array(chances)).tolist()) if chances else iter(())
    return [f.model_copy(update={"adjusted_p": next(adjusted)}) if f.rule in kept else f for f in found], kept


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
        x = StandardScaler().fit_transform(pooled.x.reshape(len(pooled), -1))
        far, _ = NearestNeighbors(n_neighbors=NEIGHBOUR + 1).fit(x[used]).kneighbors(x)
        # A member's own row is among its neighbours.
        distance = np.where(used, far[:, NEIGHBOUR], far[:, NEIGHBOUR - 1])
        made["outliers"] = distance >= np.quantile(distance, 1 - SHARE)
    return made


def risk(made: Shadows) -> tuple[Array, Array]:
    """The share of the shadows trained with each record by which it is recognised (n,), and of those trained without.

    Each shadow in turn is the model under attack, and the others say what its confidence would be without the record
    and with it (LiRA's normal likelihoods, one variance for all). It is recognised where it scores so high that of the
    records that this shadow was not trained with one in twenty does. That holds for all records together and not for
    each: one that is unlike all others may be accused time and again wherever it was not.
    """
    floor = finest(made.shadow)
    said, included = confidence(made.shadow, floor), made.included
    recognised = np.zeros(said.shape)
    for k in range(len(said)):
        rest = np.arange(len(said)) != k
        levels = [_level(said[rest], mask[rest]) for mask in (included, ~included)]
        (mean_in, spread_in), (mean_out, spread_out) = levels
        score = -0.5 * ((said[k] - mean_in) / spread_in) ** 2 + 0.5 * ((said[k] - mean_out) / spread_out) ** 2
        recognised[k] = stats.accuser(FALSE_ALARM, score[~included[k]])(score)
    values = np.empty((2, len(made.order)))
    for row, mask in zip(values, (included, ~included), strict=True):
        row[made.order] = (recognised * mask).sum(0) / mask.sum(0)
    return values[0], values[1]


def _level(said: Array, chosen: Array) -> tuple[Array, float]:
    """Each record's mean over the models chosen, and one standard deviation about these for all records."""
    count = np.maximum(chosen.sum(0), 1)
    mean = (said * chosen).sum(0) / count
    squares = ((said - mean) ** 2 * chosen).sum()
    return mean, float(np.sqrt(max(squares / max((count - 1).sum(), 1), 1e-12)))


def records_at_risk(made: Shadows, pooled: Cohort, used: Array) -> tuple[Finding, dict[str, Evidence]]:
    """How many training records are recognised by half or more of the models that are trained with them; informs.

    The control is how many of the same records are accused by half or more of the models trained without them.
    """
    persons = np.unique(pooled.persons[used], return_inverse=True)[1]
    values = [v[used] for v in risk(made)]
    cells = [
        Evidence.rows("true", group, score=v, success=(v >= OFTEN).astype(float), cluster=persons)
        for group, v in zip(("used", "unused"), values, strict=True)
    ]
    share, control = (stats.proportion(c.success, persons) for c in cells)
    said, wrongly = (findings_.percent(findings_.estimate("rate", v, "record")) for v in (share, control))
    plain = (
        f"{said} of training records are recognised by half or more of the models that such training makes of them, "
        f"at {FALSE_ALARM:.0%} false alarms; {wrongly} are accused as often by models that were made without them."
    )
    finding = findings_.diagnostic(OFTEN_PLAN, share, control, plain)
    return finding, {OFTEN_PLAN.rule: Evidence.join(*cells)}
