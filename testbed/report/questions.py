# pyright: strict
"""The questions of a dossier, each with what the findings say: tested, not tested, or not testable. No conclusion.

Sources: EDPB Opinion 28/2024 on AI models, WP216 (Opinion 05/2014 of the Article 29 Working Party) for tables, and EDPS
TechDispatch 1/2025 for what the updates of a federation give away. The questions are in our own words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate, Finding, Result
from testbed.findings.wording import GROUPS, RARE_VALUES, WHICH_CLIENT, WHICH_HOSPITAL

Status = Literal["tested", "not tested", "not testable"]
SHOWN = 5
"""So many findings of an item are shown with their numbers; of the rest the ids."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its risks, which findings of these count, and what to say where it cannot be tested."""

    text: str
    source: str
    risks: tuple[str, ...]
    only: Callable[[Finding, Result], bool] = lambda _finding, _result: True
    untestable: str = ""
    missing: str = "no attack of this run asks it"
    per_risk: bool = False
    """Whether one finding of each risk is shown, since other questions show the rest."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with its status, the findings shown, the ids of the others, and the reason or a remark."""

    id: str
    question: Question
    status: Status
    findings: tuple[Finding, ...]
    others: tuple[str, ...]
    reason: str


def _white(finding: Finding, result: Result) -> bool:
    return result.threat.access == "white" or finding.risk == "structure"


def _asked(finding: Finding, result: Result) -> bool:
    return result.threat.access != "white" and finding.risk != "structure"


def of_group(finding: Finding, _: Result | None = None) -> bool:
    """Whether the finding is about a group of people, such as outliers, a class, or those at risk."""
    target = finding.target or ""
    by_group = target in GROUPS or target.startswith((RARE_VALUES, "class ")) or finding.adjusted_p is not None
    return by_group or finding.attack.name == "records_at_risk"


def _of_records(finding: Finding, _: Result) -> bool:
    return not _of_clients(finding, _)


def _of_clients(finding: Finding, _: Result) -> bool:
    return finding.target == WHICH_CLIENT or (finding.target or "").startswith(WHICH_HOSPITAL)


PEOPLE = ("membership", "attribute_inference", "reconstruction", "class_inversion", "singling_out", "linkability")
OPINION, WP216, FEDERATED = "EDPB 28/2024", "WP216", "EDPS TechDispatch 1/2025"
MEANS = "which means are reasonably likely is for a person to judge; what the attackers knew is listed in part 1"
STRUCTURE_ALONE = (
    "no attacker had the model's inside. What its structure shows without an attack is listed; it informs and does not "
    "decide"
)
UNABLE = {"positive_control_failed", "model_knows_nothing"}
"""Flags of a finding that says nothing either way: its attack could not have found a leak."""
COULD_NOT = "attacks were run, but they could not have found a leak here, so their numbers show nothing either way"
INFORMS = "no finding of this item was declared to decide; its numbers inform"
MEANINGLESS = "the question has no meaning for this subject"
GROUPED = Question(
    "Does it hold for every person, also for the worst-off group?",
    OPINION,
    PEOPLE,
    of_group,
    missing="no finding of this run is about a group",
)
CLAIM = Question(
    "Does a claimed epsilon hold, and is it small enough to mean something?",
    OPINION,
    ("epsilon",),
    missing="no epsilon was audited",
)
MODEL = (
    Question(
        "Direct extraction: can data about people be taken out of the model itself?",
        OPINION,
        (*PEOPLE, "copying", "property", "structure"),
        _white,
        missing="the attackers had no access to the model's inside",
        per_risk=True,
    ),
    Question(
        "Through queries: can data about people be obtained from the model's answers?",
        OPINION,
        PEOPLE,
        _asked,
        missing="the attackers saw more than answers",
        per_risk=True,
    ),
    Question("Membership inference: who was in the training data?", OPINION, ("membership",)),
    Question("Attribute inference: what else is true of a person?", OPINION, ("attribute_inference",)),
    Question(
        "Regurgitation: does it repeat training records?",
        OPINION,
        ("copying",),
        untestable="it answers with classes or numbers, and has no text or picture to repeat",
    ),
    Question("Model inversion: what does a member of a class look like?", OPINION, ("class_inversion",)),
    Question("Reconstruction: can whole records be reconstructed?", OPINION, ("reconstruction",)),
    Question("Exfiltration: can the model itself be copied by asking it?", OPINION, ("extraction",)),
    Question("What do groups of people give away together?", OPINION, ("property",)),
    GROUPED,
    CLAIM,
    Question("With all means reasonably likely to be used?", OPINION, (), untestable=MEANS),
)
RELEASE = (
    Question("Singling out: is one person isolated by what is released?", WP216, ("singling_out",)),
    Question("Linkability: can two records of one person be linked?", WP216, ("linkability",)),
    Question("Inference: can a value be deduced about a person?", WP216, ("attribute_inference",)),
    Question("Do people of the original stand in the release?", WP216, ("copying",)),
    Question("Can it be known who was in the original?", OPINION, ("membership",)),
    GROUPED,
    CLAIM,
    Question("With all means reasonably likely to be used?", WP216, (), untestable=MEANS),
)
FEDERATION = (
    Question("Can records be reconstructed from what parties send?", FEDERATED, ("reconstruction",)),
    Question("Can it be known whose records were used?", FEDERATED, ("membership",), _of_records),
    Question("Can it be known at which party a person's record lies?", FEDERATED, ("membership",), _of_clients),
    Question("What do a party's people give away together?", FEDERATED, ("property",)),
    Question("What does a member of a class look like?", FEDERATED, ("class_inversion",)),
    Question("Attribute inference: what else is true of a person?", OPINION, ("attribute_inference",)),
    Question(
        "Singling out and linkability in what is released at the end?",
        WP216,
        ("singling_out", "linkability", "copying"),
    ),
    GROUPED,
    CLAIM,
    Question(
        "Which parties could put together what they see?",
        FEDERATED,
        (),
        untestable="the run holds one attacker's view; who could collude is asked in the form",
    ),
    Question(
        "The model that results: what does it give away to its users?",
        OPINION,
        (),
        untestable="this run is about the training; run testbed audit-model on the model, and make its dossier",
    ),
    Question("With all means reasonably likely to be used?", OPINION, (), untestable=MEANS),
)
LISTS = {
    "model": ("M", MODEL),
    "synthetic_table": ("R", RELEASE),
    "federation": ("F", FEDERATION),
    "transcript": ("F", FEDERATION),
}
"""The letter of the questions' ids and the questions, by the type of subject."""


