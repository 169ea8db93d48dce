"""Parts that the federated scenarios share: models, attacks that fit, defences, and the prepared scenario."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from testbed.attacks.registry import Attack, attacks, find
from testbed.core import Claim, Cohort, ModelSpec, Position, Split
from testbed.core.defence import FEDERATED, Defence, check_where
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source
from testbed.defences import named, registry
from testbed.findings import schema
from testbed.findings.assemble import as_data_class, size_band
from testbed.findings.plan import UNAWARE, Plan
from testbed.findings.schema import Metric, Unit
from testbed.harness.cells import planned
from testbed.harness.federation import alarms, disguises, truth_file
from testbed.harness.federation.asked import kind_read
from testbed.harness.federation.assess import assess, at_hand, best_of
from testbed.harness.federation.facts import completed
from testbed.harness.federation.naive import meets, told
from testbed.harness.federation.pictures import sheets
from testbed.harness.federation.trial import Trial
from testbed.harness.outcome import Outcome
from testbed.harness.protected import reported
from testbed.harness.scenario import Scenario, is_own
from testbed.subjects.federation.federation import Federation

EVALUATIONS = "evaluations"
"""What attacks read that look at clients' answers to evaluations, and at no update."""


def by_a_curious_server(unit: Unit, attack: str = "analytic_linear", metric: Metric = "line_up_top1") -> Plan:
    """The plan of an attack by a server that only reads, for comparison with another position. It informs."""
    return planned(attack, metric=metric, unit=unit, target="by the server")


def mlp(source: Source, hidden: int) -> ModelSpec:
    """A fully connected network with one hidden layer, for this source."""
    return ModelSpec("mlp", {"shape": list(source.shape), "classes": source.classes, "hidden": [hidden]})


def cnn(source: Source) -> ModelSpec:
    """A small convolutional network for this source of pictures."""
    return ModelSpec("cnn", {"shape": list(source.shape), "classes": source.classes, "channels": [8, 16]})


def readers(position: str, knows: frozenset[str], claim: type[Claim], acting: bool = False) -> list[Attack]:
    """The attacks from this position that make this claim and are granted what they need, in the order of their rules.

    With `acting` they are the attacks that act in the federation, and else those that only read. Attacks on evaluations
    and queries are left out: few federations have any, and evaluations have a scenario of their own.
    """
    fitting = (a for a in attacks("transcript") if a.claim is claim and a.position == position)
    fitting = (a for a in fitting if kind_read(a) is None)
    granted = (a for a in fitting if a.needs <= knows and (a.act is not None) == acting)
    return sorted(granted, key=lambda a: a.rule)


def chosen(name: str, among: Sequence[Attack]) -> Attack:
    """The attack of this name, one of those listed or a user's own. Raises `UsageError` for any other."""
    if is_own(name):
        return find(name)
    by_name = {a.name: a for a in among}
    if name not in by_name:
        raise UsageError(
            "TB-SCENARIO-005",
            f"This scenario does not run the attack {name!r}.",
            "An attack must fit the scenario's position, its model, and the knowledge that its threat grants.",
            f"Use one of: {', '.join(by_name)}.",
        )
    return by_name[name]


def network(source: Source, attack: Attack, hidden: int = 32) -> ModelSpec:
    """The model that a scenario trains for this attack.

    It is fully connected if the attack reads a first linear layer, or if the records are no pictures. Else it is
    convolutional.
    """
    if attack.traits.get("suits") == "linear" or len(source.shape) != 3:
        return mlp(source, int(attack.traits.get("width", hidden)))
    return cnn(source)


NOISE = "gaussian"
"""The defence that a scenario uses if `noise` is given and no defence is named."""


def defended(text: str, noise: float, clip: float, data_class: str = "real") -> tuple[Defence, ...]:
    """The defences from a scenario's parameters, in the order in which they are applied; empty for none.

    `text` is as in `testbed.defences.named`. `noise` and `clip` belong to a single defence that is named without
    values; noise without a name means the Gaussian defence. On real people's records (`data_class`) noise is secret.

    Raises `UsageError` for noise that no defence uses, for a defence without the noise it needs, and for defences that
    do not go together.
    """
    text = NOISE if text == named.NONE and noise > 0 else text
    parts = named.split(text)
    alone = registry.find(parts[0][0]) if len(parts) == 1 and not parts[0][1] else None
    usual = None if alone is None else alone.defaults.get("noise")
    if (noise > 0 and usual is None) or (noise == 0 and usual is registry.REQUIRED):
        raise UsageError(
            "TB-SCENARIO-016",
            f"defence={text} and noise={noise:g} do not go together.",
            "A defence that adds noise needs noise above 0. Any other defence would ignore it.",
            f"Use defence={NOISE} (or none) with noise above 0, and else noise=0, with values as in {NOISE}:0.5.",
        )
    if alone is not None:
        given = {"noise": noise, "clip": clip} if noise > 0 else {}
        chosen: tuple[Defence, ...] = (alone(**{k: v for k, v in given.items() if k in alone.defaults}),)
    else:
        chosen = named.configured(text)
    _check_together(chosen)
    return tuple(replace(d, secret=data_class == "real") for d in chosen)


