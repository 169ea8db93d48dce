"""Membership from what clients report when they evaluate a model: its loss and accuracy on all of their records.

No update is read, so hiding the updates (as secure aggregation does) hides nothing of this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from testbed import models
from testbed.attacks.registry import attack
from testbed.core import Act, Array, Asked, Cohort, ModelSpec, Parameters, Records, Scores, Transcript, Unavailable
from testbed.core.errors import InputError

FEWEST_LEFT = 0.05
"""A client's records besides the one in question, at least: the likelihood of a client of one record stays finite."""
SPREAD = 3.0
"""By how much the weights of a random model are enlarged, so that records differ in their loss."""


def reported(metrics: Mapping[str, float]) -> dict[str, float]:
    """The `loss` and the `accuracy` (as a share) that an answer holds under any name with loss, or acc, in it."""
    found: dict[str, float] = {}
    for word, name in (("loss", "loss"), ("acc", "accuracy")):
        for key in sorted(metrics):
            if word in key.lower() and np.isfinite(metrics[key]):
                found.setdefault(name, metrics[key])
    if found.get("accuracy", 0.0) > 1:
        found["accuracy"] /= 100
    return found


def _size(metrics: Mapping[str, float]) -> float | None:
    """The number of records that an answer is about, if it is told."""
    told = metrics.get("num-examples", np.nan)
    return told if np.isfinite(told) and told >= 1 else None


class _Losses:
    """Each record's loss and correctness (n,) under a model; computed once for clients that got the same model."""

    def __init__(self, spec: ModelSpec, *groups: Cohort) -> None:
        self.model = models.build(spec)
        self.x = torch.tensor(np.concatenate([g.x for g in groups]))
        self.y = torch.tensor(np.concatenate([g.y for g in groups]))
        self._known: dict[bytes, dict[str, Array]] = {}

    def under(self, parameters: Parameters) -> dict[str, Array]:
        """By metric, each record's value under these parameters."""
        digest = hashlib.sha256()
        for values in parameters.values():
            digest.update(np.ascontiguousarray(values).tobytes())
        if (key := digest.digest()) not in self._known:
            tensors = models.to_tensors(parameters, self.model)
            with torch.no_grad():
                outputs = torch.func.functional_call(self.model, tensors, (self.x,))
                made = {"loss": models.record_losses(self.model, outputs, self.x, self.y).double().numpy()}
                if outputs.ndim == 2 and outputs.shape[1] > 1:
                    made["accuracy"] = (outputs.argmax(1) == self.y).double().numpy()
            self._known[key] = made
        return self._known[key]

    def told(self, answers: Sequence[Asked]) -> dict[int, list[tuple[Asked, list[float], Array]]]:
        """By client, its answers that count: the metrics told, and each record's own values (n, metrics).

        Raises `InputError` if the models that were sent do not fit, or hold values that are not finite.
        """
        found: dict[int, list[tuple[Asked, list[float], Array]]] = {}
        wrong: list[InputError] = []
        fitted = False
        for answer in answers:
            try:
                own = self.under(answer.sent or {})
            except InputError as why:
                wrong.append(why)
                continue
            fitted = True
            named = {k: v for k, v in reported(answer.metrics).items() if k in own and np.isfinite(own[k]).all()}
            if named:
                each = np.stack([own[name] for name in named], 1)
                found.setdefault(answer.client, []).append((answer, list(named.values()), each))
        if wrong and not fitted:
            raise wrong[0]
        return found


def likelihood(told: Array, each: Array, others: Array, size: float | None, ridge: float) -> Array:
    """How much likelier (n,) are a client's metrics (m,) if a record is among its records, as a log-likelihood ratio.

    `each` (n, m) are the records' own metrics, `others` (k, m) those of other people. The metrics are means over `size`
    records. A sum of several records is taken to be normal: a record shifts its mean by a share of 1 / `size`, and the
    rest has the others' covariance. Without a size, the linear part of it is returned (Homer et al. 2008).
    """
    scale = others.std(0)
    kept = scale > 0
    if not kept.any():
        return np.zeros(len(each))
    centre, scale = others[:, kept].mean(0), scale[kept]
    moved, own, spread = ((v[..., kept] - centre) / scale for v in (told, each, others))
    values, vectors = np.linalg.eigh(spread.T @ spread / len(spread))
    # With few other people, the smallest eigenvalues are too small by chance; the ridge bounds them.
    whitened = vectors / np.sqrt(np.maximum(values, ridge * values.max()))
    moved, own = moved @ whitened, own @ whitened
    if size is None:
        return own @ moved
    left = max(size - 1.0, FEWEST_LEFT)
    within = ((moved - own / size) ** 2).sum(1) * size**2 / left
    return (size * (moved**2).sum() - within) / 2


