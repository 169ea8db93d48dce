"""Federated analytics under attack: recorded once in every cell, then judged as any other recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from testbed.core import Cell, Cohort, Parameters, Threat, Transcript
from testbed.defences import named
from testbed.findings.measures import estimate
from testbed.findings.plan import Plan
from testbed.findings.schema import Subject, ThreatModel, Utility
from testbed.findings.statistics import Interval
from testbed.harness.federation import truth_file
from testbed.harness.federation.assess import assess
from testbed.harness.federation.recorded import Key, Recorded, Truth
from testbed.harness.federation.tree_trial import CURIOUS, Hospitals, together
from testbed.harness.outcome import Outcome
from testbed.models.summaries import HISTOGRAM, QUANTILES, SURVIVAL, TIMES, survival_at
from testbed.subjects.federation.analytics import Analytics
from testbed.subjects.federation.tap import seen_by


@dataclass(frozen=True, slots=True)
class AnalyticsTrial:
    """Federated analytics with its people, the server's threat and its planned attacks.

    `of_client` are the attacks of one of the hospitals, which inform. `undefended` is the same without defences, the
    positive control; None if there are none.
    """

    people: Hospitals
    analytics: Analytics
    threat: Threat
    plans: tuple[Plan, ...]
    of_client: tuple[Plan, ...] = ()
    undefended: Analytics | None = None
    columns: tuple[tuple[str, int], ...] = ()

    def run(self, engine: str, progress: Callable[[str], None] = lambda _: None) -> dict[Cell, Transcript]:
        """What the server sees in every cell: of members, of auxiliary people, and without a defence."""
        runs: dict[Cell, tuple[Analytics, list[Cohort]]] = {
            "true": (self.analytics, self.people.members),
            "blind": (self.analytics, self.people.auxiliary),
        }
        if self.undefended is not None:
            runs["positive"] = self.undefended, self.people.members
        views: dict[Cell, Transcript] = {}
        for cell, (analytics, parts) in runs.items():
            progress(f"statistics: {cell} view on {engine}")
            views[cell] = analytics.run(parts, engine)
        return views

    def behind(self, people: list[Cohort], threat: Threat) -> dict[Key, Cohort]:
        """Whom each exchange is asked about: those who joined before its round, else everybody behind the first one."""
        asked = [client for client in range(len(people)) if client not in threat.nodes]
        if self.analytics.statistic != "histograms":
            return {(1, client): people[client] for client in asked}
        rounds = range(2, self.analytics.rounds + 1)
        return {(r, c): people[c].take(self.analytics.arrivals(len(people[c]), r)) for r in rounds for c in asked}

    def recorded(self, views: Mapping[Cell, Transcript], threat: Threat, plans: tuple[Plan, ...]) -> Recorded:
        """The part of these views that a position sees, with the truth about the other hospitals' people."""
        batches = {
            "true": self.behind(self.people.members, threat),
            "control": self.behind(self.people.controls, threat),
        }
        if self.undefended is not None:
            batches["positive"] = batches["true"]
        truth = Truth(
            plans,
            threat,
            together(self.people.auxiliary),
            self.analytics.seed,
            2,
            batches,
            self.people.decoys,
            columns=self.columns,
            defences=self.analytics.defences,
        )
        return Recorded({cell: seen_by(view, threat) for cell, view in views.items()}, truth)

    def conduct(
        self,
        engine: str,
        progress: Callable[[str], None],
        store: Path | None,
        subject: Subject,
        threat: ThreatModel,
    ) -> Outcome:
        """The findings, and how near the statistics with the defences are to those without."""
        views = self.run(engine, progress)
        recorded = self.recorded(views, self.threat, self.plans)
        assessed = assess(recorded, progress=progress)
        client = Threat("client", knows=self.threat.knows, nodes=(CURIOUS,))
        of_client = assess(self.recorded(views, client, self.of_client), progress=progress) if self.of_client else None
        described = {"subject": subject.model_dump(), "threat": threat.model_dump()}
        findings, evidence = list(assessed.findings), dict(assessed.evidence)
        if of_client is not None:
            findings, evidence = [*findings, *of_client.findings], evidence | of_client.evidence
        return Outcome(findings, evidence, truth_file.files(recorded, described), utility=self._useful(views))

    def _useful(self, views: Mapping[Cell, Transcript]) -> list[Utility]:
        if "positive" not in views:
            return []
        name = f"likeness of the statistics with {named.text_of(self.analytics.defences)} to those without a defence"
        values = [
            likeness(one.returned or {}, other.returned or {})
            for one, other in zip(views["true"].exchanges, views["positive"].exchanges, strict=True)
        ]
        value = float(np.mean(values))
        exact = Interval(value, value, value, 1.0, "mean over the messages, computed and not estimated", len(values))
        return [Utility(name=name, measure=estimate("fidelity", exact, "client"))]


def likeness(told: Parameters, plain: Parameters) -> float:
    """How much a defended statistic is like the same one without the defence: from 0 (not at all) to 1 (equal).

    Of histograms it is 1 minus the total variation distance, on average over the columns; counts that are not told are
    taken as equal parts of the people who are left. Of curves it is 1 minus the largest distance. Of quantiles it is
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
