"""The quantiles that a hospital reports, as values of its people."""

from __future__ import annotations

import numpy as np

from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Transcript, Unavailable, Values
from testbed.models.summaries import QUANTILES, told_of


@attack(
    subject="transcript",
    rule="TB-PROPERTY-009",
    risk="property",
    claim=Values,
    needs=set(),
    position="server",
    reference="https://securedatagroup.org/sdc-handbook/",
    suits="statistics",
)
def reported_quantiles(view: Transcript, question: Batch, auxiliary: None, rng: np.random.Generator) -> Values:
    """Say of every quantile that a hospital reports, minimum and maximum among them, that a patient has this value.

    Threat model: a curious coordinator of federated analytics, which knows nothing beforehand. A minimum and a maximum
    are always somebody's values, other quantiles often. Other patients may have the same value: the control says how
    often. Columns with no more than two different quantiles in all hospitals tell nothing and are left out. Raises
    `Unavailable` without quantiles.
    """
    told = {e.key: e.returned for e in view.exchanges if e.returned is not None and QUANTILES in e.returned}
    asked = {key: np.asarray(told_of(told[key], QUANTILES)[QUANTILES]) for key in question.keys if key in told}
    if not asked:
        raise Unavailable("no_quantiles", "a hospital's quantiles, and the number of its people")
    every = np.concatenate(list(asked.values()), axis=1)
    columns: dict[tuple[int, int], Array] = {}
    values: dict[tuple[int, int], Array] = {}
    for key, made in asked.items():
        pairs = [
            (column, float(value))
            for column in range(len(made))
            if len(np.unique(every[column][np.isfinite(every[column])])) > 2
            for value in np.unique(made[column][np.isfinite(made[column])])
        ]
        columns[key] = np.array([c for c, _ in pairs], dtype=int)
        values[key] = np.array([v for _, v in pairs], dtype=np.float32)
    if not any(map(len, values.values())):
        raise Unavailable("no_quantiles", "quantiles that are told, of columns with more than two values")
    return Values(columns, values)
