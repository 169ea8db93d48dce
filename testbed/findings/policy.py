# pyright: strict
"""The decision: findings and a policy's limits give pass, review or fail, with reasons. Nothing is averaged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, cast, get_args

from testbed.core import settings
from testbed.core.errors import Exit, UsageError
from testbed.findings import schema, small_cells, statistics, waivers
from testbed.findings.schema import Decision, Estimate, Finding, Limit, Reason, Unmeasured, Validity, Verdict
from testbed.findings.validity import FLAGS, MANY_GUESSES, NEXT
from testbed.findings.waivers import SEVERITY as _SEVERITY
from testbed.findings.waivers import Waiver

BUILT_IN = "example-open-release"
"""The policy used where none is named."""
RULED = {"copying": "the rules on copies are exact tests", "epsilon": "the claim itself is the limit"}
"""Risks that a fixed rule decides instead of a policy's limit, each with that rule."""
UNLIMITED = {"structure": "it informs, and has no excess"}
"""Risks that decide nothing, each with the reason."""
BROKEN = {"copied", "near_copies", "claim_exceeded"}
"""Flags by which a risk of `RULED` fails."""
DOUBTS = {"split_differs", "worse_than_copies", "model_knows_nothing"}
"""Flags of a finding that fails by which the excess may not come from the model: they are said beside it."""
MOST_ALARMS, FAMILY_P = 5, 0.05
"""How many attacks that only inform are listed as reasons at most, and the error rate of all of them together."""
DECLARED = "nearer_than_reference"
"""The membership attack declared in advance. It decides where the control is large enough; elsewhere it alone is judged
without the correction for many tests."""
COPIES = "records_at_risk"
"""The finding about people whom copies of a model recognise."""
WIDE = 1.5
"""If a test only catches leaks of more than this many times the limit, a reason says what becomes of smaller ones."""
ENOUGH_CONTROLS = 2000
"""People that a control must hold for membership to decide."""
SMALLEST_CELL = 3
"""The smallest `min_cell` that a policy may set: the disclosure gate cannot be switched off."""
EXIT_CODES: dict[Verdict, Exit] = {"pass": Exit.PASS, "none": Exit.PASS, "review": Exit.REVIEW, "fail": Exit.FAIL}


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits on the excess by risk (shares in [0, 1]), and the smallest count of people that may be shown.

    `basis` says where the limits come from, as the policy's file does. `waivers` say which risks somebody accepts.
    """

    id: str
    sha256: str
    limits: dict[str, float]
    min_cell: int = 10
    basis: str | None = None
    waivers: tuple[Waiver, ...] = ()


def load(name: str | Path = BUILT_IN) -> Policy:
    """The policy of that file (.yaml, .yml), or the built-in one of that name.

    Raises `UsageError` if there is none, or if it holds an unknown field or risk or a limit outside [0, 1].
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise _bad(f"The policy file {path.name} does not exist.", "No verdict can be reached without it.")
        try:
            text = path.read_text(encoding="utf-8") if path.stat().st_size <= 4 * settings.LARGEST else ""
        except (OSError, UnicodeDecodeError):
            raise _bad("The policy file cannot be read.", "It is not a text file in UTF-8.") from None
        if not text.strip():
            raise _bad("The policy file is empty, or larger than a policy can be.", "No limit can be read from it.")
    else:
        try:
            text = resources.files("testbed.findings").joinpath("policies", f"{name}.yaml").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise _bad(f"There is no built-in policy {name}.", f"Built in: {', '.join(built_in())}.") from None
    try:
        given: object = settings.parse(text)
    except settings.SettingsError as error:
        raise _bad("No limit can be read from the policy file.", str(error)) from None
    if not isinstance(given, dict):
        raise _bad("The policy file is not a list of names with values.", "It needs at least id and limits.")
    fields = cast(dict[str, Any], given)
    if unknown := sorted(map(str, set(fields) - {"id", "basis", "limits", "min_cell", "waivers"})):
        raise _bad(f"The policy has unknown fields: {', '.join(unknown)}.", "A misspelt limit would not be applied.")
    limits = _limits(fields.get("limits") or {})
    if not fields.get("id"):
        raise _bad("The policy has no id.", "A result names the policy that decided it.")
    if worded := [name for name in ("id", "basis") if not isinstance(fields.get(name, ""), str | None)]:
        raise _bad(
            f"The policy's {worded[0]} is no text.", "It would be printed otherwise than written. Put it in quotes."
        )
    if not _is_number(fields.get("min_cell", 10)):
        raise _bad("The policy's min_cell is no number.", "It counts people.")
    if not SMALLEST_CELL <= float(fields.get("min_cell", 10)) < 1e6:
        raise _bad(
            f"The policy's min_cell is below {SMALLEST_CELL} or not a usable number.",
            "The disclosure gate would protect nobody.",
        )
    return Policy(
        str(fields["id"]),
        hashlib.sha256(text.encode()).hexdigest(),
        {k: float(v) for k, v in limits.items()},
        int(fields.get("min_cell", 10)),
        str(fields["basis"]).strip() if fields.get("basis") else None,
        waivers.read(fields["waivers"], _limited()) if "waivers" in fields else (),
    )


