"""Membership from what clients answer to an app's own queries, such as their loss of a model that the server chose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.attacks.membership.evaluations import scored
from testbed.attacks.registry import attack
from testbed.core import Asked, Cohort, Records, Scores, Transcript

QUERY = "query"


def answered(view: Transcript, query: str = "") -> list[Asked]:
    """The answers to queries, or to those of the name `query` alone (`query.NAME`), each with its numbers as metrics.

    An answer's numbers are its metrics, and its arrays that hold one number, by the last part of their names.
    """
    found: list[Asked] = []
    for answer in view.asked:
        kind, _, name = answer.kind.partition(".")
        if kind == QUERY and query in ("", name):
            arrays = {k: np.asarray(v) for k, v in (answer.returned or {}).items()}
            single = {k.rpartition(".")[2]: float(v.item()) for k, v in arrays.items() if v.size == 1}
            found.append(replace(answer, metrics={**single, **answer.metrics}))
    return found


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-517",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://doi.org/10.1371/journal.pgen.1000167",
    uses={"auxiliary"},
    suits="queries",
)
def query_metrics(
    view: Transcript,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    query: str = "",
    ridge: float = 1e-8,
) -> Scores:
    """Score each record by how well it explains the losses and accuracies that a client answers to queries.

    Threat model: a server that sends models in queries of its app (Flower's `@app.query`), of its own choice and as
    often as it likes, and reads the loss or the accuracy on the client's records. It knows the records asked about and
    their classes, and reads no update. The score is that of `evaluation_metrics` (Homer et al. 2008). `query` reads the
    queries of one name alone: different queries may be about different records. Limit: an answer that holds a number
    for each record says more than is read here. Raises `Unavailable` without such answers, as of histograms.
    """
    return scored(view, question, auxiliary, ridge, answered(view, query), "no_query_metrics")
