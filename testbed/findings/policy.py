# pyright: strict
"""Findings and a policy file make a decision: pass, review or fail, with reasons. Nothing is averaged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, cast, get_args

import yaml

from testbed.core.errors import Exit, UsageError
from testbed.findings import schema, statistics
from testbed.findings.schema import Decision, Estimate, Finding, Limit, Reason, Unmeasured, Validity, Verdict
from testbed.findings.validity import FLAGS

BUILT_IN = "example-open-release"
RULED = {"copying": "the rules on copies are exact tests", "epsilon": "the claim itself is the limit"}
BROKEN = {"copied", "near_copies", "claim_exceeded"}
"""Risks that a rule decides and no limit, and the flags by which they fail."""
MOST_ALARMS, FAMILY_P = 5, 0.05
DECLARED = "nearer_than_reference"
"""The membership attack that decides where people are enough, and where they are not is the one that is looked at."""
ENOUGH_CONTROLS = 2000
"""People in a control by which membership can decide."""
SMALLEST_CELL = 3
"""A policy may not let counts of fewer people be shown, nor switch the gate off."""
EXIT_CODES: dict[Verdict, Exit] = {"pass": Exit.PASS, "none": Exit.PASS, "review": Exit.REVIEW, "fail": Exit.FAIL}
_SEVERITY: dict[Verdict, int] = {"none": 0, "pass": 1, "review": 2, "fail": 3}


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits on the excess by risk, and the smallest count of people that may be shown."""

    id: str
    sha256: str
    limits: dict[str, float]
    min_cell: int = 10


def load(name: str | Path = BUILT_IN) -> Policy:
    """A policy by the name of a built-in one or by path. Raises `UsageError` for anything it does not know."""
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise _bad(f"The policy file {path.name} does not exist.", "No verdict can be reached without it.")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise _bad("The policy file cannot be read.", "It is no UTF-8 text.") from None
    else:
        try:
            text = resources.files("testbed.findings").joinpath("policies", f"{name}.yaml").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise _bad(f"There is no built-in policy {name}.", f"Built in: {', '.join(built_in())}.") from None
    try:
        given: object = yaml.safe_load(text)
    except yaml.YAMLError:
        raise _bad("The policy file is not YAML.", "It cannot be read as such.") from None
    if not isinstance(given, dict):
        raise _bad("The policy file holds no mapping.", "It needs at least id and limits.")
    fields = cast(dict[str, Any], given)
    if unknown := sorted(set(fields) - {"id", "basis", "limits", "min_cell"}):
        raise _bad(f"The policy has unknown fields: {', '.join(unknown)}.", "A misspelt limit would not be applied.")
    given_limits: object = fields.get("limits") or {}
    if not isinstance(given_limits, dict):
        raise _bad("The policy's limits are no mapping.", "Each risk needs its own limit.")
    limits = cast(dict[str, Any], given_limits)
    risks = get_args(schema.Risk)
    if wrong := [k for k in limits if k not in risks]:
        raise _bad(f"The policy limits unknown risks: {', '.join(map(str, wrong))}.", f"Known: {', '.join(risks)}.")
    numbers = [*limits.values(), fields.get("min_cell", 10)]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers) or not fields.get("id"):
        raise _bad("The policy needs an id and numbers as limits.", "Something else was found.")
    if not all(0 <= float(v) <= 1 for v in limits.values()):
        raise _bad("A limit of the policy lies outside [0, 1].", "It is compared with a difference of rates.")
    if not SMALLEST_CELL <= float(fields.get("min_cell", 10)) < 1e6:
        raise _bad(f"The policy's min_cell is below {SMALLEST_CELL}.", "The disclosure gate would guard nobody.")
    return Policy(
        str(fields["id"]),
        hashlib.sha256(text.encode()).hexdigest(),
        {k: float(v) for k, v in limits.items()},
        int(fields.get("min_cell", 10)),
    )


def built_in() -> list[str]:
    """The names of the policies that come with the testbed; all are examples."""
    return sorted(
        f.name.removesuffix(".yaml") for f in resources.files("testbed.findings").joinpath("policies").iterdir()
    )


