# pyright: strict
"""What to do about each reason of a decision on a release: the columns, and the smallest change worth trying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from testbed.findings import statistics
from testbed.findings.policy import ENOUGH_CONTROLS
from testbed.findings.schema import Decision, Estimate, Finding, Limit, Reason, TableColumn
from testbed.findings.statistics import Interval, Precision
from testbed.findings.validity import FEW_GUESSES

DO, COLUMNS, TRY = " What to do: ", " Columns: ", " Worth trying first: "
"""How the parts of a reason's text begin that follow what was found."""
NAMED = 5
"""Most columns that are named for one reason."""
FEW_COLUMNS = 3
"""Up to so many columns above a limit, they are the cause; more are a sign that whole rows are given away."""
MOST_TIMES = 20
"""If a test needs more than so many times the guesses, more people will hardly settle it."""
HALVINGS = 20
UNDECIDED = "could not be decided"
"""What a reason says of membership beside a control that is too small."""

ENOUGH_IN_ALL = 2 * ENOUGH_CONTROLS, 2 * FEW_GUESSES
"""People in all tables together from which on a control that decides membership too, and one that lets anything pass,
leaves at least half of them for the original."""
PLANNED = "testbed evaluate --plan says what that would catch"
HOLD_OUT = (
    f"hold out {ENOUGH_CONTROLS:,} people before synthesising (testbed split): they decide membership too; {PLANNED}",
    f"hold out {FEW_GUESSES} people or more before synthesising (testbed split); {PLANNED}",
    (
        f"numbers cannot decide on so few people, as a control of {FEW_GUESSES} would take most of them. Pool them "
        "with other registries, coarsen the table to counts, or let a person decide on access in a secure environment"
    ),
)
"""What to do about the control of a large table, of a smaller one, and of one that is too small for any to pass."""
FEW_FOR_MEMBERSHIP = (
    f"let a person judge whether members may be recognised: original and control are too few to hold out "
    f"{ENOUGH_CONTROLS:,} people and keep as many"
)

BY_FLAG = {
    "no_control": HOLD_OUT[1],
    "small_control": HOLD_OUT[1],
    "few_guesses": "give 200 people or more in original and control",
    "copied": "stop the generator from repeating its input: no sampling of rows, trees with 50 rows a leaf, fewer "
    "epochs. Taking out the copied rows alone leaves rows that are nearly copies",
    "near_copies": "trees with 50 rows a leaf, fewer epochs, or a differentially private generator",
    "near_copies_suspected": "synthesise once more with another seed of the generator; if rows come near single people "
    "again, it is no accident",
    "part_copied": "draw these columns by the generator as well; if they must stay, write ages in bands, and "
    "months and districts",
    "copies_suspected": "look at the released rows that stand in the original; one rare person is enough to stop",
    "control_in_release": "synthesise from the file original.* that testbed split wrote, and from nothing else",
    "control_overlap": "split once more by person (testbed split --person COLUMN), and synthesise again",
    "control_shift": "split the people at random (testbed split); a control of another year or ward is no control",
    "negative_excess": "evaluate once more with a control drawn at random from the same people",
    "kind_in_doubt": "one line in the meta file: columns: {{{0}: categorical}} if it holds codes (403-05, I21.9), or "
    "{{{0}: numeric}} if each value is one quantity",
    "units_differ": "write these columns in the original's unit",
    "numbers_apart": "compare a few released numbers of these columns with the original's: another unit or code",
    "categories_unknown": "map the released spelling to the original's in the meta file (map)",
    "identifiers_present": "leave these columns out of the release",
    "positive_control_weak": "give a control of at least a tenth of the original's size",
    "positive_control_failed": "give twice as many people",
    "few_formed": "let a person judge how many people share each row: hardly anybody seems to be unique",
}
"""The smallest change worth trying for each flag; {0} is a column's name. `_for_people` says more where it knows how
many people and rows there are."""


