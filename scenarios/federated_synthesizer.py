"""A synthesizer that hospitals train together: what do its server, its clients and its release each give away?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from testbed import models
from testbed.cli.script import main
from testbed.core import Cohort, ModelSpec, Parameters, Protocol, Release, Split, Threat
from testbed.core.disclosure import People
from testbed.core.randomness import keyed_rng
from testbed.data import dataset, load_table
from testbed.data.splits import split_people
from testbed.data.tables.encode import Meta, encode
from testbed.defences.guards.named import configured as watched
from testbed.findings.assemble import as_data_class, size_band
from testbed.findings.schema import Subject, ThreatModel
from testbed.harness.cells import planned
from testbed.harness.federation import truth_file
from testbed.harness.federation.assess import assess, best_of
from testbed.harness.federation.facts import completed
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.prepare import defended, described
from testbed.harness.federation.trial import Trial
from testbed.harness.outcome import Outcome
from testbed.harness.release.examine import examine
from testbed.harness.release.setting import Options
from testbed.harness.release.utility import utility
from testbed.harness.scenario import Scenario, scenario
from testbed.models.generative import Autoregressive
from testbed.subjects.federation.federation import Federation
from testbed.subjects.synthesis.binned import Binned

SEES = (
    "the server: every model and every client's new weights; a client: the global models alone; a recipient: the table "
    "drawn from the final model"
)
NOT_TESTED = ["secure aggregation", "a server or client that deviates", "reconstruction from the clients' updates"]
KNOWS = frozenset({"architecture", "target_records"})
THREAT = ThreatModel(
    position="server", malicious=False, knows=sorted(KNOWS), access="white", sees=SEES, not_tested=NOT_TESTED
)
SHARES = {"members": 0.3, "controls": 0.3, "auxiliary": 0.3, "coding": 0.1}
OVERFITTED = 0.05
DECIDES = "TB-MEMBERSHIP-500"
ON_THE_WAY = (("update_product", "server"), ("loss_threshold", "server"), ("global_models", "client"))


@dataclass(frozen=True, slots=True)
class Synthesis:
    """A generator that the clients train together, and the tables of those who were used and of others like them."""

    split: Split
    federation: Federation
    subject: Subject
    binned: Binned
    members: pd.DataFrame
    controls: pd.DataFrame
    person: str | None

    def trial(self, position: Literal["server", "client"]) -> Trial:
        """What this position can tell on the way."""
        protocol, seed = self.federation.protocol, self.federation.seed
        by = "a client" if position == "client" else "the server"
        plans = tuple(
            planned(attack, primary=i == 0, target=f"by {by}")
            for i, (attack, who) in enumerate(ON_THE_WAY)
            if who == position
        )
        by_heart = Protocol(
            "fedavg", 2, local_epochs=10, learning_rate=0.1, rounds=protocol.rounds, clients=protocol.clients
        )
        return Trial(
            self.split,
            self.federation,
            Threat(position, knows=KNOWS, nodes=(0,) if position == "client" else ()),
            plans,
            positive=Leaky(
                Federation(self.federation.model, by_heart, seed),
                members=max(2 * protocol.clients, round(OVERFITTED * len(self.members))),
            ),
        )

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """The findings of the server, of a client and of the release, in this order."""
        seed, server = self.federation.seed, self.trial("server")
        recorded = server.record(engine, progress, store)
        on_server = best_of(assess(recorded, progress=progress), server.plans, DECIDES, seed)
        on_client = assess(self.trial("client").record(engine, progress, store), progress=progress)
        progress("release")
        final = recorded.views["true"].final
        assert final is not None
        made = released(self.federation.model, final, self.binned, len(self.members), seed)
        coded = encode(self.members, made, self.controls, Meta(self.person))
        assert coded.control is not None
        split = Split(coded.original, coded.control, None)
        release = examine(split, Release(coded.synthetic), Options(seed=seed), progress=progress)
        from_release = [
            f.model_copy(update={"target": f.target or "from the release"}) if f.risk == "membership" else f
            for f in release.findings
        ]
        told = {"subject": self.subject.model_dump(), "threat": THREAT.model_dump()}
        outcome = Outcome(
            [*on_server.findings, *on_client.findings, *from_release],
            {**on_server.evidence, **on_client.evidence, **release.evidence},
            truth_file.files(recorded, told),
            utility=utility(coded.synthetic, coded.control, seed, ()),
            people=People([self.members, self.controls], self.person),
        )
        people, each = self.split.members, len(self.members) // self.federation.protocol.clients
        assert isinstance(people, Cohort)
        return completed(outcome, None, people, self.federation, each, "server")


@scenario(question="What does a synthesizer give away that hospitals train together: on the way, and when it is done?")
def federated_synthesizer(
    data: str = "support2",
    clients: int = 5,
    people: int = 2000,
    rounds: int = 20,
    epochs: int = 2,
    batch: int = 16,
    learning_rate: float = 0.05,
    hidden: int = 128,
    defence: str = "none",
    guards: str = "none",
    noise: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
) -> Scenario:
    """An autoregressive generator trained by FedAvg, seen from three positions, in one report.

    The server reads each client's updates (`update_product`) and the final model (`loss_threshold`), and the better one
    decides; a client reads the global models (`global_models`) and asks about the others' records; a recipient has as
    many rows as there are members, and runs every attack on releases. `people` bounds members, controls and auxiliary
    people each; bins and categories come from a tenth who are none of them. The server's and the release's primary
    findings decide.
    """
    known = dataset(data)
    parts = {
        k: v.head(people).reset_index(drop=True)
        for k, v in split_people(load_table(data), SHARES, known.person, seed).items()
    }
    attributes = [c for c in parts["members"].columns if c != known.person]
    coding: Any = parts["coding"][attributes]
    binned = Binned.of(coding)
    groups = [cohort(name, parts[name], known.person, binned) for name in ("members", "controls", "auxiliary")]
    split = Split(groups[0], groups[1], groups[2], keyed_rng(seed, "parties").permutation(len(groups[0])) % clients)
    arguments = {"shape": [sum(binned.blocks)], "classes": 2, "blocks": binned.blocks, "hidden": hidden}
    protocol = Protocol(
        "fedavg", batch, local_epochs=epochs, learning_rate=learning_rate, rounds=rounds, clients=clients
    )
    spec = ModelSpec("autoregressive", arguments)
    federation = Federation(
        spec, protocol, seed, defended(defence, noise, clip, known.data_class), guards=watched(guards)
    )
    subject = Subject(
        type="federation",
        name=f"{known.title}, a generator trained by {clients} clients",
        data_class=as_data_class(known.data_class),
        licence=known.licence,
        size_band=size_band(len(groups[0])),
        columns=len(attributes),
    )
    columns = [*attributes, *([known.person] if known.person else [])]
    tables: list[Any] = [parts[name][columns] for name in ("members", "controls")]
    synthesis = Synthesis(split, federation, subject, binned, tables[0], tables[1], known.person)
    return Scenario(subject, THREAT, synthesis.conduct, described(federation, len(groups[0]) // clients, "server"))


def cohort(name: str, table: pd.DataFrame, person: str | None, binned: Binned) -> Cohort:
    """People as records of the generator, all of one class; `name` tells the persons of tables without such a column
    apart."""
    persons = table[person] if person else pd.Series(range(len(table))).map(lambda i: f"{name} {i}")
    x = binned.encode(table)
    return Cohort(x, np.zeros(len(x), dtype=np.int64), np.asarray(persons.astype(str)))


def released(spec: ModelSpec, parameters: Parameters, binned: Binned, rows: int, seed: int) -> pd.DataFrame:
    """Rows drawn from the trained generator."""
    model = models.build(spec)
    assert isinstance(model, Autoregressive)
    model.load_state_dict(models.to_tensors(parameters, model), strict=False)
    rng = keyed_rng(seed, "release")
    with torch.random.fork_rng(devices=[]):
        records = model.sample(rows, int(rng.integers(2**31)))
    return binned.decode(records.numpy(), rng)


if __name__ == "__main__":
    main(federated_synthesizer)