def scored(
    view: Transcript, question: Records, auxiliary: Cohort | None, ridge: float, answers: Sequence[Asked], lacking: str
) -> Scores:
    """The scores of the people asked about, by these answers of the suspected clients.

    An answer counts if its metrics are a loss or an accuracy that the model has, and if the model that was sent fits.
    Raises `Unavailable` with the code `lacking` if none counts, and `InputError` if no model that was sent fits.
    """
    people = question.people
    assert isinstance(people, Cohort)
    answers = [e for e in answers if e.sent is not None and reported(e.metrics)]
    if not answers:
        raise Unavailable(lacking, "clients' answers with a loss or an accuracy, and the model that each is about")
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    reference = people if auxiliary is None or not len(auxiliary) else auxiliary
    losses = _Losses(view.model, people, reference)
    total, seen = np.zeros(len(people)), False
    for client, theirs in losses.told(answers).items():
        told = np.array([value for _, values, _ in theirs for value in values])
        columns = np.concatenate([each for _, _, each in theirs], 1)
        sizes = {_size(a.metrics) for a, _, _ in theirs}
        size = sizes.pop() if len(sizes) == 1 else None
        seen = True
        made = likelihood(told, columns[: len(people)], columns[len(people) :], size, ridge)
        mine = np.ones(len(people), bool) if question.suspected is None else question.suspected == client
        total += np.where(mine, made, 0.0)
    if not seen:
        raise Unavailable(lacking, "a loss or an accuracy that the model itself has")
    return Scores(total)


def _evaluated(view: Transcript) -> list[Asked]:
    return [e for e in view.asked if e.kind == "evaluate"]


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-515",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://doi.org/10.1371/journal.pgen.1000167",
    uses={"auxiliary"},
    suits="evaluations",
)
def evaluation_metrics(
    view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator, *, ridge: float = 1e-8
) -> Scores:
    """Score each record by how well it explains the losses and accuracies that the suspected client reports.

    Threat model: a curious server that sees what clients report when they evaluate the global models, and no update. It
    knows the records asked about and their classes. A reported loss is the mean over the client's records, so it is a
    sum in which each record has its part, as in a published mean of genotypes (Homer et al. 2008; Dwork et al. 2015).
    The score is a log-likelihood ratio over all rounds. Limit: many records, few rounds. Raises `Unavailable` without
    evaluations.
    """
    return scored(view, question, auxiliary, ridge, _evaluated(view), "no_evaluations")


def _random_models(
    question: Records, auxiliary: Cohort | None, rng: np.random.Generator, model: ModelSpec, *, ridge: float = 1e-8
) -> Act:
    """Sends for evaluation a network with random weights, another one in each round."""
    first = int(rng.integers(2**31))

    def probe(round_: int, client: int, parameters: Parameters) -> Parameters:
        drawn = models.get_parameters(models.build(model, (first + round_) % 2**31))
        return {**parameters, **{name: np.float32(SPREAD) * values for name, values in drawn.items()}}

    return Act(probe=probe)


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-516",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://doi.org/10.1109/FOCS.2015.46",
    uses={"auxiliary"},
    act=_random_models,
    suits="evaluations",
)
def random_evaluations(
    view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator, *, ridge: float = 1e-8
) -> Scores:
    """As `evaluation_metrics`, of networks with random weights that the server sends for evaluation.

    Threat model: a malicious server. Training goes on as it should; only the models that clients evaluate are not the
    global ones. The answers to different random models are nearly independent sums of the client's records, so each
    round tells something new (Dwork et al. 2015). Raises `Unavailable` without evaluations.
    """
    return scored(view, question, auxiliary, ridge, _evaluated(view), "no_evaluations")
