"""Does the hospital that holds no diagnoses learn them, if two hospitals train a network that is split by columns?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from testbed.attacks.registry import find
from testbed.cli.script import main
from testbed.core import Threat
from testbed.core.defence import Exposure, check_where
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.defences import named
from testbed.findings.schema import ThreatModel
from testbed.harness.cells import planned
from testbed.harness.federation.naive import beside, meets
from testbed.harness.federation.prepare import about
from testbed.harness.federation.split_trial import SplitTrial
from testbed.harness.outcome import Outcome
from testbed.harness.protected import reported
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.split import SplitLearning

KNOWS = frozenset({"auxiliary"})
SEES = "the party without labels: the gradients of its own outputs, of each person in each batch"
NOT_TESTED = [
    "a party that deviates",
    "columns of the other party",
    "a party with the labels that reads the other one's columns from its outputs (feature inference)",
    "more than two parties, and more than two classes",
    "how the parties find their common patients",
]


@scenario(question="Does the party without labels learn them in split learning?", position="client")
def split_learning(
    data: str = "heart",
    own: int = 0,
    people: int = 1000,
    width: int = 8,
    rounds: int = 100,
    batch: int = 32,
    learning_rate: float = 0.5,
    defence: str = "none",
    seed: int = 0,
) -> Scenario:
    """Two parties train one network on the same people (vertical federated learning, over Flower).

    The first `own` columns (0: half of them) belong to the attacker, which sends `width` numbers a person. The other
    party holds the other columns and the labels, and sends gradients back. `cut_direction` (decides) and `cut_norm`
    read labels from them. The control are people of whom the attacker has the same columns, and no gradients.

    Defences at the cut: cut_noise, equal_norms. The report gives the AUC with and without them, on people whom nobody
    trained on.
    """
    known = source(data)
    owned = own or len(known.columns) // 2
    if known.classes != 2 or not 0 < owned < len(known.columns) or rounds < 2 or batch < 2 or width < 1:
        raise UsageError(
            "TB-SCENARIO-051",
            "With these parameters there are no two parties that train on two classes.",
            "It needs a table with two classes, columns for both parties, two rounds and two people a batch.",
            "Use heart, support2 or breast-cancer, and give the first party some of the columns.",
        )
    protection = named.configured(defence)
    check_where(protection, ("cut",), "split learning", "Choose cut_noise or equal_norms.")
    protection = tuple(replace(d, secret=known.data_class == "real") for d in protection)
    groups = SplitTrial.groups(known, people, seed)
    features = sum(w for _, w in known.columns[:owned])
    plain = SplitLearning(known.shape[0], features, width, rounds, batch, learning_rate, seed)
    threat = Threat("client", knows=KNOWS | ({"defence"} if protection else frozenset()), nodes=(0,))
    plans = (planned("cut_direction", metric="rate", primary=True), planned("cut_norm", metric="rate"))
    adaptive = meets(find(plans[0].attack), protection, "client")
    plans = beside(plans, protection, "client")
    trial = SplitTrial(groups, replace(plain, defences=protection), threat, plans, plain if protection else None)
    subject = about(known, f"{known.title} (split by columns)", len(groups["members"]))
    described = ThreatModel(
        position="client", malicious=False, knows=sorted(threat.knows), access="white", sees=SEES, not_tested=NOT_TESTED
    )

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        return trial.conduct(engine, progress)

    uses = rounds * batch // max(1, len(groups["members"])) + 1
    return Scenario(subject, described, conduct, reported(protection, Exposure(rounds, uses, 2, "client"), adaptive))


if __name__ == "__main__":
    main(split_learning)
