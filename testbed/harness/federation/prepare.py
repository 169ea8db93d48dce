"""Parts that the federated scenarios share: models, attacks that fit, defences, and the prepared scenario."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from testbed.attacks.registry import Attack, attacks, find
from testbed.core import Claim, ModelSpec
from testbed.core.defence import Defence
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source
from testbed.defences import registry
from testbed.findings import schema
from testbed.findings.assemble import as_data_class, size_band
from testbed.findings.plan import Plan
from testbed.findings.schema import Metric, Unit
from testbed.harness.cells import planned
from testbed.harness.federation import truth_file
from testbed.harness.federation.assess import assess, at_hand, best_of
from testbed.harness.federation.pictures import sheets
from testbed.harness.federation.trial import Trial
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, is_own


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

    With `acting` they are the attacks that act in the federation, and else those that only read.
    """
    fitting = (a for a in attacks("transcript") if a.claim is claim and a.position == position)
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


def defended(name: str, noise: float, clip: float, data_class: str = "real") -> Defence | None:
    """The defence from a scenario's parameters, or None. Noise without a name means the Gaussian defence.

    On real people's records (`data_class`) its noise is secret.

    Raises `UsageError` for noise that the defence does not use, for a defence without the noise it needs, and for one
    that works only under secure aggregation.
    """
    if name == "none" and noise == 0:
        return None
    found = registry.find(NOISE if name == "none" else name)  # stops at a misspelt name before anything is trained
    if ("noise" in found.defaults) != (noise > 0):
        raise UsageError(
            "TB-SCENARIO-016",
            f"defence={name} and noise={noise:g} do not go together.",
            "A defence that adds noise needs noise above 0. Any other defence would ignore it.",
            f"Use defence={NOISE} (or none) with noise above 0, and defences without noise with noise=0.",
        )
    if found.before_protocol:
        raise UsageError(
            "TB-SCENARIO-019",
            f"The defence {name} works only under secure aggregation.",
            "This federation has no secure aggregation, so there is nothing to unmask.",
            "Use testbed run secure_aggregation -s check=true.",
        )
    chosen = found(**{k: v for k, v in {"noise": noise, "clip": clip}.items() if k in found.defaults})
    return replace(chosen, secret=data_class == "real")


def described(defence: Defence, rounds: int) -> schema.Defence:
    """A client-side defence for the report, with the proven epsilon of all rounds together, or unmeasured."""
    guarantee = defence.guarantee(rounds)
    epsilon: schema.Measure = schema.Unmeasured(
        unmeasured="no_guarantee", needs="a defence with a differential-privacy accountant"
    )
    if guarantee is not None:
        epsilon = schema.Estimate(
            metric="epsilon_upper",
            value=guarantee.epsilon,
            low=guarantee.epsilon,
            high=guarantee.epsilon,
            level=1.0,
            method=guarantee.method,
            unit=guarantee.unit,
            n=rounds,
        )
    return schema.Defence(name=defence.name, params=dict(defence.params), epsilon=epsilon)


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
) -> Scenario:
    """The scenario of a trial, with the facts for its report.

    `decides` is the rule of a new finding on the best of the trial's membership attacks, which then decides alone.
    `beside` is the same federation seen from another position. Its findings inform and do not decide.
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
            truth_file.files(recorded, described),
            sheets(assessed.claims, recorded, subject),
        )

    protects, rounds = trial.federation.defence, trial.federation.protocol.rounds
    return Scenario(subject, threat, conduct, [described(protects, rounds)] if protects else [])
