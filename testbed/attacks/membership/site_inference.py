"""Site inference: at which hospital is a person, told by the released model alone?"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn

from testbed import models
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Origins, Sources, Transcript, Unavailable

FEWEST = 5
"""People of a hospital whom the attacker knows at least."""
RECORDS, ANSWERS, ALL = "records", "answers", "all"


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-530",
    risk="membership",
    claim=Sources,
    needs={"architecture", "target_records", "some_sites"},
    position="recipient",
    reference="https://arxiv.org/abs/2109.05659",
    suits="released",
)
def site_inference(
    view: Transcript,
    question: Origins,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    reads: str = "all",
    trees: int = 200,
    leaf: int = 5,
) -> Sources:
    """Name each person's hospital by a forest that learnt on people whose hospitals are known.

    Threat model: whoever receives the final model, holds the records asked about with their classes, and knows the
    hospital of some other people, trained on or not. It sees no update. Source inference (Hu et al. 2021) asks the same
    of a server, which sees every client's update.

    `reads` says from what, besides the class: `answers` (the model's answers, without the record), `records` (the
    record, without the model), or `all` (record, answers, and the values that enter the last layer). What is found from
    the records alone is no leak of the model. The forest learns on the model under attack itself, so it adapts to
    whatever a defence made of that model. Raises `Unavailable` without the model, for fewer than two hospitals with
    five known people each, or for another word.
    """
    if reads not in (RECORDS, ANSWERS, ALL):
        raise Unavailable("unknown_reading", "reads=answers, reads=records or reads=all")
    if not isinstance(question, Origins) or question.known is None or question.sites is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise Unavailable("no_known_sites", "people of each hospital, with their hospitals")
    known, sites = question.known, question.sites
    names, counts = np.unique(sites, return_counts=True)
    if len(names) < 2 or counts.min() < FEWEST:
        raise Unavailable("few_known_sites", f"{FEWEST} people or more of each of two hospitals or more")
    classes = int(max(known.y.max(), question.people.y.max())) + 1
    lessons, asked = (_features(view, people, classes, reads) for people in (known, question.people))
    order = np.lexsort((sites, *lessons.T))
    forest = RandomForestClassifier(trees, min_samples_leaf=leaf, random_state=int(rng.integers(2**31)))
    forest.fit(lessons[order], sites[order])
    return Sources(names[np.asarray(forest.predict_proba(asked)).argmax(1)])


def _features(view: Transcript, people: Cohort, classes: int, reads: str) -> Array:
    """Features (n, features) float32: the class, and what `reads` says."""
    columns = [np.eye(classes)[people.y]]
    if reads != ANSWERS:
        columns.append(people.x.reshape(len(people), -1))
    if reads != RECORDS:
        answers, layer = answered(view, people)
        columns += [answers] if reads == ANSWERS else [answers, layer]
    return np.concatenate(columns, 1).astype(np.float32)


def answered(view: Transcript, people: Cohort) -> tuple[Array, Array]:
    """The final model's log-probabilities (n, classes), and the values (n, width) that enter its last linear layer.

    Raises `Unavailable` if the model, its last parameters or such a layer are unknown.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    if view.final is None:
        raise Unavailable("no_final_model", "the final parameters")
    model = models.build(view.model)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise Unavailable("no_linear_layer", "a model whose last layer is linear")
    entering: list[Tensor] = []
    linear[-1].register_forward_hook(lambda _, given, __: entering.append(given[0]))
    with torch.no_grad():
        parameters = models.to_tensors(view.final, model)
        answers = torch.func.functional_call(model, parameters, (torch.tensor(people.x),))
        shown = nn.functional.log_softmax(answers.double(), 1)
    return shown.numpy(), entering[-1].reshape(len(people), -1).double().numpy()
