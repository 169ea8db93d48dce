"""`testbed evaluate --plan N,M,K`: what an evaluation would catch, asked before anything is synthesised."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from testbed.cli.terminal import say

if TYPE_CHECKING:
    from testbed.harness.release.planning import Caught, Planned


def print_plan(text: str, policy: str | None, as_json: bool) -> None:
    """Prints a table with a row for each risk and control, and how many people to hold out."""
    from testbed.findings import policy as policies
    from testbed.harness.release import planning

    original, release, controls = planning.parse(text)
    chosen = policies.load(policy or policies.BUILT_IN)
    plans = [planning.planned(original, release, control, chosen) for control in controls]
    least = planning.smallest(original, release, chosen)
    if as_json:
        found = {"original": original, "release": release, "policy": chosen.id, "hold_out": least}
        say(json.dumps({**found, "plans": [dataclasses.asdict(p) for p in plans]}, indent=2))
        return
    say(f"{original:,} people in the original, {release:,} released rows, policy {chosen.id}\n")
    header = ("held out", "risk", "would catch, in 4 of 5 cases", "would pass, in 4 of 5 cases")
    rows = [(f"{p.control:,}" if i == 0 else "", *_cells(risk)) for p in plans for i, risk in enumerate(p.risks)]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for plan in plans:
        say(f"\n{_verdict(plan)}")
    if least is None:
        say("\nNo control is large enough: with so few people in the original, no release is sure to pass.")
    else:
        say(
            f"\nHold out {least:,} people. This is the smallest control of those tried with which every risk is "
            "decided, and with which a release without a leak passes each risk in 4 of 5 cases."
        )
    say("Rates on people of the control are assumed (docs/evaluate.md). The report states what its own tests caught.")


def _cells(risk: Caught) -> tuple[str, str, str]:
    name = risk.risk.replace("_", " ")
    if not risk.decides:
        return name, "is not decided", "-"
    if risk.unit == "people":
        least = "nothing" if risk.caught is None else f"{risk.caught:,.0f} people or more"
        return name, least, "-" if risk.can_pass else "nothing"
    of = f" {risk.unit}"
    caught = "no leak that this release can have" if risk.caught is None else f"{risk.caught:,.3g}{of} or more"
    return name, caught, "nothing" if risk.passed is None else f"{risk.passed:.2g}{of} or less"


def _verdict(plan: Planned) -> str:
    from testbed.harness.release import planning

    if plan.sufficient:
        return f"{plan.control:,} held out: every risk is decided."
    undecided = [r.risk.replace("_", " ") for r in plan.risks if r.unit == "points" and r.passed is None]
    if not plan.control:
        return "0 held out: no verdict but REVIEW or FAIL is possible."
    if plan.control < planning.SMALL_CONTROL:
        few = f"fewer than {planning.SMALL_CONTROL} people"
        return f"{plan.control:,} held out: {few}, so every risk is REVIEW, or FAIL where a leak is caught."
    why = f"may stay undecided: {', '.join(undecided)}" if undecided else "the control is small beside the original"
    return f"{plan.control:,} held out: {why}."
