# pyright: strict
"""Waivers: somebody with a name accepts a risk, for a reason and until a date. A waiver never makes a PASS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

from testbed.core.errors import UsageError
from testbed.findings import schema
from testbed.findings.schema import Decision, Finding, Reason, Unmeasured
from testbed.findings.terms import Risk, Verdict

FIELDS = ("risk", "name", "reason", "expires")
LONGEST = 500
"""Characters of a name or a reason at most."""
SEVERITY: dict[Verdict, int] = {"none": 0, "pass": 1, "review": 2, "fail": 3}


@dataclass(frozen=True, slots=True)
class Waiver:
    """`name` accepts the risk for this `reason`, up to and including the day `expires`."""

    risk: Risk
    name: str
    reason: str
    expires: date

    def active(self, on: date) -> bool:
        return on <= self.expires


def read(given: object, risks: Sequence[str]) -> tuple[Waiver, ...]:
    """The waivers of a policy's file. `risks` are those that a limit decides.

    Raises `UsageError` for one that is incomplete, has an unknown field, or is of a risk that no limit decides.
    """
    if not isinstance(given, list):
        raise _bad("The policy's waivers are not a list.")
    made = tuple(_waiver(one, risks) for one in cast("list[object]", given))
    if len({w.risk for w in made}) < len(made):
        raise _bad("A risk has two waivers.")
    return made


def _waiver(given: object, risks: Sequence[str]) -> Waiver:
    fields = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    if set(fields) != set(FIELDS):
        raise _bad("A waiver lacks a field, or has one that is not known.")
    if fields["risk"] not in risks:
        raise _bad(f"A waiver is of a risk that no limit decides. Those that may be waived: {', '.join(risks)}.")
    texts = [fields["name"], fields["reason"]]
    if not all(isinstance(t, str) and 0 < len(t.strip()) <= LONGEST for t in texts):
        raise _bad(f"The name and the reason of a waiver must be texts of up to {LONGEST} characters.")
    name, reason = (str(t).strip() for t in texts)
    return Waiver(cast("Risk", fields["risk"]), name, reason.rstrip("."), _day(fields["expires"]))


def _day(given: object) -> date:
    if isinstance(given, date) and not isinstance(given, datetime):
        return given
    try:
        return date.fromisoformat(str(given))
    except ValueError:
        raise _bad("A waiver's expiry is no day.") from None


def _bad(what: str) -> UsageError:
    why = "A report prints who accepts a risk, why, and until when."
    return UsageError(
        "TB-POLICY-002", what, why, "Give risk, name, reason and expires (YYYY-MM-DD); see docs/policy.md."
    )


def waived(decision: Decision, findings: Sequence[Finding], waivers: Sequence[Waiver], on: date) -> Decision:
    """The decision under the waivers that are active on this day.

    A FAIL of a waived risk becomes a REVIEW: a person has accepted it, and a person must decide. No waiver makes a
    PASS, and the finding itself keeps its verdict. One that has expired changes nothing, and is said.
    """
    if not waivers or isinstance(decision.policy, Unmeasured):
        return decision
    by_risk = {w.risk: w for w in waivers}
    risk_of = {f.rule: f.risk for f in reversed(findings) if f.primary}
    reasons: list[Reason] = []
    needed: set[Risk] = set()
    for reason in decision.reasons:
        risk = risk_of.get(reason.rule)
        waiver = by_risk.get(risk) if risk else None
        if waiver is not None and reason.verdict in ("fail", "review"):
            needed.add(waiver.risk)
            reason = _said(reason, waiver, on)
        reasons.append(reason)
    reasons.sort(key=lambda r: -SEVERITY[r.verdict])
    printed = [
        schema.Waiver(
            risk=w.risk,
            name=w.name,
            reason=w.reason,
            expires=w.expires.isoformat(),
            state="expired" if not w.active(on) else "applied" if w.risk in needed else "not needed",
        )
        for w in waivers
    ]
    named = decision.policy.model_copy(update={"waivers": printed})
    return decision.model_copy(update={"verdict": reasons[0].verdict, "reasons": reasons, "policy": named})


def _said(reason: Reason, waiver: Waiver, on: date) -> Reason:
    if not waiver.active(on):
        text = f"A waiver by {waiver.name} expired on {waiver.expires}, and is not applied. {reason.text}"
        return reason.model_copy(update={"text": text})
    text = f"{waiver.name} accepts this risk until {waiver.expires}: {waiver.reason}. "
    if reason.verdict == "fail":
        text += "Without this waiver the verdict would be FAIL. "
    return reason.model_copy(update={"verdict": "review", "text": text + reason.text})
