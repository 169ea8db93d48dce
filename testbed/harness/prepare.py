"""What the federated scenarios share: people divided, a federation prepared, its outcome for the report."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from testbed.attacks.kit import keyed_rng
from testbed.core import Array, Cohort, ModelSpec, Split
from testbed.data.cohorts import Source, divide
from testbed.defences import factory
from testbed.errors import UsageError
from testbed.federation.partition import partition
from testbed.federation.run import Defence
from testbed.findings import Plan
from testbed.harness import truth
from testbed.harness.assess import assess, at_hand, best_of
from testbed.harness.federation import Trial
from testbed.harness.one_shot import gaussian_epsilon
from testbed.harness.pictures import sheets
from testbed.report import results, schema
from testbed.report.schema import Unit
from testbed.scenario import Outcome, Scenario

ATTACKER_RECORDS = 200
"""Auxiliary records that an attacker holds at least."""
DELTA = 1e-5
"""At which the epsilon of a client's noise is told."""


def groups(source: Source, members: int, controls: int, auxiliary: int, seed: int) -> Split:
    """Members, controls and auxiliary people drawn at random; everybody else stands in line-ups."""
    rows = divide(
        source.people,
        {"members": members, "controls": controls, "auxiliary": auxiliary},
        keyed_rng(seed, "people"),
    )
    taken = {k: source.people.take(v) for k, v in rows.items()}
    persons = np.concatenate([p.persons for p in taken.values()])
    rest = np.flatnonzero(~np.isin(source.people.persons, persons))
    rest = keyed_rng(seed, "decoys").permutation(rest)
    return Split(taken["members"], taken["controls"], taken["auxiliary"], None, source.people.take(rest))


def hospitals(source: Source, clients: int, each: int, seed: int, controls: int | None = None) -> Split:
    """`clients` parties of `each` members: the largest natural sites where there are any, else drawn at random.

    Every party has the same number of members, so that each has a full batch in every round. As many controls (or as
    many as are asked for), and enough auxiliary people for a federation of the same size, are drawn from the rest.
    """
    sent = clients * each
    controls = sent if controls is None else controls
    if source.sites is None:
        split = groups(source, sent, controls, max(sent, ATTACKER_RECORDS), seed)
        return Split(split.members, split.controls, split.auxiliary, np.arange(sent) % clients, split.decoys)
    site_of = partition("site", source.people.y, clients, keyed_rng(seed, "partition"), sites=source.sites)
    _enough_sites(source, site_of, clients)
    members: list[Array] = []
    for client in range(clients):
        rows = np.flatnonzero(site_of == client)
        drawn = divide(source.people.take(rows), {"members": each}, keyed_rng(seed, "site", client))["members"]
        members.append(rows[drawn[:each]])
    own = np.concatenate(members)
    rest = np.flatnonzero(~np.isin(source.people.persons, source.people.persons[own]))
    others = Source(source.name, source.title, source.people.take(rest), None, source.classes, "", "public")
    split = groups(others, 0, controls, max(sent, ATTACKER_RECORDS), seed)
    party = np.repeat(np.arange(clients), each)
    return Split(source.people.take(own), split.controls, split.auxiliary, party, split.decoys)


def _enough_sites(source: Source, site_of: Array, clients: int) -> None:
    if site_of.max() < clients - 1:
        raise UsageError(
            "TB-SPLIT-011",
            f"{source.name} has {site_of.max() + 1} natural sites, and {clients} clients were asked for.",
            "Each client is one hospital.",
            "Use fewer clients, or a data set without sites.",
        )


def sited(source: Source, split: Split, kind: str, clients: int, alpha: float, seed: int) -> tuple[Split, Array | None]:
    """Members with a client each, and the natural sites of the controls; people of smaller sites are left out."""
    members, controls = split.members, split.controls
    assert isinstance(members, Cohort)
    assert isinstance(controls, Cohort)
    if kind != "site" or source.sites is None:
        party = partition(kind, members.y, clients, keyed_rng(seed, "partition"), alpha=alpha)
        return Split(members, controls, split.auxiliary, party, split.decoys), None
    site_of = dict(zip(source.people.persons.tolist(), source.sites.tolist(), strict=True))
    both = np.concatenate([members.persons, controls.persons])
    party = partition(
        "site",
        np.concatenate([members.y, controls.y]),
        clients,
        keyed_rng(seed, "partition"),
        sites=np.array([site_of[p] for p in both.tolist()]),
    )
    _enough_sites(source, party, clients)
    mine, theirs = party[: len(members)], party[len(members) :]
    kept = Split(
        members.take(np.flatnonzero(mine >= 0)),
        controls.take(np.flatnonzero(theirs >= 0)),
        split.auxiliary,
        mine[mine >= 0],
        split.decoys,
    )
    return kept, theirs[theirs >= 0]


