"""Federated analytics under attack."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Cell, Cohort, Parameters, Threat, Transcript
from testbed.defences import named
from testbed.findings.measures import estimate
from testbed.findings.schema import Utility
from testbed.findings.statistics import Interval
from testbed.harness.federation.hospital_trial import HospitalTrial
from testbed.harness.federation.recorded import Key
from testbed.models.summaries import HISTOGRAM, QUANTILES, SURVIVAL, TIMES, survival_at
from testbed.subjects.federation.analytics import Analytics


class AnalyticsTrial(HospitalTrial[Analytics]):
    """Federated analytics under attack. Of histograms it is asked about those who joined before each round."""

    __slots__ = ()

    def behind(self, view: Transcript, people: list[Cohort], threat: Threat) -> dict[Key, Cohort]:
        asked = [client for client in range(len(people)) if client not in threat.nodes]
        if self.federation.statistic != "histograms":
            return {(1, client): people[client] for client in asked}
        rounds = range(2, self.federation.rounds + 1)
        return {(r, c): people[c].take(self.federation.arrivals(len(people[c]), r)) for r in rounds for c in asked}

    def useful(self, views: Mapping[Cell, Transcript]) -> list[Utility]:
        """How near the statistics with the defences are to those without."""
        if "positive" not in views:
            return []
        name = f"likeness of the statistics with {named.text_of(self.federation.defences)} to those without a defence"
        values = [
            likeness(one.returned or {}, other.returned or {})
            for one, other in zip(views["true"].exchanges, views["positive"].exchanges, strict=True)
        ]
        value = float(np.mean(values))
        exact = Interval(value, value, value, 1.0, "mean over the messages, computed and not estimated", len(values))
        return [Utility(name=name, measure=estimate("fidelity", exact, "client"))]


def likeness(told: Parameters, plain: Parameters) -> float:
    """How much a defended statistic is like the same one without the defence: from 0 (not at all) to 1 (equal).

    For histograms it is 1 minus the total variation distance, averaged over the columns. The people who are left over
    are divided equally among the counts that are not told. For curves it is 1 minus the largest distance, for quantiles
    the share of those that are told.
    """
    if HISTOGRAM in plain:
        whole = plain[HISTOGRAM]
        made = np.nan_to_num(np.clip(told[HISTOGRAM], 0, None))
        hidden = np.isnan(told[HISTOGRAM])
        left = np.clip(whole.sum(1, keepdims=True) - made.sum(1, keepdims=True), 0, None)
        filled = made + hidden * left / np.maximum(hidden.sum(1, keepdims=True), 1)
        shares = [h / np.maximum(h.sum(1, keepdims=True), 1e-12) for h in (filled, whole)]
        return float(1 - np.abs(shares[0] - shares[1]).sum(1).mean() / 2)
    if SURVIVAL in plain:
        at = plain[TIMES]
        return float(1 - np.abs(survival_at(told, at) - plain[SURVIVAL]).max(initial=0))
    return float(np.isfinite(told[QUANTILES]).mean())