def _limited() -> list[str]:
    """The risks that a limit decides."""
    return [k for k in get_args(schema.Risk) if k not in RULED and k not in UNLIMITED]


def _limits(given: object) -> dict[str, Any]:
    """The limits by risk. Raises `UsageError` for a risk that no limit decides, and for a limit outside [0, 1]."""
    if not isinstance(given, dict):
        raise _bad("The policy's limits are not given by risk.", "Each risk needs its own limit.")
    limits = cast(dict[str, Any], given)
    without = UNLIMITED | {k: f"it is decided by rule, as {why}" for k, why in RULED.items()}
    risks = _limited()
    if wrong := [k for k in limits if k not in (*risks, *without)]:
        raise _bad(f"The policy limits unknown risks: {', '.join(map(str, wrong))}.", f"Known: {', '.join(risks)}.")
    if never := [k for k in limits if k in without]:
        why = "; ".join(f"{k}: {without[k]}" for k in never)
        raise _bad(f"The policy limits what no limit decides: {', '.join(never)}.", f"It would not be applied. {why}.")
    if worded := [k for k, v in limits.items() if not _is_number(v)]:
        raise _bad(
            f"These limits of the policy are no numbers: {', '.join(worded)}.",
            "A limit is a share, such as 0.05 for 5 points.",
        )
    if outside := [k for k, v in limits.items() if not 0 <= float(v) <= 1]:
        raise _bad(
            f"These limits of the policy lie outside [0, 1]: {', '.join(outside)}.",
            "A limit is a difference of two rates, such as 0.05 for 5 points.",
        )
    return limits


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
    """The findings with their limits and verdicts, and the decision over all of them.

    FAIL: the lower bound of a deciding finding's excess is above its limit, or the rule of a risk in `RULED` is broken.
    PASS: every deciding finding is measured, its upper bound is below its limit, it has no flag, and its attack could
    have failed. REVIEW: everything else. FAIL outweighs REVIEW, and REVIEW outweighs PASS. Few guesses or a flag never
    soften a FAIL. A rule that has nothing to look at is `none`, not applicable: it neither passes nor keeps others from
    passing. Without a policy, the verdict is `none`.
    """
    if policy is None:
        none = Unmeasured(unmeasured="no_policy", needs="--policy FILE")
        return findings, Decision(verdict="none", policy=none, reasons=[])
    judged = [_judge(f, policy) for f in findings]
    reasons = [Reason(rule=f.rule, verdict=f.verdict, text=_text(f)) for f in judged if f.primary]
    alarms = _alarms(judged, policy)[:MOST_ALARMS]
    if any(r.verdict != "none" for r in reasons):
        reasons += [*alarms, *_undecided(judged, policy)]
    else:
        text = "No deciding attack was run, so there is no evidence for a release. What to do: run one."
        reasons += [Reason(rule="TB-NONE-001", verdict="review", text=text), *alarms]
    reasons.sort(key=lambda r: -_SEVERITY[r.verdict])
    verdict = reasons[0].verdict
    named = schema.Policy(id=policy.id, sha256=policy.sha256, basis=policy.basis)
    return judged, Decision(verdict=verdict, policy=named, reasons=reasons)


def _judge(finding: Finding, policy: Policy) -> Finding:
    kept = finding.verdict if small_cells.hidden(finding) else "none"  # given while the numbers were known
    if not finding.primary:
        return finding.model_copy(update={"verdict": kept})
    limit: Limit | Unmeasured = Unmeasured(unmeasured="no_limit", needs=f"a limit for {finding.risk} in the policy")
    verdict: Verdict = "review"
    if finding.risk in RULED:
        limit = Unmeasured(unmeasured="not_applicable", needs=f"nothing: {RULED[finding.risk]}")
        if BROKEN & set(finding.validity.flags):
            verdict = "fail"
        elif finding.validity.ok:
            verdict = "pass" if isinstance(finding.measure, Estimate) else "none"
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
    if kept == "fail":
        verdict = "fail"
    return finding.model_copy(update={"limit": limit, "verdict": verdict})


def _could_fail(finding: Finding, limit: float) -> bool:
    """Whether the attack is above the limit on the subject known to leak; if not, it could not have failed this one.

    If the control is already high, little is left to learn, perhaps less than the limit. Learning half of that is
    enough.
    """
    if not isinstance(finding.positive_control, Estimate):
        return True  # a missing positive control has its own flag
    control = finding.control.value if isinstance(finding.control, Estimate) else 0.0
    positive = finding.positive_control
    return positive.low - control > limit or positive.value - control >= (1 - control) / 2


