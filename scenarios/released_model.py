"""What does a released model give away about its people, under this defence, and what does the defence cost?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.cli.script import main
from testbed.core import Cohort, ModelSpec, Split
from testbed.core.defence import Defence, check_where
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng, private_rng
from testbed.data.cohorts import divide, source
from testbed.defences import named
from testbed.findings.assemble import as_data_class, size_band
from testbed.findings.schema import Subject as Described
from testbed.findings.schema import ThreatModel
from testbed.harness.model.defended import chosen_defences, protected
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.harness.model.worth import worth
from testbed.harness.outcome import Outcome
from testbed.harness.protected import reported
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.predictors.subject import Subject
from testbed.subjects.predictors.trained import Schedule, Trains, training

GROUPS = ("members", "controls", "others", "outside", "tested")
"""Disjoint groups of people: the first three are the audit's, `outside` is the owner's, and `tested` is nobody's."""
SEES = "the class probabilities that the model answers, under its defence, for records of the attacker's choice"
NOT_TESTED = [
    "the model's file: who has it asks without a defence of its answers",
    "attribute inference, class inversion and stealing (testbed audit-model runs them)",
]


@dataclass(frozen=True, slots=True)
class Audit:
    """A network trained under defences on these `groups` of people, and how it is audited."""

    groups: Mapping[str, Cohort]
    spec: ModelSpec
    schedule: Schedule
    defences: tuple[Defence, ...]
    options: Options
    data_class: str

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """The findings on the defended model, and the utility of the model with its defences and without."""
        members, controls, others, outside, tested = (self.groups[name] for name in GROUPS)
        defences, seed = self.defences, self.options.seed
        progress("the model")
        plain = training(self.spec, self.schedule, ())
        fit = training(self.spec, self.schedule, [d for d in defences if d.where == "training"])
        for one in defences:
            if one.where == "pipeline":
                fit = one.build(seed)(fit, outside)
        undefended = plain(members, keyed_rng(seed, "training"))
        trained = any(d.where in ("training", "pipeline") for d in defences)
        model = fit(members, private_rng(seed, self.data_class, "training")) if trained else undefended
        recipe = Trains(fit)
        subject = Subject(model, Split(members, controls, others), recipe)
        both = {"without a defence": undefended}
        if defences:
            subject = protected(subject, defences, Trains(plain) if trained else recipe, seed, outside)
            both[f"with {named.text_of(defences)}"] = subject.model
        found, evidence = examine(subject, self.options, progress)
        return Outcome(found, evidence, utility=worth(both, tested, "people nobody trained on"))


@scenario(question="What does a released model give away under this defence, at what cost?", position="recipient")
def released_model(
    data: str = "digits",
    people: int = 300,
    hidden: int = 64,
    epochs: int = 30,
    batch: int = 32,
    learning_rate: float = 0.05,
    shadows: int = 8,
    defence: str = "none",
    seed: int = 0,
) -> Scenario:
    """A network with one hidden layer is trained on `people` members, under the defence, and audited for membership.

    Attackers train `shadows` models under the same defence, behind the same masks. The same attacks with undefended
    models stand beside. There are five groups of `people`, or of a fifth of the data set if this is fewer. Utility is
    told on people whom neither owner nor attacker holds. `batch` and `epochs` are those of the training.
    """
    known = source(data)
    defences = chosen_defences(defence, known.data_class)
    check_where(
        defences,
        ("answers", "queries", "training", "pipeline"),
        "a released model",
        "Use it with a scenario of a federation, such as curious_server.",
    )
    size = min(people, len(set(known.people.persons.tolist())) // len(GROUPS))
    if size < 40 or shadows < 4 or shadows % 2:
        raise UsageError(
            "TB-SCENARIO-041",
            "With these parameters no model can be audited.",
            "It needs five groups of 40 people or more, and an even number of shadows, 4 or more.",
            "For example -s people=200 -s shadows=8, on a data set with 200 people or more.",
        )
    rows = divide(known.people, dict.fromkeys(GROUPS, size), keyed_rng(seed, "released model"))
    groups = {name: known.people.take(rows[name]) for name in GROUPS}
    spec = ModelSpec("mlp", {"shape": list(known.shape), "classes": known.classes, "hidden": [hidden]})
    schedule = Schedule(epochs, batch, learning_rate)
    options = Options(shadows, seed=seed, deciding_only=True, quick=True)
    audit = Audit(groups, spec, schedule, defences, options, known.data_class)
    knows = ["auxiliary", "queries", "recipe", "some_memberships", "target_records", *(["defence"] if defences else [])]
    return Scenario(
        Described(
            type="model",
            name=f"{known.title}, a network",
            data_class=as_data_class(known.data_class),
            licence=known.licence,
            size_band=size_band(len(groups["members"])),
        ),
        ThreatModel(
            position="recipient",
            malicious=False,
            knows=sorted(knows),
            access="score",
            sees=SEES,
            not_tested=NOT_TESTED,
        ),
        audit.conduct,
        reported(defences, schedule.exposure(len(groups["members"])), adaptive=True),
        engines=("none",),
    )


if __name__ == "__main__":
    main(released_model)
