"""Numbers with intervals: pure functions of counts, rates and scores."""

from testbed.findings.statistics.differences import difference, paired_difference, upper_bound_of_many
from testbed.findings.statistics.epsilon import epsilon_ceiling, epsilon_lower, epsilon_one_run
from testbed.findings.statistics.intervals import (
    Interval,
    clopper_pearson,
    correlation,
    effective_size,
    excess,
    operating,
    proportion,
    residual,
    surely_negative,
    t_interval,
    widened,
    wilson,
)
from testbed.findings.statistics.letters import letters
from testbed.findings.statistics.scores import (
    FALSE_POSITIVE_RATES,
    RESOLVABLE_FALSE_POSITIVES,
    accuser,
    auc,
    ppv,
    resolvable_fpr,
    roc,
    roc_slope,
    threshold_at,
)
from testbed.findings.statistics.significance import exceedance_p, holm, labels_by_chance, lower_bound_of_many

__all__ = [
    "FALSE_POSITIVE_RATES",
    "RESOLVABLE_FALSE_POSITIVES",
    "Interval",
    "accuser",
    "auc",
    "clopper_pearson",
    "correlation",
    "difference",
    "effective_size",
    "epsilon_ceiling",
    "epsilon_lower",
    "epsilon_one_run",
    "exceedance_p",
    "excess",
    "holm",
    "labels_by_chance",
    "letters",
    "lower_bound_of_many",
    "operating",
    "paired_difference",
    "ppv",
    "proportion",
    "residual",
    "resolvable_fpr",
    "roc",
    "roc_slope",
    "surely_negative",
    "t_interval",
    "threshold_at",
    "upper_bound_of_many",
    "widened",
    "wilson",
]
