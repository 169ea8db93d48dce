"""What an evaluation would catch, before anything is synthesised: how many people must be held out?

The precision of each risk follows from the numbers of people alone, once the control's rate is assumed. The assumed
rates are unfavourable ones of real tables (`ASSUMED`); the report of a real evaluation states what its own test caught.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from testbed.core.errors import UsageError
from testbed.findings import statistics
from testbed.findings.policy import Policy
from testbed.findings.statistics import Precision
from testbed.findings.validity import FEW_GUESSES
from testbed.harness.release.attribute_inference import CROSSED
from testbed.harness.release.copy_rule import COPY_P
from testbed.harness.release.membership import DECIDING_FPR, decides
from testbed.harness.release.near_copies import NEAR_P, tested_sizes
from testbed.harness.release.setting import TARGETS

ASSUMED = {"singling_out": 0.2, "linkability": 0.02, "attribute_inference": 0.5, "membership": DECIDING_FPR}
"""The assumed success on people of the control, by risk: attribute inference is least precise at one half."""
SMALL_CONTROL, SHARE = FEW_GUESSES, 0.1
"""A control needs so many people for any finding to pass, and so large a share of the original for singling out. With
fewer an evaluation decides nothing but FAIL, as it flags every finding `small_control`."""
TRIED = sorted({round(m * 10**k) for k in range(2, 6) for m in (1, 1.5, 2, 3, 5, 7)})
"""Sizes of a control among which the smallest sufficient one is looked for."""


@dataclass(frozen=True, slots=True)
class Caught:
    """What one risk's test catches: in points of excess, or for copies in people; None where nothing is caught.

    `passed` is the largest leak that passes in 4 of 5 cases; None where not even a release without a leak does.
    `can_pass` is False where the control holds too few people for any finding to pass: what is not caught is REVIEW.
    """

    risk: str
    decides: bool
    caught: float | None
    passed: float | None
    unit: str
    can_pass: bool = True


@dataclass(frozen=True, slots=True)
class Planned:
    """What a control of `control` people allows, by risk, and whether a release without a leak can pass all risks."""

    control: int
    risks: tuple[Caught, ...]
    sufficient: bool


def parse(text: str) -> tuple[int, int, list[int]]:
    """`N,M,K` as people in the original, rows of the release, and sizes of a control (none means 0)."""
    try:
        numbers = [int(part) for part in text.replace("_", "").split(",")]
    except ValueError:
        numbers = []
    if len(numbers) < 2 or min(numbers[:2]) < 2 or min(numbers) < 0:
        raise UsageError(
            "TB-PLAN-001",
            "--plan needs numbers of people: original, release, and one or several sizes of a control.",
            "What a test catches follows from these numbers.",
            "Write for example --plan 5000,5000,200,2000. A control of 0 means that nobody is held out.",
        )
    return numbers[0], numbers[1], numbers[2:] or [0]


def planned(original: int, release: int, control: int, policy: Policy) -> Planned:
    """What each risk's test catches with so many people in original, release and control."""
    risks = _risks(original, release, control, policy)
    copied = near = None
    if control:
        people = original, control
        copied = statistics.copied_people(people, 0, COPY_P)
        near = statistics.nearest_people(tested_sizes(min(release, sum(people)), original, sum(people)), people, NEAR_P)
    rules = [
        Caught("copies, row for row", True, copied, None, "people"),
        Caught("near copies", True, near, None, "people"),
    ]
    every = (*risks, *rules)
    if control < SMALL_CONTROL:
        every = tuple(replace(risk, passed=None, can_pass=False) for risk in every)
    return Planned(control, every, _sufficient(risks, original, control))


def smallest(original: int, release: int, policy: Policy) -> int | None:
    """The smallest control that decides all risks and with which a release without a leak passes; None if none does."""
    return next((k for k in TRIED if _sufficient(_risks(original, release, k, policy), original, k)), None)


def _risks(original: int, release: int, control: int, policy: Policy) -> list[Caught]:
    return [_of_risk(risk, original, release, control, policy) for risk in ASSUMED if risk in policy.limits]


def _sufficient(risks: list[Caught], original: int, control: int) -> bool:
    enough = control >= max(SMALL_CONTROL, SHARE * original)
    return enough and all(r.decides and r.passed is not None for r in risks)


def _of_risk(risk: str, original: int, release: int, control: int, policy: Policy) -> Caught:
    asked, others = min(original, TARGETS), min(control, TARGETS)
    if risk == "membership":
        others = min(control // 2, TARGETS)  # the other half is the attacker's reference
        if not decides(control):
            return Caught(risk, False, None, None, "points")
    if risk == "singling_out":
        asked = others = min(asked, others)  # both groups are compared at the smaller one's size
    if not others:
        return Caught(risk, False, None, None, "points")
    design = CROSSED if risk == "attribute_inference" else 1.0
    test = Precision(ASSUMED[risk], max(1, round(asked / design)), max(1, round(others / design)))
    caught = statistics.caught(test, policy.limits[risk])
    # A release of few rows gives away few of the original's people.
    possible = 1.0 if risk == "singling_out" else min(1.0, release / original)
    return Caught(
        risk,
        True,
        None if caught is None or caught > possible else 100 * caught,
        _points(statistics.passed(test, policy.limits[risk])),
        "points",
    )


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share
