"""Whether clients' answers are what the owner's records give: if not, an attack that finds nobody says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import chi2

from testbed.attacks.membership.evaluations import reported
from testbed.core import Array, Asked, Cohort, Exchange, Parameters, Protocol, Transcript
from testbed.core.randomness import keyed_rng
from testbed.harness.federation.asked import computed
from testbed.harness.federation.recorded import Key
from testbed.subjects.federation.local import evaluated, local_update

FLAG = "answers_unexplained"
COMPARED = 390
"""Groups of other people, each as many as there are records, with whom all records are compared together."""
ANSWERS = 10
"""Answers that are looked at, drawn at random."""
LEVEL = 0.01
"""Level of the test that the records explain the answers better than other people's do."""


def explained(
    view: Transcript,
    held: Mapping[Key, Cohort],
    others: Cohort,
    seed: int,
    answers: Sequence[Exchange] | None = None,
) -> bool | None:
    """Do the records explain the answers better than other people's records? None where that cannot be computed.

    `others` are people on whom nobody trained. `answers` are those to training, or the ones given. For an answer, two
    things are ranked among groups of other people: the cosine of the step that the client made with the gradient of the
    records, and the loss of the records under what the client returned. An answer to an evaluation or a query is ranked
    by how near the loss and the accuracy of the records come to what the client told. Ranks of answers are joined by
    Fisher's method. Records of another client, another loss, a mask or much noise are no better than other people's.
    """
    read = view.exchanges if answers is None else answers
    asked = [e for e in read if e.key in held and e.sent and (e.returned or isinstance(e, Asked))]
    rng = keyed_rng(seed, "records beside others")
    chosen = [asked[i] for i in rng.permutation(len(asked))[:ANSWERS]]
    if view.model is None or not chosen:
        return None
    ranks: list[float] = []
    for one in chosen:
        own = held[one.key]
        crowd = _groups(others, len(own), COMPARED // len(chosen), rng)
        try:
            found = [_signals(view, one, people) for people in (own, *crowd)]
        except Exception:  # the model is the user's own, and may raise anything
            return None
        ranks.append(_rank(np.array(found)))
    return bool(chi2.sf(-2 * np.log(ranks).sum(), 2 * len(ranks)) < LEVEL)


def _groups(others: Cohort, size: int, count: int, rng: np.random.Generator) -> list[Cohort]:
    """Groups of other people, drawn at random; of single people, each is drawn once at most."""
    if size == 1:
        return [others.take([i]) for i in rng.permutation(len(others))[:count]]
    return [others.take(rng.permutation(len(others))[:size]) for _ in range(count)]


def _rank(found: Array) -> float:
    """The p-value of the first row of signals (n, k) among the others: the least of its columns', times k."""
    beaten = (~(found[0] > found[1:])).sum(0)  # what is no number explains nothing
    return float(min(1.0, found.shape[1] * ((1 + beaten) / len(found)).min()))


def _signals(view: Transcript, one: Exchange, people: Cohort) -> list[float]:
    """How well these people explain an answer: by the direction of its step, and, of new weights, by their loss."""
    assert view.model is not None
    if isinstance(one, Asked):
        told, own = reported(one.metrics), computed(view, one, people)
        return [-abs(told[name] - own.get(name, np.nan)) for name in told]
    sent, returned = one.sent or {}, one.returned or {}
    whole = Protocol("fedsgd", len(people))
    wanted = local_update(view.model, sent, people, whole, [np.arange(len(people))])
    if view.protocol.kind == "fedsgd":
        return [_cosine(returned, wanted)]
    made = {name: sent[name] - returned[name] for name in wanted if name in sent and name in returned}
    return [_cosine(made, wanted), -evaluated(view.model, returned, people)["loss"]]


def _cosine(one: Parameters, other: Parameters) -> float:
    names = [name for name in other if name in one]
    a, b = (np.concatenate([np.ravel(of[n]).astype(np.float64) for n in names] or [np.zeros(1)]) for of in (one, other))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 0 else 0.0