def text_of(name: str) -> str:
    """A built-in policy as its file says it."""
    load(name)
    return resources.files("testbed.findings").joinpath("policies", f"{name}.yaml").read_text(encoding="utf-8")


def _bad(what: str, why: str) -> UsageError:
    return UsageError("TB-POLICY-001", what, why, "See docs/policy.md, or copy the built-in example.")


def decide(findings: list[Finding], policy: Policy | None) -> tuple[list[Finding], Decision]:
    """Findings with their limits and verdicts, and the decision of the policy.

    FAIL: a primary excess lies above its limit with its lower bound, or the copy rule holds. PASS: every primary
    was measured with its upper bound below the limit, no flag, positive control succeeded. REVIEW: the rest.
    FAIL outweighs REVIEW, and REVIEW outweighs PASS. Few guesses or a flag never soften a FAIL.
    """
    if policy is None:
        none = Unmeasured(unmeasured="no_policy", needs="--policy FILE")
        return findings, Decision(verdict="none", policy=none, reasons=[])
    judged = [_judge(f, policy) for f in findings]
    reasons = [Reason(rule=f.rule, verdict=f.verdict, text=_text(f)) for f in judged if f.primary]
    if reasons:
        reasons += _alarms(judged, policy)[:MOST_ALARMS]
        reasons += _undecided(judged, policy)
    if not reasons:
        text = "No attack that decides was run, so nothing speaks for a release."
        reasons = [Reason(rule="TB-NONE-001", verdict="review", text=text)]
    reasons.sort(key=lambda r: -_SEVERITY[r.verdict])
    verdict = reasons[0].verdict
    return judged, Decision(verdict=verdict, policy=schema.Policy(id=policy.id, sha256=policy.sha256), reasons=reasons)


def _judge(finding: Finding, policy: Policy) -> Finding:
    if not finding.primary:
        return finding.model_copy(update={"verdict": "none"})
    limit: Limit | Unmeasured = Unmeasured(unmeasured="no_limit", needs=f"a limit for {finding.risk} in the policy")
    verdict: Verdict = "review"
    if finding.risk in RULED:
        limit = Unmeasured(unmeasured="not_applicable", needs=f"nothing: {RULED[finding.risk]}")
        if BROKEN & set(finding.validity.flags):
            verdict = "fail"
        elif finding.validity.ok:
            verdict = "pass"
    elif finding.risk in policy.limits:
        limit = Limit(excess=policy.limits[finding.risk], source=policy.id)
        if isinstance(finding.excess, Estimate):
            if finding.excess.low > limit.excess:
                verdict = "fail"
            elif finding.excess.high < limit.excess and _could_fail(finding, limit.excess):
                verdict = "pass" if finding.validity.ok else "review"
            elif finding.excess.high < limit.excess:
                flags = sorted({*finding.validity.flags, "positive_control_weak"})
                finding = finding.model_copy(update={"validity": Validity(ok=False, flags=flags)})
    return finding.model_copy(update={"limit": limit, "verdict": verdict})


def _could_fail(finding: Finding, limit: float) -> bool:
    """Does the attack go above the limit on the subject known to leak? Else it could not have failed this one.

    Where almost anybody's secret is guessed rightly there is less to learn than the limit allows; it is enough that
    the attack learns half of it.
    """
    if not isinstance(finding.positive_control, Estimate):
        return True  # its absence is a flag of its own
    control = finding.control.value if isinstance(finding.control, Estimate) else 0.0
    positive = finding.positive_control
    return positive.low - control > limit or positive.value - control >= (1 - control) / 2


