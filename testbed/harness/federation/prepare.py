"""What the federated scenarios share: people divided, a federation prepared, its outcome for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """What a server that only reads would reach, to set another position beside; it informs."""
    return planned(attack, metric=metric, unit=unit, target="by the server")


def mlp(source: Source, hidden: int) -> ModelSpec:
    return ModelSpec("mlp", {"shape": list(source.shape), "classes": source.classes, "hidden": [hidden]})


def cnn(source: Source) -> ModelSpec:
    return ModelSpec("cnn", {"shape": list(source.shape), "classes": source.classes, "channels": [8, 16]})


def readers(position: str, knows: frozenset[str], claim: type[Claim], acting: bool = False) -> list[Attack]:
    """The attacks on a federation from this position that make this claim and are granted what they need, by rule.

    Those that act where `acting`, and else those that only read.
    """
    fitting = (a for a in attacks("transcript") if a.claim is claim and a.position == position)
    granted = (a for a in fitting if a.needs <= knows and (a.act is not None) == acting)
    return sorted(granted, key=lambda a: a.rule)


def chosen(name: str, among: Sequence[Attack]) -> Attack:
    """The attack of that name, a user's own one or one of those. Raises `UsageError` for any other."""
    if is_own(name):
        return find(name)
    by_name = {a.name: a for a in among}
    if name not in by_name:
        raise UsageError(
            "TB-SCENARIO-005",
            f"This scenario does not run the attack {name!r}.",
            "An attack must fit the scenario's position, its model, and what its threat grants.",
            f"Use one of: {', '.join(by_name)}.",
        )
    return by_name[name]


def network(source: Source, attack: Attack, hidden: int = 32) -> ModelSpec:
    """The model that a scenario trains for this attack: fully connected where it reads a first linear layer or the
    people are no pictures, else convolutional."""
    if attack.traits.get("suits") == "linear" or len(source.shape) != 3:
        return mlp(source, int(attack.traits.get("width", hidden)))
    return cnn(source)


NOISE = "gaussian"
"""The defence that a scenario's `noise` asks for where no defence is named."""


def defended(name: str, noise: float, clip: float) -> Defence | None:
    """The defence of a scenario's parameters; noise asks for the Gaussian one. Raises `UsageError` for an idle one."""
    if name == "none" and noise == 0:
        return None
    found = registry.find(NOISE if name == "none" else name)  # a misspelt one stops here, before anything is trained
    if ("noise" in found.defaults) != (noise > 0):
        raise UsageError(
            "TB-SCENARIO-016",
            f"defence={name} and noise={noise:g} do not go together.",
            "A defence that adds noise needs some, and another one takes none; a report lists nothing that is idle.",
            f"Use defence={NOISE} (or none) with noise above 0, and defences without noise with noise=0.",
        )
    if found.before_protocol:
        raise UsageError(
            "TB-SCENARIO-019",
            f"{name} answers under secure aggregation alone.",
            "There is no unmasking in this federation.",
            "Use testbed run secure_aggregation -s check=true.",
        )
    return found(**{k: v for k, v in {"noise": noise, "clip": clip}.items() if k in found.defaults})


def described(defence: Defence, rounds: int) -> schema.Defence:
    """A client-side defence for the report, with the epsilon of all rounds together where one is proven."""
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
    """What a report says of a subject made from this data set, of so many people."""
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
            truth_file.files(recorded, described),
            sheets(assessed.claims, recorded, subject),
        )

    protects, rounds = trial.federation.defence, trial.federation.protocol.rounds
    return Scenario(subject, threat, conduct, [described(protects, rounds)] if protects else [])
