"""What do boosted trees give away that hospitals train together?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from testbed.attacks.registry import find
from testbed.cli.script import main
from testbed.core import Threat
from testbed.core.defence import Exposure, check_where
from testbed.data.cohorts import source
from testbed.defences import named
from testbed.findings.schema import ThreatModel
from testbed.harness.cells import planned
from testbed.harness.federation.hospital_trial import Hospitals
from testbed.harness.federation.naive import beside, meets
from testbed.harness.federation.prepare import about
from testbed.harness.federation.tree_trial import TreeTrial
from testbed.harness.outcome import Outcome
from testbed.harness.protected import reported
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.trees import Order, TreeFederation

KNOWS = frozenset({"auxiliary", "hyper_parameters"})
SEES = (
    "the server: every tree of every client, with the sums that XGBoost writes beside it; a client: the models that it "
    "is sent"
)
NOT_TESTED = [
    "a server or client that deviates",
    "sums of later trees, in which people have different Hessians",
    "encrypted or summed histograms",
    "who was used (membership)",
    "reconstruction of records from the paths of many trees",
]


@scenario(question="What do the trees that hospitals boost together give away about their patients?")
def federated_trees(
    data: str = "heart",
    clients: int = 4,
    people: int = 2000,
    order: str = "bagging",
    rounds: int = 10,
    local: int = 1,
    learning_rate: float = 0.1,
    depth: int = 8,
    defence: str = "none",
    seed: int = 0,
) -> Scenario:
    """Flower's FedXgbBagging (`order=bagging`) or FedXgbCyclic (`order=cyclic`), with XGBoost at each client.

    A server reads the trees. The first tree's sums give the people and the diagnoses of each leaf (`tree_leaves`, which
    decides). Thresholds are values of patients (`tree_thresholds`); other patients of the same hospital, as many, say
    how often such a value is anybody's. Another client reads the first tree of the model that it is sent
    (`passed_on_leaves`), and informs. A client grows `local` trees of `depth` levels at most in each round.

    Defences of trees: shallow_trees, large_leaves, round_thresholds, leaf_noise, bare_trees. The report gives the AUC
    with and without them, on people whom nobody trained on.
    """
    known = source(data)
    protection = named.configured(defence)
    check_where(protection, ("trees",), "a federation of trees", "Choose a defence of trees: see docs/defences.md.")
    protection = tuple(replace(d, secret=known.data_class == "real") for d in protection)
    hospitals = Hospitals.of(known, clients, people, seed)
    plain = TreeFederation(
        known.shape[0],
        clients,
        cast(Order, order),  # another word is refused
        rounds,
        local=local,
        learning_rate=learning_rate,
        depth=depth,
        seed=seed,
    )
    plans = (
        planned("tree_leaves", unit="predicate", primary=True),
        planned("tree_thresholds", unit="predicate"),
    )
    adaptive = meets(find(plans[0].attack), protection, "server")
    plans = beside(plans, protection, "server")
    federation = replace(plain, defences=protection)
    threat = Threat("server", knows=KNOWS | ({"defence"} if protection else frozenset()))
    passed = (planned("passed_on_leaves", unit="predicate", target="by a client"),)
    trial = TreeTrial(hospitals, federation, threat, plans, passed, plain if protection else None, known.columns)
    subject = about(
        known, f"{known.title} (boosted trees, {order}, {clients} clients)", sum(map(len, hospitals.members))
    )
    described = ThreatModel(
        position="server", malicious=False, knows=sorted(threat.knows), access="white", sees=SEES, not_tested=NOT_TESTED
    )

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        return trial.conduct(engine, progress, store, subject, described)

    return Scenario(subject, described, conduct, reported(protection, Exposure(rounds, rounds, clients), adaptive))


if __name__ == "__main__":
    main(federated_trees)
