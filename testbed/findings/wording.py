# pyright: strict
"""Findings in sentences for a data-protection officer: direction, comparison, and never the word safe."""

from __future__ import annotations

import re
from collections.abc import Mapping

from testbed.findings.schema import Estimate, Measure, Risk, Unmeasured

LINE_UP = re.compile(r"line-up of (\d+)")
WHICH_CLIENT = "which client"
"""The target of a finding that says whose a record is, not whether it was used."""


def percent(measure: Measure) -> str:
    """A rate as a person would say it."""
    if isinstance(measure, Unmeasured):
        return "an unmeasured share"
    value = 100 * measure.value
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


def plain_words(risk: Risk, target: str | None, measures: Mapping[str, Measure], excess: Measure) -> str:
    """What was reached, beside the control and with the excess."""
    got, control = percent(measures["measure"]), percent(measures["control"])
    controlled = isinstance(measures["control"], Estimate)
    match risk:
        case "singling_out":
            text = f"Of the descriptions written from the synthetic table, {got} fit exactly one person of the original"
            beside = f"; {control} fit exactly one of as many people who were not in it"
        case "linkability":
            text = (
                f"With the synthetic table as a bridge, {got} of people are linked to the other half of their own data"
            )
            beside = f"; of people who were not in it, {control}"
        case "attribute_inference":
            what = f"{target!r}" if target else "the secret"
            text = f"From all else about a person, {what} is guessed rightly for {got} of the people in the data"
            beside = f", and for {control} of people who were not"
        case "membership" if target == WHICH_CLIENT:
            text = f"For {got} of members' records the client that trained on them is named"
            beside = f"; of records that nobody trained on, {control} are laid to the client drawn for them"
        case "membership":
            fpr = measures["measure"].fpr if isinstance(measures["measure"], Estimate) else None
            alarms = "When the attacker says yes or no"
            if fpr is not None:
                number = f"{100 * fpr:g} false alarm{'s' if fpr != 0.01 else ''}"
                alarms = f"When the attacker accepts about {number} in 100"
            text = f"{alarms}, {got} of members are recognised"
            beside = f"; of non-members, {control} are wrongly accused"
        case "reconstruction" if getattr(measures["measure"], "metric", "") == "exact_match":
            text = f"From what they sent in training, {got} of the cells of people's rows are rebuilt"
            beside = f"; rows of people who were never sent agree in {control}"
        case "reconstruction" if getattr(measures["measure"], "metric", "") == "token_recall":
            text = f"From what they sent in training, {got} of the words of people's sentences are rebuilt"
            beside = f"; sentences that were never sent agree in {control}"
        case "reconstruction" if getattr(measures["measure"], "metric", "") == "rate":
            text = f"Of {got} of the batches, somebody's record is picked out of a {_line_up(target)}"
            beside = f"; of batches that were never sent, {control}"
        case "reconstruction":
            text = f"From what they sent in training, {got} of people's records are picked out of a {_line_up(target)}"
            beside = f"; of records that were never sent, {control}"
        case _:
            text, beside = (
                f"The attack succeeds in {got} of its guesses",
                f"; on people who were not used, in {control}",
            )
    if not controlled:
        return text + ". There is no control, so it is unknown how much of this is general knowledge."
    if isinstance(excess, Estimate):
        return (
            text
            + beside
            + f". Excess: {100 * excess.value:.1f} points ({100 * excess.low:.1f} to {100 * excess.high:.1f})."
        )
    return text + beside + "."


def _line_up(target: str | None) -> str:
    """The line-up with its size, of which a blind guess is right once."""
    size = LINE_UP.search(target or "")
    return f"line-up with {int(size[1]) - 1} look-alikes" if size else "line-up of look-alikes"
