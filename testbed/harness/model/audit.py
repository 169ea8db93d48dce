"""The audit of a released model: what it reveals about the people it was trained on, as one decided result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pandas as pd

from testbed.attacks.registry import fitting, not_granted
from testbed.core import Evidence, Joint, Opened, Predictor, Regressor, Survivor, Threat, Unavailable
from testbed.core.defence import Exposure
from testbed.core.disclosure import People
from testbed.defences import named
from testbed.findings import measures, statistics
from testbed.findings import policy as policy_
from testbed.findings.assemble import as_data_class, assemble, size_band
from testbed.findings.schema import Result, ThreatModel, Utility
from testbed.findings.schema import Subject as Described
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options, knowledge, recipient
from testbed.harness.model.worth import worth
from testbed.harness.protected import reported
from testbed.subjects.predictors.subject import Subject

QUESTION = "What does this model reveal about the people it was trained on, to anybody who may ask it?"
SEES = "the class probabilities that the model gives for records of the attacker's choice"
SEES_INSIDE = SEES + ", and its gradients for them: its weights are released"
SEES_CURVES = "the model's survival curve at {} given times for records of the attacker's choice, and their outcomes"
SEES_LABELS = "the probabilities that the model gives for {} labels at once, and the true labels"
SEES_NUMBERS = "the number that the model predicts for records of the attacker's choice, and their true number"
KNOWS_HALF = "; the attacker who learns from answers also knows the membership of half of the people asked about"
NOT_TESTED = ["the reconstruction of records from the model's parameters"]
NOT_OF_CURVES = "attackers who ask for the curve at other times, or who read the file: its steps may be people's times"
NOT_OF_OTHERS = [
    "a stolen copy of the model",
    "attacks with noisy copies of records, with the course of training, or with rough knowledge of records",
]
ELSEWHERE = "whether the shadow models, which were trained elsewhere, were trained as the audited model was"
NOT_ADAPTIVE = "attackers who train models under the same defence"
NOT_QUICKLY = "all attacks and checks that only inform, because of --quick"
MORE_THAN = "attackers who get more of the model's answers than the table holds: {}"
FINER = "what finer answers show: {}"
LABELS = "attackers who know the true labels, which the table does not hold"
OTHERS = "all other attacks, because {} was run alone"
UNTRAINED = "attackers who train models of this kind themselves (a torch module needs --epochs for this)"


def _shadows(subject: Subject, shadows: int) -> int | None:
    if subject.recipe is None:
        return None
    return len(getattr(subject.recipe, "included", ())) or shadows


RIGHT: dict[type[Predictor], str] = {
    Regressor: "predictions within the usual error",
    Joint: "people whose true classes have a mean probability above one half",
    Survivor: "outcomes that the model fits better than one curve for everybody",
}
"""When a model that predicts no classes counts as right."""


def _sees(model: Predictor) -> str:
    if isinstance(model, Survivor):
        return SEES_CURVES.format(len(model.times))
    if isinstance(model, Joint):
        return SEES_LABELS.format(model.labels)
    if isinstance(model, Opened):
        return SEES_INSIDE
    return SEES_NUMBERS if isinstance(model, Regressor) else SEES


def accuracies(subject: Subject) -> list[Utility]:
    """How often the model is right about members and about controls: a model that knows nothing gives nobody away.

    For a model that predicts a number: how often its error is at most its usual one. For one of survival times: how
    often it fits the outcome better than one curve for everybody. Of a defended model also the
    accuracy and the AUC with its defences and without.
    """
    what = RIGHT.get(type(subject.model), "accuracy")
    made: list[Utility] = []
    if subject.protection is not None and not subject.model.held:
        text = named.text_of(subject.protection.defences)
        both = {f"with {text}": subject.model, "without a defence": subject.protection.bare}
        made += worth(both, subject.controls, "controls")
    for name, group in (("members", subject.members), ("controls", subject.controls)):
        try:
            right = subject.model.ask(group).argmax(1) == group.y
        except Unavailable:  # if the budget of queries is spent
            continue
        share = statistics.proportion(right.astype(float), group.persons)
        made.append(Utility(name=f"{what}, {name}", measure=measures.estimate("rate", share, "record")))
    return made


def _untested(subject: Subject, threat: Threat, attack: str | None, quick: bool) -> list[str]:
    """What this audit leaves out, for the report."""
    made = [*NOT_TESTED, *(NOT_OF_OTHERS if subject.model.held else [])]
    made += [NOT_OF_CURVES] if isinstance(subject.model, Survivor) else []
    made += [UNTRAINED] if subject.recipe is None else []
    made += not_granted("model", threat) if attack is None else [OTHERS.format(attack)]
    made += [NOT_QUICKLY] if quick else []
    made += [NOT_ADAPTIVE] if subject.protection is not None and subject.recipe is None else []
    made += [ELSEWHERE] if hasattr(subject.recipe, "shadows_of") else []
    made += [MORE_THAN.format(told) for told in [subject.notes.get("answers")] if told]
    made += [FINER.format(told) for told in [subject.notes.get("precision")] if told]
    return made + ([LABELS] if "labels" in subject.notes else [])


def audit_model(
    subject: Subject,
    frames: Sequence[pd.DataFrame],
    *,
    name: str = "model",
    person: str | None = None,
    data_class: str = "real",
    licence: str = "not stated",
    shadows: int = 16,
    quick: bool = False,
    secrets: Sequence[str] = (),
    attack: str | None = None,
    policy: policy_.Policy | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Result, dict[str, Evidence], People]:
    """The result of all attacks on a model, their evidence, and the people whom nothing shared may quote.

    A policy decides: the built-in example, unless one is given. `frames` are the tables of these people. `attack` names
    one attack to run alone, also in a `quick` audit; nothing then decides. Its parameters are the options of
    audit-model.
    """
    started = time.monotonic()
    chosen = policy or policy_.load()
    if attack is not None:
        attack = fitting("model", knowledge(subject), attack)[0].name
    quick = quick and attack is None  # a named attack runs, also if it may not decide
    limit = chosen.limits.get("membership")
    options = Options(shadows, secrets, chosen.min_cell, seed, quick, quick, attack, limit)
    if quick:
        progress("--quick leaves out what only informs, and that may turn a PASS of the whole audit into REVIEW")
    found, evidence = examine(subject, options, progress)
    threat = recipient(subject)
    defences = () if subject.protection is None else subject.protection.defences
    adaptive = subject.recipe is not None
    result = assemble(
        command="audit-model",
        scenario="audit-model",
        question=QUESTION,
        engine="none",
        seed=seed,
        params={
            "shadows": _shadows(subject, shadows),
            "reference": subject.others is not None,
            **({"forgotten": True} if subject.removed is not None else {}),
            **({"queries": subject.asked()} if subject.asked else {}),
            **({"attack": attack} if attack else {}),
            **subject.notes,
        },
        started=started,
        subject=Described(
            type="model",
            name=name,
            data_class=as_data_class(data_class),
            licence=licence,
            size_band=size_band(len(subject.members)),
        ),
        threat=ThreatModel(
            position="recipient",
            malicious=False,
            knows=sorted(threat.knows),
            access=threat.access,
            sees=_sees(subject.model) + KNOWS_HALF,
            not_tested=_untested(subject, threat, attack, quick),
        ),
        findings=found,
        policy=chosen,
        utility=accuracies(subject),
        defences=reported(defences, Exposure(position="recipient"), adaptive),
    )
    return result, evidence, People(list(frames), person)