def _alarms(findings: list[Finding], policy: Policy) -> list[Reason]:
    """A reason for review for each attack that only informs and whose excess is surely above the limit.

    The confidence holds for all of these attacks together: bounds are corrected for their number.
    """
    informing = [
        (f, f.excess, policy.limits[f.risk])
        for f in findings
        if not f.primary and f.risk in policy.limits and isinstance(f.excess, Estimate)
    ]
    # The attack declared in advance needs no correction; the others are searched for the largest.
    tests = {f.rule: 1 if f.attack.name == DECLARED else len(informing) for f, _, _ in informing}
    reasons = small_cells.alarms(findings, WEIGH)
    for finding, excess, limit in informing:
        least = _least(finding, excess, tests[finding.rule])
        if least > limit and (finding.adjusted_p or 0.0) <= FAMILY_P:
            target = f", {finding.target}" if finding.target else ""
            text = f"{finding.risk.replace('_', ' ')} ({finding.attack.name}{target}) informs and does not decide, but "
            text += f"its excess is at least {100 * least:.1f} points. The limit is {100 * limit:g} points. "
            text += OF_COPIES if finding.attack.name == COPIES else WEIGH
            reasons.append(Reason(rule=finding.rule, verdict="review", text=text))
    return reasons


def _undecided(findings: list[Finding], policy: Policy) -> list[Reason]:
    """A reason for review if the control is too small to decide membership and the limit lies within the interval."""
    if any(f.primary and f.risk == "membership" for f in findings):
        return []
    reasons: list[Reason] = []
    for finding in findings:
        excess, limit = finding.excess, policy.limits.get("membership")
        if finding.attack.name != DECLARED or finding.risk != "membership" or limit is None:
            continue
        if isinstance(excess, Estimate) and excess.low <= limit <= excess.high:
            fpr = finding.measure.fpr if isinstance(finding.measure, Estimate) else None
            rate = f" at a false-positive rate of {100 * fpr:g} %" if fpr is not None else ""
            text = (
                f"membership{rate}: could not be decided with a control of fewer than {ENOUGH_CONTROLS:,} people. The "
                f"excess lies between {100 * excess.low:.1f} and {100 * excess.high:.1f} points, so it may be above "
                f"the limit of {100 * limit:g} points. What to do: hold out more people, or let a person judge whether "
                "members may be recognised."
            )
            reasons.append(Reason(rule=finding.rule, verdict="review", text=text))
    return reasons[:1]


def _least(finding: Finding, excess: Estimate, tests: int) -> float:
    """The lower bound of an excess that holds for all `tests` together.

    The smaller of two bounds: one from the excess's own interval, one computed again from attack and control rate.
    """
    least = statistics.lower_bound_of_many(_interval(excess), tests)
    if tests > 1 and isinstance(finding.measure, Estimate) and isinstance(finding.control, Estimate):
        measure, control = _interval(finding.measure), _interval(finding.control)
        least = min(least, statistics.excess(measure, control, level=1 - 2 * FAMILY_P / tests).low)
    return least


def _interval(estimate: Estimate) -> statistics.Interval:
    e = estimate
    return statistics.Interval(e.value, e.low, e.high, e.level, e.method, e.n)


def _power(finding: Finding, excess: Estimate, limit: float) -> str:
    """What this test would have failed, and what it would have passed, in 4 of 5 cases."""
    fails, passes = _found_and_passed(finding, excess, limit)
    if fails is None:
        text = "No leak, however large, would have failed this test in 4 of 5 cases. "
    else:
        text = f"This test would have caught a leak of {100 * fails:.1f} points or more in 4 of 5 cases. "
    if passes is None:
        return text + "This test is too small for anything to be sure to pass."
    text += f"It would have passed a leak of {100 * passes:.1f} points or less in 4 of 5 cases."
    between = " A leak between these two may pass, fail or end as REVIEW."
    return text + (between if fails is None or fails > WIDE * limit else "")


def _found_and_passed(finding: Finding, excess: Estimate, limit: float) -> tuple[float | None, float | None]:
    """The smallest true excess that fails and the largest that passes in 4 of 5 cases; None where there is none."""
    rates = [m for m in (finding.measure, finding.control) if isinstance(m, Estimate) and m.method.startswith("wilson")]
    if len(rates) == 2:
        test = statistics.precision(_interval(rates[0]), _interval(rates[1]), _interval(excess))
        return statistics.caught(test, limit), statistics.passed(test, limit)
    passes, fails = statistics.operating(_interval(excess), limit)
    return fails, passes if passes > 0 else None


