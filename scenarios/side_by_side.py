"""Do the risks of a model rise together? Every attack is run on the same models, with and without over-fitting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from testbed.cli.script import main
from testbed.core import Array
from testbed.core.errors import UsageError
from testbed.core.user_code import without_folders
from testbed.data import dataset
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Metric, Risk, Series, Subject, ThreatModel, Validity
from testbed.harness.model.side_by_side import MODELS, Audited, audited, mean_over, measured, spearman
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario

RISKS: tuple[tuple[Risk, str, Metric, str], ...] = (
    ("membership", "rmia", "auc", "membership"),
    ("attribute_inference", "model_attribute_inference", "rate", "attribute inference"),
    ("class_inversion", "class_inversion", "rate", "class inversion"),
    ("extraction", "model_stealing", "fidelity", "stealing"),
)
"""For each compared risk: the risk, its attack, its metric, and its name in sentences."""
GAP = "the gap between training and test accuracy"
NOT_TESTED = ["models trained in a federation", "defences", "attackers who see a model's parameters"]


@scenario(question="Which models give most away, and do their risks move together?", position="recipient")
def side_by_side(
    data: str = "breast-cancer,heart,support2,digits", people: int = 500, shadows: int = 8, seed: int = 0
) -> Scenario:
    """Logistic model, tree, forest and network on each data set of `data`, each with and without over-fitting.

    Every model is audited for membership, attribute inference, class inversion and stealing. A finding is the mean over
    models. Its chart shows each model, and its sentence the rank correlations with the other risks.
    """
    names = [n.strip() for n in data.split(",") if n.strip()]
    if not names or len(set(names)) < len(names) or shadows < 4 or shadows % 2 or people < 60:
        raise UsageError(
            "TB-SCENARIO-013",
            "With these parameters there is nothing to compare.",
            "It needs one data set or more (none twice), 60 people or more, and an even number of shadows, 4 or more.",
            "For example -s data=breast-cancer,heart -s shadows=8.",
        )

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        made = audited(names, people, shadows, seed, progress)
        return Outcome(compared(made), {})

    return Scenario(
        Subject(
            type="model",
            name=f"{len(names) * len(MODELS) * 2} models of {', '.join(map(without_folders, names))}",
            data_class="real" if any(dataset(n).data_class == "real" for n in names) else "public",
            licence="those of the data sets; see testbed list data",
            size_band="fewer than 1,000 rows",
        ),
        ThreatModel(
            position="recipient",
            malicious=False,
            knows=["auxiliary", "known_columns", "recipe", "some_memberships", "target_records"],
            access="score",
            sees="the class probabilities that each model gives for records of the attacker's choice",
            not_tested=NOT_TESTED,
        ),
        conduct,
        engines=("none",),
    )


def compared(made: list[Audited]) -> list[Finding]:
    """A finding for each risk: its mean over models, the mean without the leak, and its rank correlations."""
    reached = {name: [measured(a, attack, metric) for a in made] for _, attack, metric, name in RISKS}
    excess: dict[str, Array] = {
        name: np.array([np.nan if r is None else r[0] - r[1] for r in rows]) for name, rows in reached.items()
    }
    excess[GAP] = np.array([a.gap for a in made])
    found: list[Finding] = []
    for number, (risk, attack, metric, name) in enumerate(RISKS, 1):
        plan = Plan(
            rule=f"TB-{risk.upper()}-901",
            risk=risk,
            attack=attack,
            metric=metric,
            unit="run",
            primary=number == 1,
            target="over models",
        )
        rows = [r for r in reached[name] if r is not None]
        if len(rows) < 2:
            found.append(findings_.unmeasured(plan, findings_.NOT_APPLICABLE))
            continue
        told_of = [a for a, r in zip(made, reached[name], strict=True) if r is not None]
        values, blind = (np.array(column) for column in zip(*rows, strict=True))
        told: list[str] = []
        for other, theirs in excess.items():
            both = np.isfinite(excess[name]) & np.isfinite(theirs)
            if other != name:
                link = spearman(excess[name][both], theirs[both])
                told.append(f"{other} {link.value:+.2f} ({link.low:+.2f} to {link.high:+.2f})")
        over = mean_over(values - blind, told_of, 0.90)
        order = np.argsort(-np.nan_to_num(excess[name], nan=-9.0), kind="stable")[:30]
        shown = [int(i) for i in order if np.isfinite(excess[name][i])]
        series = Series(
            name=f"Excess of {name}, by model",
            kind="bars",
            x_label="rate minus the rate without the leak",
            y_label="models",
            labels=[made[i].name for i in shown],
            x=[float(excess[name][i]) for i in shown],
            low=[float(excess[name][i]) for i in shown],
            high=[float(excess[name][i]) for i in shown],
        )
        plain = (
            f"Over {len(rows)} models, the mean excess of {name} is {100 * over.value:.1f} percentage points "
            f"({100 * over.low:.1f} to {100 * over.high:.1f}). The excess is the rate minus the rate for people "
            f"outside the data, or without the model. Rank correlation over models with {'; '.join(told)}."
        )
        found.append(
            findings_.unmeasured(plan, findings_.NOT_APPLICABLE, len(made), len(rows)).model_copy(
                update={
                    "measure": findings_.estimate(metric, mean_over(values, told_of), "run", len(rows)),
                    "baseline": findings_.estimate(metric, mean_over(blind, told_of), "run", len(rows)),
                    "excess": findings_.estimate("excess", over, "run", len(rows)),
                    "validity": Validity(ok=True, flags=[]),
                    "series": [series],
                    "plain": plain,
                }
            )
        )
    return found


if __name__ == "__main__":
    main(side_by_side)