LEAKS = ("identifiers_present", "copied", "near_copies", "part_copied")
"""Flags that name a leak. Beside a FAIL only these are advised on: a doubt about a column changes no leak."""


class People(NamedTuple):
    """How many people original and control hold, and how many rows the release: 0 where a result does not say so."""

    original: int = 0
    control: int = 0
    released: int = 0

    @staticmethod
    def of(findings: Sequence[Finding]) -> People:
        """As the copy rule and linkability counted them."""
        copied = next((f for f in findings if f.attack.name == "copied_rows"), None)
        linked = next((f for f in findings if f.attack.name == "linkability"), None)
        measured = (copied and copied.measure, copied and copied.control, linked and linked.baseline)
        return People(*(m.n if isinstance(m, Estimate) else 0 for m in measured))


class Parts(NamedTuple):
    """A reason's text in its parts; the last three are empty where a reason needs nothing done."""

    found: str
    to_do: str
    columns: str
    worth_trying: str


def parts(text: str) -> Parts:
    """What was found, what to do, the columns, and the smallest change worth trying, of a reason's text."""
    rest, found = text, ["", "", ""]
    for i, begin in reversed(list(enumerate((DO, COLUMNS, TRY)))):
        rest, _, found[i] = rest.rpartition(begin) if begin in rest else (rest, "", "")
    return Parts(rest, *found)


def advised(decision: Decision, findings: Sequence[Finding], table: Sequence[TableColumn]) -> Decision:
    """The decision on a release, whose reasons also name the columns and the smallest change worth trying."""
    by_rule = {f.rule: f for f in reversed(findings)}
    reasons = [
        _advised(r, by_rule[r.rule], findings, table) if r.rule in by_rule and r.verdict in ("fail", "review") else r
        for r in decision.reasons
    ]
    return decision.model_copy(update={"reasons": reasons})


def _advised(reason: Reason, finding: Finding, findings: Sequence[Finding], table: Sequence[TableColumn]) -> Reason:
    copied = any({"copied", "near_copies"} & set(f.validity.flags) for f in findings if f.primary)
    exposed = _exposed(finding, findings, {c.name for c in table})
    flags = [f for f in BY_FLAG if f in finding.validity.flags]
    if reason.verdict == "fail":
        flags = [f for f in LEAKS if f in flags]
    elif not finding.primary:
        flags = []
    columns = list(dict.fromkeys(c.name for c in table for f in flags if f in c.flags))
    if not columns and "identifiers_present" in flags and finding.target:
        columns = finding.target.split(", ")
    if not columns and finding.risk in ("attribute_inference", "linkability", "singling_out", "membership"):
        columns = [finding.target] if not finding.primary and finding.target in exposed else exposed
    undecided = not finding.primary and finding.risk == "membership" and UNDECIDED in reason.text
    people = People.of(findings)
    if undecided:
        to_try = _for_membership(people)
    elif finding.primary and flags:
        to_try = _for_people(flags[0], finding, people)
    else:
        to_try = _smallest(reason, finding, exposed, copied)
    if not to_try:
        return reason
    text = reason.text if DO in reason.text else f"{reason.text}{DO}let a person decide."
    text += f"{COLUMNS}{_listed(columns)}." if columns else ""
    return reason.model_copy(update={"text": f"{text}{TRY}{to_try.format(columns[0] if columns else '')}."})


def _for_membership(people: People) -> str:
    """What to do where the control is too small for membership to decide."""
    total = people.original + people.control
    return HOLD_OUT[0] if not people.control or total >= ENOUGH_IN_ALL[0] else FEW_FOR_MEMBERSHIP


def _for_people(flag: str, finding: Finding, people: People) -> str:
    """The smallest change worth trying for a flag, among those that this many people and rows allow."""
    total = people.original + people.control
    if flag in ("no_control", "small_control") and total:
        return next((told for told, least in zip(HOLD_OUT, ENOUGH_IN_ALL, strict=False) if total >= least), HOLD_OUT[2])
    if flag == "positive_control_weak" and people.control >= people.original / 10 > 0:
        return "give more people in original and control"
    if flag == "few_guesses" and finding.attack.requested < FEW_GUESSES:
        return f"leave out --attacks, which asked for fewer than {FEW_GUESSES} guesses"
    if flag == "few_formed" and 0 < people.released < people.original:
        return "synthesise as many rows as the original has"
    return BY_FLAG[flag]