def _text(finding: Finding) -> str:
    """The reason of a deciding finding: what was found, the limit, and what to do where it does not pass."""
    what = finding.risk.replace("_", " ") + (f" ({finding.target})" if finding.target else "")
    if isinstance(finding.measure, Estimate) and finding.measure.fpr is not None:
        what += f" at a false-positive rate of {100 * finding.measure.fpr:g} %"
    flags = [f for f in finding.validity.flags if f in FLAGS]
    if finding.verdict == "fail":  # first what to do about the leak
        flags.sort(key=lambda f: f not in BROKEN)
    to_do = f" What to do: {'; '.join(dict.fromkeys(_next(f, finding) for f in flags))}." if flags else ""
    if small_cells.hidden(finding) and finding.verdict == "fail":
        return f"{what}: a leak was found. {finding.plain}{to_do or STOPPED}"
    if finding.risk in RULED:
        if finding.verdict == "fail":
            return f"{finding.plain}{to_do or STOPPED}"
        if finding.verdict == "review" and flags:
            why = FLAGS[flags[0]]
            return f"{finding.plain} {why[0].upper()}{why[1:]}.{to_do}"
        return finding.plain
    if isinstance(finding.excess, Unmeasured):
        needs = finding.excess.needs
        why = "" if needs.startswith("nothing") else f"it needs {needs}. "
        if flags and not (why and flags == ["strongest_unmeasured"]):  # what the others need, they need too
            meant = FLAGS[flags[0]]
            why += f"{meant[0].upper()}{meant[1:]}.{to_do}" if why else f"{meant}.{to_do}"
        why = why.rstrip() or f"it needs {needs}."
        return f"{what}: could not be decided ({finding.excess.unmeasured.replace('_', ' ')}): {why}"
    excess = finding.excess
    text = f"{what}: the excess is {100 * excess.value:.1f} points"
    if finding.verdict == "pass":  # only the upper bound decides that; the lower one may be far below
        text += f", and at most {100 * excess.high:.1f} points with 95 % confidence. "
    else:
        between = f"{100 * excess.low:.1f} and {100 * excess.high:.1f} points"
        text += f". It lies between {between} (each bound with 95 % confidence). "
    if isinstance(finding.limit, Unmeasured):
        return text + "The policy sets no limit for it. What to do: leave the risk to a person."
    text += f"The limit is {100 * finding.limit.excess:g} points. {_power(finding, excess, finding.limit.excess)}"
    if finding.verdict == "fail":
        stopped = REBUILT if finding.risk == "reconstruction" else STOPPED
        doubts = [f for f in flags if f in DOUBTS]
        if not doubts:
            return text + stopped
        why = "; ".join(FLAGS[f] for f in doubts)
        first = "; ".join(dict.fromkeys(_next(f, finding) for f in doubts))
        text += f" {why[0].upper()}{why[1:]}. What to do first: {first}. If it still fails then:"
        return text + stopped.partition(":")[2]
    if finding.verdict == "review" and not flags:
        more = "more people or more guesses (--attacks)" if finding.risk in GUESSED else "more people"
        text += f" The limit lies within the interval. What to do: use {more}, never a higher limit."
    elif finding.verdict == "review":
        why = "; ".join(FLAGS[f] for f in flags)
        text += f" {why[0].upper()}{why[1:]}.{to_do}"
    return text


def _next(flag: str, finding: Finding) -> str:
    """What to do about a flag. `--attacks` is named only if fewer guesses were asked for than by default."""
    if flag == "few_formed" and finding.risk == "reconstruction":
        return "record more rounds or more clients; an answer that many records made allows few guesses"
    if flag == "positive_control_weak" and finding.risk == "singling_out":
        return f"{NEXT[flag]}, and a control of at least a tenth of the original's size"
    if flag == "positive_control_missing" and finding.risk == "reconstruction":
        return f"{NEXT[flag]} (a replay does, given --model and 20 further controls)"
    few = flag in ("few_guesses", "few_formed") and finding.attack.requested < MANY_GUESSES and finding.risk in GUESSED
    return NEXT[flag] + (", and leave out --attacks if it was given" if few else "")


WEIGH = "What to do: let a person weigh this leak before the release."
OF_COPIES = (
    "This is about models of the same kind that were trained again. What to do: let a person weigh it; and if nothing "
    "else is found, check that the members are the people on whom the model was trained."
)
"""What to do about a finding that informs, and about one on copies of the model."""
STOPPED = " What to do: change how the table is made or the model is trained, or add a defence, and measure again."
"""What to do about a finding that fails."""
REBUILT = " What to do: add a defence, or train on larger batches and with more local steps, and measure again."
"""What to do about records that can be rebuilt from a federation."""
GUESSED = ("singling_out", "linkability", "attribute_inference")
"""Risks of which an attacker may guess more often than by default."""
