"""Reconstruction by curious clients: their own updates are subtracted from the change of the global model."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from testbed.attacks.registry import attack, find
from testbed.core import Array, Batch, Cohort, Exchange, Parameters, Reconstruction, Transcript, Unavailable
from testbed.core.defence import Defence

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Rounding error of the difference of two global models, as a share of their largest number."""


def left_over(view: Transcript, examples: float = 0) -> dict[int, tuple[Parameters, dict[str, Array]]]:
    """By round: the model that was sent, and the mean of what the clients outside this view returned.

    The server weights clients by their numbers of examples, `examples` in total. The mean of the others is then
    (examples m - sum of n_i u_i) / (examples - sum of n_i), summed over the clients i of this view. If `examples` is 0,
    all clients are assumed to hold as many as those of this view on average. The aggregate m is the next global model
    (FedAvg), or (w_r - w_{r+1}) / lr (FedSGD). A round is left out if the next global model was not seen, if one of
    these clients did not answer, or if they hold all examples. Raises `Unavailable` if the next model is not that mean.
    """
    protocol = view.protocol
    if protocol.server is not None or protocol.controls:
        raise Unavailable("no_plain_mean", "a server whose next model is the clients' weighted mean")
    rounds: defaultdict[int, list[Exchange]] = defaultdict(list)
    for exchange in view.exchanges:
        rounds[exchange.round].append(exchange)
    known = {e.client for e in view.exchanges}
    others = protocol.clients - len(known)
    made: dict[int, tuple[Parameters, dict[str, Array]]] = {}
    for round_, mine in rounds.items():
        sent, answers = mine[0].sent, [e.returned for e in mine if e.returned is not None]
        following = rounds.get(round_ + 1)
        after = following[0].sent if following else view.final if round_ == max(rounds) else None
        held = np.array([e.metrics.get("num-examples", 1.0) for e in mine])
        total = examples or protocol.clients * held.mean()
        if sent is None or after is None or others < 1 or len(answers) < len(known) or total <= held.sum():
            continue
        if protocol.kind == "fedsgd":
            rate = protocol.learning_rate
            if not rate:
                continue
            mean = {k: (np.asarray(sent[k], np.float64) - np.asarray(after[k], np.float64)) / rate for k in answers[0]}
        else:
            mean = {k: np.asarray(after[k], np.float64) for k in answers[0]}
        own = {k: sum(n * np.asarray(a[k], np.float64) for n, a in zip(held, answers, strict=True)) for k in mean}
        made[round_] = sent, {k: (total * v - own[k]) / (total - held.sum()) for k, v in mean.items()}
    return made


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-201",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "hyper_parameters"},
    position="client",
    reference="https://arxiv.org/abs/1805.04049",
    uses={"auxiliary", "defence"},
)
def aggregate_difference(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    reader: str = "analytic_linear",
    examples: int = 0,
) -> Reconstruction:
    """Subtract the attackers' own updates from the aggregate, and read the rest with a server's attack.

    Threat model: a curious client, or several that collude. They see successive global models, and know the protocol,
    the server's learning rate and the number of clients. If clients hold unequal numbers of records, they also know the
    total, `examples` (Melis et al. 2019 observe the same difference). If only one client does not collude, the rest is
    that client's update; otherwise it is the mean of the others' updates. `reader` names the server's attack. If only
    one client does not collude and the server changes nothing, known defences are told to the reader: bounds hold for a
    client's update, but not for a mean of several.

    Limits: float32 rounding of the global model (divided by the learning rate in FedSGD); if another client dropped
    out, the rest is too large. Raises `Unavailable` if the attackers hold unequal numbers of records themselves and
    `examples` is not given, because the rest is then unknown.
    """
    if not examples and len({e.metrics.get("num-examples", 1.0) for e in view.exchanges}) > 1:
        raise Unavailable("unequal_examples", "how many records all clients hold together (examples)")
    rest = left_over(view, examples)
    own = {e.client for e in view.exchanges}
    question = replace(question, defences=_of_one_client(view, question))
    exchanges = [
        Exchange(
            round_, client, rest[round_][0], _rounded(view, *rest[round_]) if question.defences else rest[round_][1]
        )
        for round_, client in question.keys
        if round_ in rest and client not in own
    ]
    if not exchanges:
        raise Unavailable("no_aggregate", "two successive global models and one's own update between them")
    reads = find(reader)
    known = {"architecture", "hyper_parameters"} | ({"defence"} if question.defences else set())
    known |= {"batch_size"} if question.sizes is not None else set()
    known |= {"auxiliary"} if auxiliary is not None else set()
    if lacking := sorted(reads.needs - known):
        raise Unavailable("reader_needs", f"a threat that knows {', '.join(lacking)}, for {reader}")
    seen = replace(view, exchanges=tuple(exchanges), position="server")
    return reads.read(seen, question, auxiliary, rng, **reads.defaults)


def _of_one_client(view: Transcript, question: Batch) -> tuple[Defence, ...] | None:
    """The known defences, if what is left over is one client's update and no rule of the server changed it."""
    others = view.protocol.clients - len({e.client for e in view.exchanges})
    known = question.defences or ()
    return known if others == 1 and not any(d.where == "server" for d in known) else None


def _rounded(view: Transcript, sent: Parameters, left: Parameters) -> dict[str, Array]:
    """What is left over, with 0 where the update is smaller than the rounding errors of global models in 32 bits."""
    plain = view.protocol.kind == "fedsgd"
    lost = ROUNDING * view.protocol.clients / (view.protocol.learning_rate or 1.0 if plain else 1.0)
    made: dict[str, Array] = {}
    for name, values in left.items():
        start = np.asarray(sent[name], np.float64)
        nothing = np.zeros_like(start) if plain else start
        made[name] = np.where(np.abs(values - nothing) <= lost * np.abs(start).max(initial=0.0), nothing, values)
    return made
