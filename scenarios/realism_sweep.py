"""How much does gradient inversion owe to the setting it is shown in?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from testbed import models
from testbed.cli.script import main
from testbed.core import Array, Cohort, Evidence, ModelSpec, Protocol, Split, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source, source
from testbed.defences.gaussian import gaussian
from testbed.findings.schema import Finding, Series, Subject, ThreatModel
from testbed.harness.cells import planned
from testbed.harness.federation import truth_file
from testbed.harness.federation.assess import assess
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import about
from testbed.harness.federation.trial import Trial
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario
from testbed.models.ensemble import Training, train
from testbed.subjects.federation.federation import Federation

NOT_TESTED = ["secure aggregation", "a server that changes the model", "deeper networks"]
SEES = "every model that it sends to a client and every gradient, or new weights, that come back"
KNOWS = frozenset({"architecture", "auxiliary", "batch_size", "hyper_parameters"})
THREAT = ThreatModel(
    position="server", malicious=False, knows=sorted(KNOWS), access="white", sees=SEES, not_tested=NOT_TESTED
)
UNTRAINED = "as commonly shown"


@dataclass(frozen=True, slots=True)
class Setting:
    """One way in which a federation differs from the one that is commonly shown."""

    name: str
    batch: int = 4
    norm: str = "none"
    epochs: int = 0
    learning_rate: float = 0.1
    trained: bool = False
    labels: bool = False
    noise: float = 0.0
    attack: str = "cosine_tv"
    network: str = "cnn"
    optimizer: str = "sgd"
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


SETTINGS = (
    Setting(UNTRAINED),
    Setting("one record", batch=1),
    Setting("sixteen records", batch=16),
    Setting("labels known", labels=True),
    Setting("after training", trained=True),
    Setting("batch statistics", norm="batch"),
    Setting("8 steps at .01", epochs=8, learning_rate=0.01),
    Setting("8 steps at .1", epochs=8),
    Setting("8 steps at .1, unrolled", epochs=8, attack="fedavg_unrolling"),
    Setting("8 steps of Adam at .01", epochs=8, learning_rate=0.01, optimizer="adam"),
    Setting("noise", noise=0.003),
    Setting("a perceptron", network="mlp"),
    Setting("LeNet", network="lenet"),
    Setting("a vision transformer", network="vit"),
    Setting("batch statistics, others known", norm="batch", attack="see_through"),
)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The settings to run on this data; every figure stands on `batches` batches."""

    known: Source
    settings: list[Setting]
    subject: Subject
    batches: int
    iterations: int
    training_epochs: int
    seed: int

    def spec(self, setting: Setting) -> ModelSpec:
        arguments = {"shape": list(self.known.shape), "classes": self.known.classes}
        own = {"cnn": {"channels": [8, 16], "norm": setting.norm}, "vit": {"patch": 2}}
        return ModelSpec(setting.network, arguments | own.get(setting.network, {}))

    def trial(self, number: int, setting: Setting) -> Trial:
        """The attack in this setting, the sweep's `number`th."""
        clients = self.batches if setting.epochs else 4
        rounds = 1 if setting.epochs else -(-self.batches // clients)
        split = hospitals(self.known, clients, rounds * setting.batch, self.seed)
        plan = planned(
            setting.attack,
            metric="line_up_top1",
            unit="record" if setting.batch == 1 else "batch",
            primary=number == 1,
            params={"iterations": self.iterations, **setting.params},
            target=setting.name,
            variant=f"{number:02d}",
        )
        spec = self.spec(setting)
        start = _trained(spec, split, self.training_epochs, self.seed) if setting.trained else None
        protocol = Protocol(
            "fedavg" if setting.epochs else "fedsgd",
            setting.batch,
            max(1, setting.epochs),
            learning_rate=setting.learning_rate,
            optimizer=setting.optimizer,
            rounds=rounds,
            clients=clients,
        )
        protection = (gaussian(noise=setting.noise, clip=1.0),) if setting.noise else ()
        leaky = replace(protocol, batch_size=1, local_epochs=1, learning_rate=0.1)
        return Trial(
            split,
            Federation(spec, protocol, self.seed, protection, start=start),
            Threat("server", knows=KNOWS | {"labels"} if setting.labels else KNOWS),
            (plan,),
            positive=Leaky(Federation(self.spec(SETTINGS[0]), leaky, self.seed), members=clients * rounds),
        )

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """Every setting's findings, in order; the first has the chart of all."""
        findings: list[Finding] = []
        files: dict[str, bytes] = {}
        evidence: dict[str, Evidence] = {}
        for number, setting in enumerate(self.settings, 1):
            progress(f"setting: {setting.name}")
            recorded = self.trial(number, setting).record(engine, progress, store)
            made = assess(recorded, progress=progress)
            findings += made.findings
            evidence |= made.evidence
            if number == 1:
                told = {"subject": self.subject.model_dump(), "threat": THREAT.model_dump()}
                files = truth_file.files(recorded, told)
        findings[0] = findings[0].model_copy(update={"series": [*findings[0].series, _chart(self.settings, evidence)]})
        return Outcome(findings, evidence, files)


@scenario(question="How much does gradient inversion owe to the setting in which it is shown?")
def realism_sweep(
    data: str = "digits",
    batches: int = 20,
    iterations: int = 150,
    training_epochs: int = 60,
    only: str = "",
    seed: int = 0,
) -> Scenario:
    """The same attack in the setting that papers show, and with one thing changed at a time, in one report.

    A small convolutional network, four records a batch, untrained, no normalisation, one gradient (FedSGD), classes
    counted from the last layer; then other batch sizes, known labels, a model trained beforehand, normalisation by
    the batch's own statistics, local training in several steps (FedAvg, with and without unrolling), noise, other
    networks, and normalisation once more with other people's statistics as a hint. Every figure stands on `batches`
    batches. `only` names settings to run, separated by semicolons.
    """
    known = source(data)
    wanted = [s.strip() for s in only.split(";") if s.strip()]
    chosen = [s for s in SETTINGS if not wanted or s.name in wanted]
    if len(known.shape) != 3 or (wanted and len(chosen) < len(wanted)):
        raise UsageError(
            "TB-SCENARIO-009",
            "There is nothing to sweep over.",
            "The sweep needs pictures, and settings that it has.",
            f"Use digits, mnist5k or crops, and some of: {'; '.join(s.name for s in SETTINGS)}.",
        )

    subject = about(known, f"{known.title} ({len(chosen)} settings)", 4 * batches)
    sweep = Sweep(known, chosen, subject, batches, iterations, training_epochs, seed)
    return Scenario(subject, THREAT, sweep.conduct, [])


def _trained(spec: ModelSpec, split: Split, epochs: int, seed: int) -> dict[str, Array]:
    """The model after `epochs` of training on the attacker's own records, as a federation's later rounds have it."""
    people = split.auxiliary
    assert isinstance(people, Cohort)
    rules = Training(epochs=epochs, batch_size=32, learning_rate=0.05, momentum=0.9)
    everybody = np.ones((1, len(people)), bool)
    made = train(lambda: models.build(spec, seed), people.x, people.y, everybody, rules, seed)
    return {name: v[0].detach().numpy().copy() for name, v in made.parameters.items()}


def _chart(settings: list[Setting], evidence: Mapping[str, Evidence]) -> Series:
    """Each setting's median PSNR, between the quartiles of its records."""
    cells = [e.cell("true", "used").score for e in evidence.values()]
    low, middle, high = (([float(np.quantile(c, q)) for c in cells]) for q in (0.25, 0.5, 0.75))
    return Series(
        name="Median PSNR, one thing changed at a time",
        kind="bars",
        x_label="PSNR in dB, and its quartiles over records",
        y_label="settings",
        labels=[s.name for s in settings],
        x=middle,
        low=low,
        high=high,
    )


if __name__ == "__main__":
    main(realism_sweep)
