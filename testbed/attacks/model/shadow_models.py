"""Membership in a released model, by an attacker who can train such models: LiRA, RMIA and related attacks."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.ensemble import HistGradientBoostingClassifier

from testbed.attacks.model.shadows import NEEDS, Shadows, confidence, finest
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Recipe, Records, Scores
from testbed.core.threads import one_thread


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-303",
    risk="membership",
    claim=Scores,
    needs=NEEDS,
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2112.03570",
    uses={"auxiliary"},
    decides=True,
    offline=True,
)
def lira(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
    online: bool = True,
    per_example: bool = False,
) -> Scores:
    """Score a record by how much more likely its confidence is under models trained with it (Carlini et al. 2022).

    Threat model: anybody who may ask the model for probabilities, holds the records asked about, and can train such
    models (`recipe`). The logit of the true class is assumed normal over models. With `online=False` only models
    without the record are used, and the score is the model's distance above their mean, in standard deviations. All
    records share one variance, which is better with few shadows; `per_example` gives each record its own. Raises
    `Unavailable` without a recipe.
    """
    made = Shadows.trained(view, question, auxiliary, rng, recipe, shadows)
    floor = finest(np.concatenate([made.own, made.shadow.ravel()]))
    own, said = confidence(made.own, floor), confidence(made.shadow, floor)
    off, spread = made.mean(said, False), made.spread(said, False, per_example)
    if not online:
        return made.as_asked((own - off) / spread)
    inside = norm.logpdf(own, made.mean(said, True), made.spread(said, True, per_example))
    return made.as_asked(np.asarray(inside - norm.logpdf(own, off, spread)))


def share_exceeded(ratio: Array, theirs: Array, gamma: float) -> Array:
    """For each ratio (n,), the share of others' ratios (m,) that it exceeds at least `gamma` times."""
    return np.searchsorted(np.sort(theirs), ratio / gamma, side="right") / len(theirs)


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-301",
    risk="membership",
    claim=Scores,
    needs=NEEDS,
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2312.03262",
    uses={"auxiliary"},
    decides=True,
    offline=True,
)
def rmia(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
    online: bool = True,
    gamma: float = 1.0,
    offline_scale: float = 0.3,
) -> Scores:
    """Score a record by the share of other people whose likelihood ratio it exceeds (RMIA; Zarifzadeh et al. 2024).

    Threat model: as `lira`. The ratio of a record x is p(x | model) / p(x), where p(x) is the mean over shadows with
    and without the record. With `online=False` it is estimated from the mean p over shadows without the record, as
    (1 + a) / 2 p + (1 - a) / 2 with a = `offline_scale`; for other people it always is. Without other people's records,
    the records asked about are compared with each other. Records with equal shares are ordered by the ratio itself.
    """
    made = Shadows.trained(view, question, auxiliary, rng, recipe, shadows)
    without = made.mean(made.shadow, False)

    def scaled(probability: Array) -> Array:
        return (1 + offline_scale) / 2 * probability + (1 - offline_scale) / 2

    expected = (without + made.mean(made.shadow, True)) / 2 if online else scaled(without)
    ratio = made.own / expected
    theirs = made.others / scaled(made.others_shadow.mean(0)) if len(made.others) else ratio
    share = share_exceeded(ratio, theirs, gamma)
    return made.as_asked(share + 0.5 / len(theirs) * ratio / (1 + ratio))


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-305",
    risk="membership",
    claim=Scores,
    needs=NEEDS,
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2111.09679",
    uses={"auxiliary"},
)
def reference_models(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
) -> Scores:
    """Score a record by how far its loss lies below its mean loss under models trained without it (Attack-R; Ye 2022).

    Threat model: as `lira`. The authors count the reference models with a larger loss. With few models this count takes
    few values, so the mean difference is used instead.
    """
    made = Shadows.trained(view, question, auxiliary, rng, recipe, shadows)
    return made.as_asked(np.log(made.own) - made.mean(np.log(made.shadow), False))


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-307",
    risk="membership",
    claim=Scores,
    needs=NEEDS,
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2505.24089",
    uses={"auxiliary"},
)
def base(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
    online: bool = True,
) -> Scores:
    """Score a record by the log of its likelihood over its mean likelihood under the shadows (BASE; Lassila 2025).

    Threat model: as `lira`. This is Bayes' rule, with equal priors for models with and without the record. It equals
    RMIA's ratio without other people, and gives the same order of records except for RMIA's rounding. `online=False`
    uses only models without the record.
    """
    made = Shadows.trained(view, question, auxiliary, rng, recipe, shadows)
    without = made.mean(made.shadow, False)
    expected = (without + made.mean(made.shadow, True)) / 2 if online else without
    return made.as_asked(np.log(made.own) - np.log(expected))


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-308",
    risk="membership",
    claim=Scores,
    needs=NEEDS,
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2603.11799",
    uses={"auxiliary"},
    decides=True,
)
def bavaria(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
    strength: float = 4.0,
) -> Scores:
    """Score a record as `lira` does, with Student t distributions instead of normal ones (BaVarIA; Brannvall 2026).

    Threat model: as `lira`. The variance of a record's confidence has an inverse-gamma prior around the variance of all
    records, with the weight of `strength` further models; its mean has a flat prior. With few shadows this is between
    one variance for all records and a variance for each. The score is the log ratio of the predictive densities of
    models with and without the record.
    """
    made = Shadows.trained(view, question, auxiliary, rng, recipe, shadows)
    floor = finest(np.concatenate([made.own, made.shadow.ravel()]))
    own, said = confidence(made.own, floor), confidence(made.shadow, floor)
    sides: list[Array] = []
    for inside in (True, False):
        count = (made.included if inside else ~made.included).sum(0)
        squares = made.spread(said, inside, True) ** 2 * (count - 1)
        pooled = made.spread(said, inside, False) ** 2
        degrees = strength + count - 1
        scale = np.sqrt((strength * pooled + squares) / degrees * (1 + 1 / count))
        sides.append(np.asarray(student.logpdf(own, degrees, made.mean(said, inside), scale)))
    return made.as_asked(sides[0] - sides[1])


MOST_ROWS = 50_000
"""Pairs of a record and a shadow from which an attack model learns at most."""


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-306",
    risk="membership",
    claim=Scores,
    needs=NEEDS,
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1610.05820",
    uses={"auxiliary"},
)
def shadow_attack_model(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
) -> Scores:
    """Score a record by a classifier of predictions, trained on the shadows' members and non-members (Shokri 2017).

    Threat model: as `lira`. Its features are the three largest probabilities, the true class's probability, the
    entropy, and whether the class is right. One classifier is trained for all classes; the authors train one for each.
    """
    made = Shadows.trained(view, question, auxiliary, rng, recipe, shadows)
    seen = np.concatenate([_features(a, made.labels) for a in made.answers[1:]])
    member = made.included.ravel()
    rows = rng.permutation(len(seen))[:MOST_ROWS]
    learner = HistGradientBoostingClassifier(max_leaf_nodes=8, learning_rate=0.05, random_state=0)
    with one_thread():
        learner.set_params(early_stopping=False).fit(seen[rows], member[rows])
        return made.as_asked(learner.decision_function(_features(made.answers[0], made.labels)))


def _features(answers: Array, labels: Array) -> Array:
    top = -np.sort(-answers, axis=1)[:, :3]
    own = answers[np.arange(len(labels)), labels]
    entropy = -(answers * np.log(answers)).sum(1)
    return np.column_stack([top, own, entropy, answers.argmax(1) == labels])
