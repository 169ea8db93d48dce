"""What do the statistics give away about single patients that hospitals send to a coordinator?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from testbed.attacks.registry import find
from testbed.cli.script import main
from testbed.core import Threat
from testbed.core.defence import Exposure, check_where
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source, source
from testbed.data.survival import followed
from testbed.defences import named
from testbed.findings.plan import Plan
from testbed.findings.schema import ThreatModel
from testbed.harness.cells import planned
from testbed.harness.federation.analytics_trial import AnalyticsTrial
from testbed.harness.federation.hospital_trial import Hospitals
from testbed.harness.federation.naive import meets
from testbed.harness.federation.prepare import about
from testbed.harness.outcome import Outcome
from testbed.harness.protected import reported
from testbed.harness.scenario import Scenario, scenario
from testbed.models.summaries import Statistic
from testbed.subjects.federation.analytics import Analytics

SEES = "the server: each hospital's statistics in every round; a hospital: its own, and those of all hospitals together"
NOT_TESTED = [
    "a server or hospital that deviates",
    "several people who leave and join in one round",
    "counts by several columns at once",
    "the means and models that hospitals may compute beside these statistics",
]
DECIDES = {"histograms": "round_difference", "quantiles": "reported_quantiles", "curves": "curve_events"}
BY_CLIENT = {"histograms": "pooled_difference", "curves": "pooled_curve_events"}


@scenario(question="What do the histograms, quantiles or survival curves of hospitals give away about single patients?")
def federated_analytics(
    data: str = "",
    statistic: str = "histograms",
    clients: int = 4,
    people: int = 2000,
    rounds: int = 13,
    joining: int = 1,
    bins: int = 10,
    time: str = "",
    death: str = "",
    defence: str = "none",
    seed: int = 0,
) -> Scenario:
    """Hospitals send a statistic of their patients to a coordinator, which sends it pooled to all of them.

    `statistic=histograms` (of `heart`, unless `data` is given): one of each column, of `bins` bins, in each round.
    Between two rounds, `joining` people join each hospital. The difference is the record of the one who joined
    (`round_difference`, which decides). Another hospital sees sums alone, and subtracts its own counts
    (`pooled_difference`). `statistic=curves` (of `support2`): Kaplan-Meier curves, whose steps give deaths and losses
    (`curve_events`, `pooled_curve_events`); of your own table name the columns `time` and `death`.
    `statistic=quantiles`: minimum, quartiles and maximum of each column (`reported_quantiles`).

    Defences of statistics: small_cells, count_noise.
    """
    known = _people(data, statistic, time, death)
    repeated = statistic == "histograms"
    if repeated and (rounds < 2 or joining < 1 or bins < 2):
        raise UsageError(
            "TB-SCENARIO-048",
            "With these parameters nobody joins between two histograms.",
            "The question is about people who join between two rounds.",
            "Use two rounds and two bins or more, and let one person or more join.",
        )
    protection = named.configured(defence)
    check_where(protection, ("statistics",), "federated analytics", "Choose small_cells or count_noise.")
    protection = tuple(replace(d, secret=known.data_class == "real") for d in protection)
    hospitals = Hospitals.of(known, clients, people, seed, classes=None)
    smallest = min(map(len, hospitals.members))
    if repeated and smallest <= (rounds - 1) * joining:
        raise UsageError(
            "TB-SCENARIO-049",
            "More people would join a hospital than it has.",
            "The people who join are the last of each hospital's, and some must be there before them.",
            "Use fewer rounds, fewer hospitals, or a larger table.",
        )
    plain = Analytics(
        cast(Statistic, statistic),  # another word is refused
        known.shape[0],
        clients,
        rounds if repeated else 1,
        joining,
        bins,
        seed,
    )
    analytics = replace(plain, defences=protection)
    unit = "record" if repeated else "predicate"
    plans = (planned(DECIDES[statistic], unit=unit, primary=True),)
    by_client: tuple[Plan, ...] = ()
    if statistic in BY_CLIENT and clients > 1:
        by_client = (planned(BY_CLIENT[statistic], unit=unit, target=f"by one of {clients} hospitals"),)
    threat = Threat("server", knows=frozenset({"defence"} if protection else ()))
    trial = AnalyticsTrial(hospitals, analytics, threat, plans, by_client, plain if protection else None, known.columns)
    adaptive = meets(find(plans[0].attack), protection, "server")
    subject = about(known, f"{known.title} ({statistic}, {clients} hospitals)", sum(map(len, hospitals.members)))
    described = ThreatModel(
        position="server", malicious=False, knows=sorted(threat.knows), access="white", sees=SEES, not_tested=NOT_TESTED
    )

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        return trial.conduct(engine, progress, store, subject, described)

    return Scenario(subject, described, conduct, reported(protection, Exposure(analytics.rounds, 1, clients), adaptive))


def _people(data: str, statistic: str, time: str, death: str) -> Source:
    """The data set of a statistic. Raises `UsageError` for pictures or texts."""
    if statistic == "curves":
        return followed(data or "support2", (time, death) if time or death else None)
    known = source(data or "heart")
    if len(known.shape) != 1:
        raise UsageError(
            "TB-SCENARIO-050",
            f"{known.name} is no table.",
            "Hospitals send statistics of a table's columns.",
            "Use heart, support2 or breast-cancer, or a table of your own.",
        )
    return known


if __name__ == "__main__":
    main(federated_analytics)
