"""Which attacks on a model are planned, and under which rule."""

from __future__ import annotations

from typing import Any

from testbed.attacks.registry import find
from testbed.findings.plan import Plan
from testbed.harness.model import deciding
from testbed.subjects.predictors.subject import Subject

NOISY, ROUGH = "label_noise", "range_membership"


def plans(subject: Subject, shadows: int) -> list[Plan]:
    trained = {"shadows": shadows}
    classifies = subject.model.numbers is None
    taught = subject.recipe is not None and subject.others is not None and subject.described
    every: tuple[tuple[str, dict[str, Any], bool], ...] = (
        ("rmia", trained, subject.recipe is not None),
        ("rmia", {**trained, "online": False}, subject.recipe is not None),
        ("lira", trained, subject.recipe is not None),
        ("lira", {**trained, "online": False}, subject.recipe is not None),
        ("reference_models", trained, subject.recipe is not None),
        ("shadow_attack_model", trained, subject.recipe is not None),
        ("base", trained, subject.recipe is not None),
        ("bavaria", trained, subject.recipe is not None),
        ("prediction_loss", {}, True),
        ("modified_entropy", {}, classifies),  # of a number it orders people as the loss does
        ("label_gap", {}, True),
        ("population", {}, subject.others is not None),
        ("quantile_regression", {}, subject.others is not None and subject.described),
        ("label_noise", {}, subject.described and classifies),
        ("loss_trajectory", trained, taught and classifies),
        (ROUGH, {}, taught and classifies),
        *((name, {}, True) for name in deciding.TAUGHT_BY_OTHERS),
    )
    plans: list[Plan] = []
    for number, (name, params, possible) in enumerate(every, 1):
        offline = None if params.get("online", True) else "offline"
        if possible:
            plans.append(
                Plan(
                    f"TB-MEMBERSHIP-3{number:02d}",
                    "membership",
                    name,
                    "rate" if name == "label_gap" else "tpr_at_fpr",
                    "record",
                    False,
                    find(name).configured(params),
                    target="people who are roughly known" if name == ROUGH else offline,
                )
            )
    return plans