def by_a_curious_server(unit: Unit) -> Plan:
    """What a server that only reads would reach, to set another position beside; it informs."""
    return Plan(
        "TB-RECONSTRUCTION-002",
        "reconstruction",
        "analytic_linear",
        "line_up_top1",
        unit,
        False,
        target="by the server",
    )


def mlp(source: Source, hidden: int) -> ModelSpec:
    return ModelSpec("mlp", {"shape": list(source.shape), "classes": source.classes, "hidden": [hidden]})


def cnn(source: Source) -> ModelSpec:
    return ModelSpec("cnn", {"shape": list(source.shape), "classes": source.classes, "channels": [8, 16]})


def defended(name: str, noise: float, clip: float) -> Defence | None:
    """The defence of a scenario's parameters; noise asks for the Gaussian one. Raises `UsageError` for an idle one."""
    if name == "none" and noise == 0:
        return None
    if (name == "gaussian") != (noise > 0) and name != "none":
        raise UsageError(
            "TB-SCENARIO-016",
            f"defence={name} and noise={noise:g} do not go together.",
            "Noise is the Gaussian defence's, which without any would only clip; a report lists nothing that is idle.",
            "Use defence=gaussian (or none) with noise above 0, and other defences without.",
        )
    if name == "consistent_unmasking":
        raise UsageError(
            "TB-SCENARIO-019",
            "consistent_unmasking answers under secure aggregation alone.",
            "There is no unmasking in this federation.",
            "Use testbed run secure_aggregation -s check=true.",
        )
    if name in ("none", "gaussian"):
        return Defence("gaussian", {"noise": noise, "clip": clip})
    factory(name)  # a misspelt one stops here, before anything is trained
    return Defence(name)


def about(
    source: Source, name: str, people: int, kind: Literal["federation", "model"] = "federation"
) -> schema.Subject:
    """What a report says of a subject made from this data set, of so many people."""
    return schema.Subject(
        type=kind,
        name=name,
        data_class=results.data_class(source.data_class),
        licence=source.licence,
        size_band=results.size_band(people),
    )


def prepared(
    source: Source,
    trial: Trial,
    sees: str,
    not_tested: list[str],
    beside: Trial | None = None,
    decides: str | None = None,
) -> Scenario:
    """The scenario of a trial, with its report's facts.

    `decides` is the rule of a finding on the best of the trial's membership attacks, which then decides alone.

    The findings of `beside`, the same federation seen from another position, inform and do not decide.
    """
    subject = about(source, f"{source.title} ({trial.federation.protocol.kind})", len(trial.split.members))
    threat = schema.ThreatModel(
        position=trial.threat.position,
        malicious=trial.threat.malicious,
        knows=sorted(trial.threat.knows),
        access=trial.threat.access,
        sees=sees,
        not_tested=not_tested,
    )

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        at_hand(trial.plans)
        recorded = trial.record(engine, progress, store)
        assessed = assess(recorded, progress=progress)
        if decides is not None:
            assessed = best_of(assessed, trial.plans, decides, trial.federation.seed)
        further = assess(beside.record(engine, progress, store), progress=progress) if beside else None
        described = {"subject": subject.model_dump(), "threat": threat.model_dump()}
        return Outcome(
            [*assessed.findings, *(further.findings if further else [])],
            {**assessed.evidence, **(further.evidence if further else {})},
            truth.files(recorded, described),
            sheets(assessed.claims, recorded, subject),
        )

    protects, rounds = trial.federation.defence, trial.federation.protocol.rounds
    return Scenario(subject, threat, conduct, [described(protects, rounds)] if protects else [])


def described(defence: Defence, rounds: int) -> schema.Defence:
    """A client-side defence for the report, with the epsilon of all rounds together where a bound holds.

    It is of whoever sees a client's updates, and of replacing all of that client's records: each update changes by
    at most twice its clipped length, and Gaussian noise composes exactly (Dong, Roth and Su 2022).
    """
    epsilon: schema.Measure = schema.Unmeasured(
        unmeasured="no_guarantee", needs="a defence with a differential-privacy accountant"
    )
    if defence.name == "gaussian" and defence.params["noise"] > 0:
        bound = gaussian_epsilon(2 * math.sqrt(rounds) / defence.params["noise"], DELTA)
        epsilon = schema.Estimate(
            metric="epsilon_upper",
            value=bound,
            low=bound,
            high=bound,
            level=1.0,
            method=f"gaussian mechanism over {rounds} rounds, delta {DELTA:g}",
            unit="client",
            n=rounds,
        )
    return schema.Defence(name=defence.name, params=dict(defence.params), epsilon=epsilon)