def _smallest(reason: Reason, finding: Finding, exposed: Sequence[str], copied: bool) -> str:
    """The smallest change worth trying against what was measured; empty where there is none to name."""
    if not finding.primary:
        return _against_the_leak(finding, exposed, copied)
    if reason.verdict == "fail":
        return _against_the_leak(finding, exposed, copied)
    if not isinstance(finding.limit, Limit) or not isinstance(finding.excess, Estimate):
        return ""
    if finding.excess.value >= finding.limit.excess:
        return "treat it as a FAIL, since the excess is above the limit: " + _against_the_leak(finding, exposed, copied)
    times = _times(finding, finding.excess, finding.limit.excess)
    if times is None:
        return "more people will hardly settle it: the excess is too near the limit. Smooth more, and evaluate again"
    return (
        f"{times:.1f} times as many people in original and control would settle it, if the excess of "
        f"{100 * finding.excess.value:.1f} points is true"
    )


def _against_the_leak(finding: Finding, exposed: Sequence[str], copied: bool) -> str:
    if copied and finding.risk != "copying":
        return "stop the copies first (see copying), and evaluate again: this risk goes down with them"
    if finding.risk == "attribute_inference" and 0 < len(exposed) <= FEW_COLUMNS:
        return (
            "leave these columns out, or synthesise them without the columns that predict them; all others stay below "
            "the limit"
        )
    if finding.risk == "membership":
        return "train for fewer epochs, with larger leaves or more regularisation, until members are no longer nearest"
    if finding.risk == "copying":
        return BY_FLAG["copied"]
    if finding.attack.name == "singling_out_univariate":
        return "write numbers more coarsely (testbed protect --defence), as single values occur with one person alone"
    told = "fewer epochs, larger leaves or a differentially private generator"
    if finding.risk == "singling_out":
        return f"smooth more ({told}), and write numbers more coarsely (testbed protect --defence)"
    return f"smooth more, as whole rows are given away: {told}; leaving out single columns will not be enough"


def _exposed(finding: Finding, findings: Sequence[Finding], names: set[str]) -> list[str]:
    """The columns that are predicted beyond the limit for attribute inference, the most exposed first."""
    limit = next(
        (f.limit.excess for f in findings if f.risk == "attribute_inference" and isinstance(f.limit, Limit)), None
    )
    secrets = [
        (f.excess.low, f.target)
        for f in findings
        if f.attack.name == "attribute_inference" and not f.primary and f.target in names
        if isinstance(f.excess, Estimate) and limit is not None and f.excess.low > limit
    ]
    return [name for _, name in sorted(secrets, key=lambda s: -s[0])]


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - NAMED} more" if len(columns) > NAMED else ""
    return ", ".join(columns[:NAMED]) + more


def _times(finding: Finding, excess: Estimate, limit: float) -> float | None:
    """How many times the guesses an excess of this size needs to pass in 4 of 5 cases; None beyond `MOST_TIMES`."""
    rates = [m for m in (finding.measure, finding.control) if isinstance(m, Estimate)]
    if len(rates) < 2 or not all(m.method.startswith("wilson") for m in rates):
        return None
    intervals = [Interval(m.value, m.low, m.high, m.level, m.method, m.n) for m in (*rates, excess)]
    test = statistics.precision(intervals[0], intervals[1], intervals[2])

    def passes(times: float) -> bool:
        larger = Precision(test.control, round(times * test.members), round(times * test.controls), test.wider)
        return (statistics.passed(larger, limit) or 0.0) >= excess.value and statistics.passed(
            larger, limit
        ) is not None

    low, high = 1.0, float(MOST_TIMES)
    if not passes(high):
        return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