def _alarms(findings: list[Finding], policy: Policy) -> list[Reason]:
    """Attacks that only inform and yet are above the limit, surely for all of them together: a person must look."""
    informing = [
        (f, f.excess, policy.limits[f.risk])
        for f in findings
        if not f.primary and f.risk in policy.limits and isinstance(f.excess, Estimate)
    ]
    # What is declared beforehand is one of no family; the others are looked through for the largest.
    tests = {f.rule: 1 if f.attack.name == DECLARED else len(informing) for f, _, _ in informing}
    made: list[Reason] = []
    for finding, over, limit in informing:
        least = _least(finding, over, tests[finding.rule])
        if least > limit and (finding.adjusted_p or 0.0) <= FAMILY_P:
            target = f", {finding.target}" if finding.target else ""
            text = f"{finding.risk.replace('_', ' ')} ({finding.attack.name}{target}) informs and does not decide, but "
            text += f"its excess is at least {least:.3f}; the limit is {limit:g}."
            made.append(Reason(rule=finding.rule, verdict="review", text=text))
    return made


def _undecided(findings: list[Finding], policy: Policy) -> list[Reason]:
    """Membership that the policy limits and too few people decide: a person must look where the limit is possible."""
    if any(f.primary and f.risk == "membership" for f in findings):
        return []
    made: list[Reason] = []
    for finding in findings:
        over, limit = finding.excess, policy.limits.get("membership")
        if finding.attack.name != DECLARED or finding.risk != "membership" or limit is None:
            continue
        if isinstance(over, Estimate) and over.low <= limit <= over.high:
            fpr = finding.measure.fpr if isinstance(finding.measure, Estimate) else None
            rate = f" at a false-positive rate of {100 * fpr:g} %" if fpr is not None else ""
            text = (
                f"membership{rate}: could not be decided with a control of fewer than {ENOUGH_CONTROLS:,} people. The "
                f"excess lies between {100 * over.low:.1f} and {100 * over.high:.1f} points, and the limit of "
                f"{100 * limit:g} points is possible. Hold out more people, or let a person judge whether members may "
                "be recognised."
            )
            made.append(Reason(rule=finding.rule, verdict="review", text=text))
    return made[:1]


def _least(finding: Finding, over: Estimate, tests: int) -> float:
    """The lower bound of an excess that holds for all tests together, from both rates anew where there are such."""
    least = statistics.lower_bound_of_many(_interval(over), tests)
    if tests > 1 and isinstance(finding.measure, Estimate) and isinstance(finding.control, Estimate):
        measure, control = _interval(finding.measure), _interval(finding.control)
        least = min(least, statistics.excess(measure, control, level=1 - 2 * FAMILY_P / tests).low)
    return least


def _interval(estimate: Estimate) -> statistics.Interval:
    e = estimate
    return statistics.Interval(e.value, e.low, e.high, e.level, e.method, e.n)


def _operating(over: Estimate, limit: float) -> str:
    """What a test with these guesses and this control rate can tell at all."""
    passes, fails = statistics.operating(_interval(over), limit)
    least = f"a true excess below {passes:.3f} passes" if passes > 0 else "no true excess is sure to pass"
    return f"With this many guesses {least} and one above {fails:.3f} fails, four times in five."


def _text(finding: Finding) -> str:
    what = finding.risk.replace("_", " ") + (f" ({finding.target})" if finding.target else "")
    if isinstance(finding.measure, Estimate) and finding.measure.fpr is not None:
        what += f" at a false-positive rate of {100 * finding.measure.fpr:g} %"
    flags = [FLAGS[f] for f in finding.validity.flags if f in FLAGS]
    if finding.risk in RULED:
        return finding.plain + (f" But {flags[0]}." if finding.verdict == "review" and flags else "")
    if isinstance(finding.excess, Unmeasured):
        why = flags[0] if flags else finding.excess.needs
        return f"{what}: could not be decided ({finding.excess.unmeasured}): {why}."
    over = finding.excess
    bounds = f"excess {over.value:.3f}, between {over.low:.3f} and {over.high:.3f} (each bound 95 % sure)"
    if isinstance(finding.limit, Unmeasured):
        return f"{what}: {bounds}; the policy sets no limit for it."
    text = f"{what}: {bounds}; the limit is {finding.limit.excess:g}. {_operating(over, finding.limit.excess)}"
    if finding.verdict == "review":
        text += " " + ("; ".join(flags).capitalize() if flags else "The interval holds the limit") + "."
    return text