def _check_together(defences: tuple[Defence, ...]) -> None:
    """Raises `UsageError` if one defence needs another, works only without it, or works on no federation."""
    check_where(
        defences,
        FEDERATED,
        "a federation",
        "Use it with testbed run released_model, or testbed audit-model --defence.",
    )
    sums = [d.name for d in defences if d.where == "protocol"]
    for one in defences:
        if one.where == "message" and not sums:
            raise UsageError(
                "TB-SCENARIO-019",
                f"The defence {one.name} works only under secure aggregation.",
                "This federation has no secure aggregation, so there is nothing to unmask.",
                f"Use defence=secagg+{one.name}, or testbed run secure_aggregation -s check=true.",
            )
        if one.where == "server" and sums:
            raise UsageError(
                "TB-SCENARIO-036",
                f"The defences {one.name} and {sums[0]} do not go together.",
                f"{one.name} works on single updates. Under {sums[0]} the server has their sum alone.",
                "Use one of the two; clients themselves can clip and add noise (defence=secagg+gaussian:0.5).",
            )


def described(
    federation: Federation, records: int, position: Position, adaptive: bool = False, hides: bool = False
) -> list[schema.Defence]:
    """Each defence and guard for the report, with the proven epsilon of all rounds together, or unmeasured.

    `records` is the number of records of the smallest client. `position` is the attacker's; `adaptive` says whether the
    attack that decides knows the defence, and `hides` whether its server hides from the guards.
    """
    told = reported(federation.defences, federation.exposure(max(records, 1), position), adaptive)
    return [*told, *alarms.reported(federation.guards, hides)]


def about(
    source: Source, name: str, people: int, kind: Literal["federation", "model"] = "federation"
) -> schema.Subject:
    """The report's description of a subject made from this data set and this number of people."""
    return schema.Subject(
        type=kind,
        name=name,
        data_class=as_data_class(source.data_class),
        licence=source.licence,
        size_band=size_band(people),
    )


def prepared(
    source: Source,
    trial: Trial,
    sees: str,
    not_tested: list[str],
    beside: Trial | None = None,
    decides: str | None = None,
    differs: str = "",
) -> Scenario:
    """The scenario of a trial, with the facts for its report.

    `decides` is the rule of a new finding on the best of the trial's membership attacks, which then decides alone.
    `beside` is the same federation seen from another position. Its findings inform and do not decide. So do those of a
    malicious server that acts openly, where the one that decides hides from guards. `differs` says how the federation
    differs from a plain one.
    """
    protects, position = trial.federation, trial.threat.position
    trial = told_of_defences(trial)
    openly = _openly(trial)
    others = [*([openly] if openly else []), *([told_of_defences(beside)] if beside else [])]
    trial = replace(trial, hides=openly is not None)
    adaptive = any(p.primary and meets(find(p.attack), protects.defences, position) for p in trial.plans)
    if trial.federation.defences and not adaptive:
        not_tested = [*not_tested, "an attack that adapts to the defence"]
    subject = about(source, f"{source.title} ({trial.federation.protocol.kind}{differs})", len(trial.split.members))
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
        members = trial.split.members
        assert isinstance(members, Cohort)
        recorded = trial.record(engine, progress, store)
        assessed = assess(recorded, progress=progress)
        if decides is not None:
            assessed = best_of(assessed, trial.plans, decides, trial.federation.seed)
        found = assessed.findings
        if trial.threat.malicious and not trial.hides:
            found = alarms.unhidden(found, protects.guards)
        further = [assess(other.record(engine, progress, store), progress=progress) for other in others]
        described = {"subject": subject.model_dump(), "threat": threat.model_dump()}
        outcome = Outcome(
            [*found, *(f for other in further for f in other.findings)],
            {**assessed.evidence, **{key: rows for other in further for key, rows in other.evidence.items()}},
            truth_file.files(recorded, described),
            sheets(assessed.claims, recorded, subject),
        )
        return completed(outcome, source, members, protects, _fewest(trial.split), position)

    return Scenario(
        subject, threat, conduct, described(protects, _fewest(trial.split), position, adaptive, trial.hides)
    )


def told_of_defences(trial: Trial) -> Trial:
    """The trial with an attacker who knows the defences. An attack that adapts also runs without that knowledge.

    The second one informs: its difference is what a reader who never heard of the defence would have missed. Secure
    aggregation is left out before a client: it changes nothing of the models that a client is sent.
    """
    if not (trial.federation.defences or trial.federation.guards):
        return trial
    if trial.threat.position == "client":
        acting = tuple(d for d in trial.federation.defences if d.where not in ("protocol", "message"))
        trial = replace(trial, federation=replace(trial.federation, defences=acting))
    threat = replace(trial.threat, knows=trial.threat.knows | {"defence"})
    visible = any(d.bounds is not None for d in trial.federation.defences)
    unaware = [
        replace(p, primary=False, unaware=True, target=UNAWARE, variant="unaware")
        for p in trial.plans
        if visible and p.primary and told(find(p.attack))
    ]
    return replace(trial, threat=threat, plans=(*trial.plans, *unaware))


def _openly(trial: Trial) -> Trial | None:
    """The trial of the same malicious server that does not hide from the guards, where it could hide. It informs."""
    guards = [g for g in trial.federation.guards if g.side == "client"]
    if not (guards and trial.threat.malicious and trial.threat.position == "server"):
        return None
    plans = tuple(p for p in trial.plans if disguises.of(p.attack) is not None)
    open_ = tuple(replace(p, primary=False, target="that does not hide from guards", variant="open") for p in plans)
    return replace(trial, plans=open_) if open_ else None


def _fewest(split: Split) -> int:
    """The records of the client that has the fewest."""
    assert split.party is not None
    return int(np.bincount(split.party[split.party >= 0]).min())
