"""What a defence of a model costs: how well it answers with it and without it, about people nobody trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Cohort, Predictor, Unavailable
from testbed.findings import measures, statistics
from testbed.findings.schema import Measure, Utility

UNANSWERED = "a model that answers about these people, within the budget of queries"


def worth(models: Mapping[str, Predictor], people: Cohort, of: str) -> list[Utility]:
    """The accuracy and the AUC of each model on these people. `of` names the people.

    The AUC is the chance that the true class of one person has a larger probability than a wrong class of another one:
    it shows what answers lose that keep the predicted class.
    """
    made: list[Utility] = []
    for what, measured in (("accuracy", _accuracy), ("AUC", _area)):
        for how, model in models.items():
            made.append(Utility(name=f"{what} on {of}, {how}", measure=measured(model, people)))
    return made


def _accuracy(model: Predictor, people: Cohort) -> Measure:
    try:
        right = model.ask(people).argmax(1) == people.y
    except Unavailable as why:
        return measures.Unmeasured(unmeasured=why.code, needs=why.needs)
    return measures.estimate("rate", statistics.proportion(right.astype(float), people.persons), "record")


def _area(model: Predictor, people: Cohort) -> Measure:
    try:
        said = np.asarray(model.ask(people), dtype=np.float64)
    except Unavailable as why:
        return measures.Unmeasured(unmeasured=why.code, needs=why.needs)
    true = np.eye(said.shape[1], dtype=bool)[people.y]
    persons = np.repeat(people.persons, said.shape[1]).reshape(said.shape)
    found = statistics.auc(said[true], said[~true], clusters=(persons[true], persons[~true]))
    return measures.estimate("auc", found, "record")