def answered(result: Result) -> list[Answered]:
    """All questions for this subject, answered from the findings. Raises `UsageError` for an exercise."""
    if result.subject.type not in LISTS:
        raise UsageError(
            "TB-FACTS-002",
            "There is no dossier of an exercise.",
            "A dossier is about a model, a release or a federation.",
            "Name the run of one of these.",
        )
    letter, questions = LISTS[result.subject.type]
    return [_answer(q, f"{letter}{i}", result) for i, q in enumerate(questions, 1)]


def _answer(question: Question, number: str, result: Result) -> Answered:
    found = [f for f in result.findings if f.risk in question.risks and question.only(f, result)]
    measured = sorted((f for f in found if isinstance(f.measure, Estimate)), key=_rank)
    first = tuple(_firsts(measured) if question.per_risk else measured[:SHOWN])
    others = _ids([f for f in measured if f not in first])
    if measured and all(f.risk == "structure" for f in measured):
        return Answered(number, question, "not tested", first, others, STRUCTURE_ALONE)
    deciding = [f for f in measured if f.primary] or measured
    if measured and all(UNABLE & set(f.validity.flags) for f in deciding):
        return Answered(number, question, "not tested", first, others, COULD_NOT)
    if measured:
        return Answered(number, question, "tested", first, others, "" if deciding[0].primary else INFORMS)
    needs = [f.measure for f in found if not isinstance(f.measure, Estimate)]
    needed = [m.needs for m in needs if m.unmeasured != "not_applicable"]
    if needed:
        return Answered(number, question, "not tested", (), _ids(found), f"what is needed: {needed[0]}")
    if found or question.untestable:
        return Answered(number, question, "not testable", (), _ids(found), question.untestable or MEANINGLESS)
    return Answered(number, question, "not tested", (), (), question.missing)


def _rank(finding: Finding) -> tuple[bool, bool]:
    """Findings that decide come first, areas under a curve last."""
    return not finding.primary, getattr(finding.measure, "metric", "") == "auc"


def _firsts(findings: Sequence[Finding]) -> list[Finding]:
    """The first finding of each risk; of structure all, which no other question shows."""
    risks = [f.risk for f in findings]
    return [f for i, f in enumerate(findings) if f.risk == "structure" or f.risk not in risks[:i]]


def _ids(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f.rule for f in findings))


@dataclass(frozen=True, slots=True)
class Remaining:
    """One risk as a line of the table of remaining risks: the finding that decides, or the first that informs."""

    finding: Finding
    ids: tuple[str, ...]


def remaining(result: Result) -> list[Remaining]:
    """One line a risk, for DPIA step 5: findings that decide come first, the gravest verdict at the top."""
    gravity = {"fail": 0, "review": 1, "none": 2, "pass": 3}
    chosen: dict[str, Finding] = {}
    for f in sorted(result.findings, key=lambda f: (not f.primary, gravity[f.verdict])):
        if f.primary or isinstance(f.excess, Estimate):
            chosen.setdefault(f.risk, f)
    lines = [Remaining(f, _ids([o for o in result.findings if o.risk == f.risk])) for f in chosen.values()]
    return sorted(lines, key=lambda line: (not line.finding.primary, gravity[line.finding.verdict]))
