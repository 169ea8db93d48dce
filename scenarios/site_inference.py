"""At which hospital is a person, told by the model that the hospitals trained together?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from testbed.cli.script import main
from testbed.core import Protocol, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.findings.schema import ThreatModel
from testbed.findings.wording import WHICH_HOSPITAL
from testbed.harness.cells import planned
from testbed.harness.federation.facts import completed
from testbed.harness.federation.hospital_trial import Hospitals
from testbed.harness.federation.prepare import about, defended, described, mlp
from testbed.harness.federation.site_trial import SiteTrial
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation

KNOWS = frozenset({"architecture", "some_sites", "target_records"})
SEES = "the final model, and of each person asked about the record and the class; no update, and no other model"
NOT_TESTED = [
    "an attacker who does not know the hospital of anybody",
    "a server or hospital that sees updates (testbed run federated_membership names the client by them)",
    "a model that is given the hospital as an input",
    "layers that each hospital keeps to itself",
]


@scenario(question="Does the released model give away at which hospital a person is?", position="recipient")
def site_inference(
    data: str = "heart",
    clients: int = 4,
    people: int = 2000,
    rounds: int = 10,
    epochs: int = 2,
    batch: int = 16,
    learning_rate: float = 0.1,
    hidden: int = 32,
    shuffles: int = 39,
    defence: str = "none",
    seed: int = 0,
) -> Scenario:
    """The largest hospitals of a table train a network with `hidden` neurons by FedAvg, and release it.

    An attacker who knows the hospitals of half of the people names those of the other half, both ways round. Half of
    either are people trained on. The attacker reads records, answers and inner values (which decides), or answers
    alone. Both stand beside records without a model, people of the same hospitals on whom nobody trained, and
    `shuffles` federations in which people alike changed hospitals. `people` is the most of a group (members, controls)
    in all `clients` hospitals together. `rounds`, `epochs`, `batch` and `learning_rate` are those of the training.

    Any defence of a federation may be set. The report gives accuracy and AUC with and without it, on people nobody
    trained on.
    """
    known = source(data)
    if known.sites is None or clients < 2 or shuffles < 1:
        raise UsageError(
            "TB-SCENARIO-061",
            "With these parameters there are no hospitals to tell from each other.",
            "It needs a data set that names each record's hospital, two hospitals and one shuffle or more.",
            "Use heart or thyroid; of your own table, write site: COLUMN in its .meta.yaml beside it.",
        )
    hospitals = Hospitals.of(known, clients, people, seed, classes=None)
    protection = defended(defence, 0.0, 1.0, known.data_class)
    protocol = Protocol("fedavg", batch, epochs, learning_rate=learning_rate, rounds=rounds, clients=clients)
    plain = Federation(mlp(known, hidden), protocol, seed)
    federation = replace(plain, defences=protection)
    plans = (
        planned("site_inference", primary=True, target=f"{WHICH_HOSPITAL}, by records and model"),
        planned(
            "site_inference",
            params={"reads": "answers"},
            target=f"{WHICH_HOSPITAL}, by answers alone",
            variant="answers",
        ),
    )
    threat = Threat("recipient", knows=KNOWS)
    trial = SiteTrial(hospitals, federation, threat, plans, shuffles, plain if protection else None)
    members = [len(m) for m in hospitals.members]
    fewest = min(members)

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        outcome = trial.conduct(engine, progress)
        return completed(outcome, None, known.people, federation, fewest, "recipient")

    return Scenario(
        about(known, f"{known.title} (released by {clients} hospitals)", sum(members)),
        ThreatModel(
            position="recipient",
            malicious=False,
            knows=sorted(KNOWS),
            access="white",
            sees=SEES,
            not_tested=NOT_TESTED,
        ),
        conduct,
        described(federation, fewest, "recipient", adaptive=True),
    )


if __name__ == "__main__":
    main(site_inference)
