"""What answers alone cannot tell: attackers who train such models, where no such models can be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from scipy.stats import norm

from testbed.attacks.registry import fitting
from testbed.core import Evidence, Scores, Unavailable
from testbed.findings import measures, statistics
from testbed.findings.schema import Estimate
from testbed.harness.cells import Judged, planned, unmeasured
from testbed.harness.model.deciding import UNRUN
from testbed.harness.model.model_audit import ModelAudit
from testbed.harness.model.plans import reads

SHARPER = 4.0
"""How many times as far apart an attacker with shadow models may see members and others, as attackers on answers do.

In standard deviations (d'). Such an attacker knows how difficult each record is, so differences between records no
longer hide differences between members and others. docs/models.md shows what was measured."""
LOSS = "prediction_loss"
"""The attack on answers that needs no choice. Beside it, the one that decides is looked at."""
PREDICTIONS = "answers of such models that were trained elsewhere (--shadow-predictions, docs/models.md)"
RECIPE = (
    "a model that can be trained again: an estimator as joblib or pickle (derive your own class from scikit-learn's "
    "BaseEstimator), a torch module with --epochs, or --predictions with --shadow-predictions"
)


def strongest(audit: ModelAudit) -> Iterator[Judged]:
    """An unmeasured finding for each attack that could have decided if such models could be trained."""
    for attack in fitting("model", audit.threat.knows | {"recipe"}):
        trains = attack.decides and attack.claim is Scores and "recipe" in attack.needs
        if trains and reads(attack, audit.subject.model):
            needs = RECIPE if audit.subject.described else PREDICTIONS
            yield unmeasured(planned(attack.name), Unavailable("no_shadow_models", needs))


def bounded(decided: Judged, others: Sequence[Judged], audit: ModelAudit) -> Judged:
    """The deciding finding with what it says about attackers who train such models.

    It is flagged, so that it never passes, if such attackers could be above the policy's limit: the answers then do
    not decide. A table without true labels hides whether the model is right, so it never decides.
    """
    limit, excess = audit.options.limit, decided.finding.excess
    if decided.evidence is None or limit is None or (isinstance(excess, Estimate) and excess.low > limit):
        return decided
    fpr = measures.false_positive_rate(_controls(decided.evidence))
    losses = (one.evidence for one in others if one.plan.attack == LOSS and one.evidence is not None)
    most = max(reach(rows, fpr) for rows in (decided.evidence, *losses))
    open_ = most >= limit or "labels" in audit.subject.notes
    text = (
        " Attackers who train such models themselves were not tried. The answers "
        + ("do not rule out" if open_ else "make it unlikely")
        + f" that they are above the limit: seen {SHARPER:g} times as clearly, members would be recognised up to "
        f"{100 * most:.1f} points more often than other people."
    )
    finding = decided.finding.model_copy(update={"plain": decided.finding.plain + text})
    return replace(decided, finding=measures.flagged(finding, UNRUN) if open_ else finding)


def _controls(evidence: Evidence) -> int:
    return len(set(evidence.cell("true", "unused").cluster.tolist()))


def reach(evidence: Evidence, fpr: float) -> float:
    """The excess at this false-positive rate of an attacker who sees the difference `SHARPER` times as clearly.

    From the bound of the AUC that is farther from one half, each with 95 % confidence; scores are taken as normal.
    """
    used, unused = (evidence.cell("true", g) for g in ("used", "unused"))
    area = statistics.auc(used.score, unused.score, level=0.9, clusters=(used.cluster, unused.cluster))
    apart = math.sqrt(2) * float(norm.ppf(min(max(area.high, 1 - area.low), 1.0)))
    return float(norm.sf(norm.isf(fpr) - SHARPER * apart)) - fpr
