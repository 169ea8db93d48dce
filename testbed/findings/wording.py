# pyright: strict
"""Findings as sentences for a data-protection officer: attack, control and excess, and never the word safe."""

from __future__ import annotations

import re
from collections.abc import Mapping

from testbed.findings.schema import Estimate, Measure, Risk, Unmeasured

LINE_UP = re.compile(r"line-up of (\d+)")
WHICH_CLIENT = "which client"
"""The target of a finding that names the client whose record it is, not whether the record was used."""
WHICH_HOSPITAL = "which hospital"
"""How a target begins of a finding that names a person's hospital by the released model."""
REMOVED = "people who were removed"
"""The target of a finding on people whom a model should have forgotten."""
GROUPS = {"outliers": "outliers", "rare combinations": "people with a rare combination of values"}
"""Targets of findings that are about a group of people only, with the group's name in a sentence."""
RARE_VALUES, BLOCK = "rare values of ", "the block "
"""How a target begins that is about people with a rare value of one column, or about several columns at once."""


def percent(measure: Measure) -> str:
    """A rate in per cent: whole numbers from 10 % on, two digits below."""
    if isinstance(measure, Unmeasured):
        return "an unmeasured share"
    value = 100 * measure.value
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


def plain_words(risk: Risk, target: str | None, measures: Mapping[str, Measure], excess: Measure) -> str:
    """Sentences that say what the attack reached, what it reached on the control, and the excess."""
    got, control = percent(measures["measure"]), percent(measures["control"])
    group = _group(target)
    match risk:
        case "singling_out":
            text = f"{got} of the descriptions written from the synthetic table fit exactly one person of the original"
            beside = f"Among as many people who were not in the original, {control} fit exactly one"
        case "linkability":
            text = (
                f"With the help of the synthetic table, an attacker links {got} of the {group} in the data to the "
                "other half of their own record"
            )
            beside = f"Of {group} who were not in the data, the attacker links {control}"
        case "attribute_inference":
            share = f"in {got} of the cells of the" if (target or "").startswith(BLOCK) else f"for {got} of the"
            text = (
                f"Knowing everything else about a person, an attacker predicts {_secret(target)} correctly {share} "
                f"{group} in the data"
            )
            beside = f"For {group} who were not in the data it is {control}"
        case "membership" if target == WHICH_CLIENT:
            text = f"For {got} of members' records, the attacker names the client that trained on them"
            beside = f"For records that nobody trained on, the attacker names the client drawn for them in {control}"
        case "membership" if (target or "").startswith(WHICH_HOSPITAL):
            how = (target or "").partition(",")[2]
            text = f"For {got} of the people on whom the hospitals trained, the attacker names their hospital{how}"
            beside = f"For people of the same hospitals on whom nobody trained, it is {control}"
        case "membership":
            fpr = measures["measure"].fpr if isinstance(measures["measure"], Estimate) else None
            alarms = "When the attacker answers yes or no"
            if fpr is not None:
                number = f"{100 * fpr:g} false alarm{'s' if fpr != 0.01 else ''}"
                alarms = f"When the attacker accepts about {number} in 100"
            text = f"{alarms}, {got} of members are recognised"
            beside = f"Of non-members, {control} are wrongly accused"
            if target == REMOVED:
                text = f"{alarms}, {got} of the people who were removed are still recognised"
                beside = f"Of people whose records were never used, {control} are wrongly accused"
        case "reconstruction":
            text, beside = _reconstructed(target, measures["measure"], got, control)
        case _:
            text = f"The attack succeeds in {got} of its guesses"
            beside = f"On people whose records were not used, it succeeds in {control}"
    if isinstance(measures["control"], Unmeasured):
        return text + ". There is no control, so it is unknown how much of this is general knowledge."
    if isinstance(excess, Unmeasured):
        return f"{text}. {beside}."
    bounds = f"{100 * excess.low:.1f} to {100 * excess.high:.1f}"
    return f"{text}. {beside}. The excess is {100 * excess.value:.1f} percentage points ({bounds})."


def _group(target: str | None) -> str:
    """The people that a finding is about: a group by its target, otherwise 'people'."""
    if (target or "").startswith(RARE_VALUES):
        return "people with a rare value of it"
    return GROUPS.get(target or "", "people")


def _secret(target: str | None) -> str:
    """The secret that was predicted, by the finding's target."""
    if not target or target in GROUPS:
        return "the secret"
    return target if target.startswith(BLOCK) else repr(target.removeprefix(RARE_VALUES))


def _reconstructed(target: str | None, measure: Measure, got: str, control: str) -> tuple[str, str]:
    """What a reconstruction reached, and what it reached on records that were never sent."""
    match getattr(measure, "metric", ""):
        case "exact_match":
            text = f"From what clients sent in training, the attacker reconstructs {got} of the cells of people's rows"
            beside = f"Rows of people that were never sent agree with the reconstruction in {control} of the cells"
        case "token_recall":
            text = (
                f"From what clients sent in training, the attacker reconstructs {got} of the words of people's "
                "sentences"
            )
            beside = f"Sentences that were never sent agree with the reconstruction in {control} of the words"
        case "rate":
            text = f"In {got} of the batches, the attacker picks somebody's record out of a {_line_up(target)}"
            beside = f"For batches that were never sent it is {control}"
        case _:
            text = (
                f"From what clients sent in training, the attacker picks {got} of people's records out of a "
                f"{_line_up(target)}"
            )
            beside = f"For records that were never sent it is {control}"
    return text, beside


def _line_up(target: str | None) -> str:
    """The line-up with its number of look-alikes: one fewer than its size, since one of it is the right record."""
    size = LINE_UP.search(target or "")
    return f"line-up with {int(size[1]) - 1} look-alikes" if size else "line-up of look-alikes"
