# pyright: strict
"""A policy in words, and the difference between two: what each limit means, and which of the two is stricter."""

from __future__ import annotations

from datetime import date

from testbed.findings import policy as policies
from testbed.findings.policy import Policy
from testbed.findings.waivers import Waiver

MEANS = {
    "singling_out": "an attacker's description fits this person and nobody else",
    "linkability": "two parts of this person's record are put together through the release",
    "attribute_inference": "a secret value of this person is predicted correctly",
    "membership": "this person is recognised as one of the data, while few others are taken for one",
    "reconstruction": "this person's record is picked out among look-alikes by what was reconstructed",
    "property": "a property of a hospital's data as a whole is read",
    "class_inversion": "what the records of a class look like is read from the model",
    "extraction": "what a model stored of a record is read out of it",
}
"""What an attacker achieves in each risk that a limit decides."""
VERDICTS = (
    "FAIL if one risk is surely above its limit, or the copy rule or the near-copy rule holds. PASS if every risk that "
    "was asked about is surely below its limit and nothing is in doubt. REVIEW otherwise. Surely: with 95 % confidence."
)
NO_LIMIT = "no limit: an attack that decides this risk ends as REVIEW"


def explained(policy: Policy, on: date) -> list[str]:
    """The policy as lines of text, with its waivers as they stand on a day."""
    lines = [policy.id, f"SHA-256 {policy.sha256}"]
    lines += [f"Basis: {' '.join(policy.basis.split())}"] if policy.basis else []
    lines += ["", VERDICTS, ""]
    for risk, means in MEANS.items():
        name = risk.replace("_", " ")
        if risk in policy.limits:
            limit = f"{100 * policy.limits[risk]:g}"
            lines.append(f"{name}: {limit} points")
            lines.append(f"    {means}: for at most {limit} more of 100 people in the data than of 100 others")
        else:
            lines.append(f"{name}: {NO_LIMIT}")
    lines += [f"{risk}: decided by rule; {why}" for risk, why in policies.RULED.items()]
    lines.append(f"Counts of fewer than {policy.min_cell} people are not shown.")
    return lines + [_waiver(w, on) for w in policy.waivers]


def _waiver(waiver: Waiver, on: date) -> str:
    ended = "" if waiver.active(on) else " (expired: not applied)"
    until = f"until {waiver.expires}{ended}"
    return f"Waiver: {waiver.name} accepts {waiver.risk.replace('_', ' ')} {until}: {waiver.reason}."


def differences(one: Policy, other: Policy) -> list[str]:
    """What the second policy decides otherwise than the first, as lines of text; each says which is stricter."""
    lines: list[str] = []
    looser = stricter = 0
    for risk in MEANS:
        before, after = one.limits.get(risk), other.limits.get(risk)
        if before == after:
            continue
        is_looser = before is None or (after is not None and after > before)
        looser, stricter = looser + is_looser, stricter + (not is_looser)
        lines.append(f"{risk.replace('_', ' ')}: {_limit(before)} -> {_limit(after)} ({_word(is_looser)})")
    if one.min_cell != other.min_cell:
        is_looser = other.min_cell < one.min_cell
        looser, stricter = looser + is_looser, stricter + (not is_looser)
        lines.append(f"smallest count shown: {one.min_cell} -> {other.min_cell} people ({_word(is_looser)})")
    for waiver in one.waivers:
        if waiver not in other.waivers:
            stricter += 1
            lines.append(f"a waiver of {waiver.risk.replace('_', ' ')} by {waiver.name} is gone (stricter)")
    for waiver in other.waivers:
        if waiver not in one.waivers:
            looser += 1
            said = f"{waiver.risk.replace('_', ' ')} by {waiver.name} until {waiver.expires}"
            lines.append(f"a waiver of {said} is new (looser)")
    end = f"{other.id} is looser in {looser} and stricter in {stricter} of these than {one.id}."
    return [*lines, end] if lines else [f"{one.id} and {other.id} decide alike."]


def _limit(limit: float | None) -> str:
    return "no limit, REVIEW at best" if limit is None else f"{100 * limit:g} points"


def _word(looser: bool) -> str:
    return "looser" if looser else "stricter"
