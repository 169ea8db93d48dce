"""Does a federation keep the epsilon that its defences promise? Every run that states an epsilon is audited.

Each client holds canary records, whose gradient is a random direction, far beyond any clipping bound. Rounds, batches,
defences and network are those of the run. Whoever reads the updates compares the direction that was sent with all
directions that might have been sent. What the comparison may show is limited by epsilon, whatever the noise looks like
(randomised canaries; cf. Pillutla et al. 2023, arXiv 2305.18447, and Andrew et al. 2023, arXiv 2302.03098).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.core import Array, Cohort, Parameters, Position, Transcript
from testbed.core.defence import Defence, Guarantee, guarantees
from testbed.core.errors import InputError, RunError
from testbed.core.randomness import keyed_rng
from testbed.defences.accounting import gaussian_epsilon, scipy_stats
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Unmeasured, Validity
from testbed.findings.statistics import Interval
from testbed.harness.dp_audit.directions import direction
from testbed.subjects.federation.apps import batches
from testbed.subjects.federation.attendance import Attendance
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.local import Gradient, LocalRule

TRIALS = 20
"""Canaries of an audit, each in a training of its own: one a client, in as many federations as that takes."""
UNDEFENDED = 10
"""Canaries of its positive control, which has no defence."""
SURE = 0.999
"""Confidence with which a promise must be contradicted before a run fails for it."""
STEEP = 1e3
"""Length of a canary's gradient, far beyond any clipping bound."""
MARK = 1000
"""What the features of a canary's record hold: this number plus its client's."""
RULES = {"client": "TB-EPSILON-203", "record": "TB-EPSILON-204"}
_KNOWN: dict[tuple[object, ...], Finding] = {}
"""The finding of each audit that was made in this process."""


@dataclass(frozen=True, slots=True)
class Trials:
    """For each canary (n,): how far the answers point along its direction, in standard deviations; the logarithm of the
    share of directions along which they point as far; and the same share for a direction that nobody sent."""

    along: Array
    log_p: Array
    others: Array


@dataclass(frozen=True, slots=True)
class Promise:
    """An epsilon that a federation promises, and whose eyes it is for: all `updates`, or the global models alone."""

    unit: Literal["record", "client"]
    epsilon: float
    delta: float
    updates: bool


def promises(federation: Federation, records: int, position: Position) -> list[Promise]:
    """The smallest epsilon promised for each unit, at clients of `records` records, to an attacker at this position."""
    exposure = federation.exposure(max(records, 1), position)
    given = [g for g in guarantees(federation.defences, exposure) if g is not None]
    open_: list[Guarantee | None] = guarantees(federation.defences, replace(exposure, position="server"))
    found: list[Promise] = []
    for unit in ("client", "record"):
        same = [g for g in given if g.unit == unit]
        if same:
            least = min(same, key=lambda g: g.epsilon)
            updates = any(g is not None and g.unit == unit and g.epsilon <= least.epsilon for g in open_)
            found.append(Promise(unit, least.epsilon, least.delta, updates))
    return found


def kept(federation: Federation, records: int, position: Position, trials: int = TRIALS) -> list[Finding]:
    """One finding for each promised epsilon: what the audit shows at least. It fails if that is more than promised."""
    found: list[Finding] = []
    for promise in promises(federation, records, position):
        key = (repr((federation, records, promise, trials)), *(d.make for d in federation.defences))
        if any(d.secret for d in federation.defences) or key not in _KNOWN:
            _KNOWN[key] = _told(federation, records, promise, trials)
        found.append(_KNOWN[key])
    return found


def _told(federation: Federation, records: int, promise: Promise, trials: int) -> Finding:
    what = "updates" if promise.updates else "models"
    plan = Plan(
        rule=RULES[promise.unit],
        risk="epsilon",
        attack="canary_directions",
        metric="epsilon_lower",
        unit=promise.unit,
        target=f"all {what} of the training",
        primary=True,
    )
    try:
        seen = audited(federation, records, promise, trials)
        bare = audited(replace(federation, defences=()), records, promise, UNDEFENDED)
    except (InputError, RunError):  # numbers that are not finite
        why = Unmeasured(unmeasured="diverged", needs="a training that stays finite: a smaller step, or less noise")
        return findings_.unmeasured(plan, why)
    shown, null, known = (statistics.epsilon_by_rank(p, promise.delta) for p in (seen.log_p, seen.others, bare.log_p))
    sure = statistics.epsilon_by_rank(seen.log_p, promise.delta, SURE)
    flags = ["claim_exceeded"] if sure.value > promise.epsilon else []
    flags += [] if known.value > promise.epsilon else ["positive_control_weak"]
    broken = (
        f"The promise is broken: it is {100 * SURE:g} % sure that epsilon is above {sure.value:.3g}. "
        if flags[:1] == ["claim_exceeded"]
        else ""
    )
    whom = "one record" if promise.unit == "record" else "all records of one client"
    plain = (
        f"The defences promise an epsilon of {promise.epsilon:.3g} for {whom}. From {what}, an audit with {trials} "
        f"canaries shows at least {shown.value:.3g} (95 % sure, delta {promise.delta:g}). {broken}"
        f"Without the defences it shows {known.value:.3g}, and about directions that nobody sent {null.value:.3g}."
    )
    estimates = [findings_.estimate("epsilon_lower", b, promise.unit) for b in (shown, null, known)]
    return findings_.unmeasured(plan, findings_.NOT_APPLICABLE, trials, trials).model_copy(
        update={
            "measure": estimates[0],
            "control": estimates[1],
            "positive_control": estimates[2],
            "validity": Validity(ok=not flags, flags=sorted(flags)),
            "plain": plain,
        }
    )


def estimated(seen: Trials, delta: float, level: float = 0.95) -> Interval:
    """Epsilon if the noise is Gaussian, with its two-sided interval: a replaced unit moves by twice a canary's length.

    It is close to the truth, but it takes the noise to be Gaussian. So it informs, and decides nothing.
    """
    mean = float(np.clip(seen.along.mean(), 0.0, 1e3))
    more = float(scipy_stats.norm.ppf((1 + level) / 2)) / math.sqrt(len(seen.along))
    value, low, high = (gaussian_epsilon(2 * max(m, 0.0), delta) for m in (mean, mean - more, mean + more))
    return Interval(value, low, high, level, "normal scores", len(seen.along))


def audited(federation: Federation, records: int, promise: Promise, trials: int) -> Trials:
    """The canaries of as many federations as `trials` takes.

    Secure aggregation and guards are left out of them. All clients answer in all rounds by the plain rules: the promise
    counts on no less.
    """
    federation = replace(federation, protocol=federation.protocol.plain(), attendance=Attendance())
    protocol = federation.protocol
    # In FedAvg every record enters each epoch once, so a client needs no more records than one batch.
    size = min(protocol.batch_size or records, records)
    held = max(1, size if protocol.kind == "fedavg" else records)
    shape, _ = models.input_of(federation.model)
    like = models.get_parameters(models.build(federation.model))
    planted = range(protocol.clients if promise.updates else 1)
    rows: list[tuple[float, float, float]] = []
    number = 0
    while len(rows) < trials:
        seed = int(keyed_rng(federation.seed, "promise", number).integers(2**31))
        canaries = {c: direction(seed, c, like) for c in planted}
        acting = tuple(d for d in federation.defences if d.where not in ("protocol", "message"))
        made = replace(
            federation, seed=seed, secure=None, guards=(), start=None, defences=(_canary(canaries, like), *acting)
        )
        marked = [_marked(made, c, held, promise.unit) for c in range(protocol.clients)]
        view = made.run([_people(c, held, own, shape) for c, own in enumerate(marked)])
        for client, own in canaries.items():
            rounds = range(1, protocol.rounds + 1)
            entered = [bool(np.isin(_rows(made, client, r, held), marked[client]).any()) for r in rounds]
            answers = _answers(view, client, promise.updates, protocol.kind == "fedsgd")
            total = np.sum([a for a, counts in zip(answers, entered, strict=True) if counts], axis=0)
            along, log_p = _compared(total, own)
            rows.append((along, log_p, _compared(total, direction(seed, protocol.clients + client, like))[1]))
        number += 1
    return Trials(*np.array(rows[:trials]).T)


def _rows(federation: Federation, client: int, round_: int, held: int) -> Array:
    return np.concatenate(list(batches(federation.protocol, federation.seed, client, round_, held)))


def _marked(federation: Federation, client: int, held: int, unit: str) -> Array:
    """The rows that are canaries: all of a client's, or the one record that enters most batches."""
    if unit == "client":
        return np.arange(held)
    rows = [_rows(federation, client, r, held) for r in range(1, federation.protocol.rounds + 1)]
    return np.array([np.bincount(np.concatenate(rows), minlength=held).argmax()])


def _people(client: int, held: int, marked: Array, shape: Sequence[int]) -> Cohort:
    """A client's records, of which the `marked` rows are canaries."""
    x = np.zeros((held, *shape), np.float32)
    x[marked] = MARK + client
    return Cohort(x, np.zeros(held, np.int64), np.arange(held) + client * held)


def _canary(canaries: Mapping[int, Array], like: Parameters) -> Defence:
    """A rule of training by which a canary's gradient is its client's direction, and that of any other record is 0."""
    ends = np.cumsum([v.size for v in like.values()])[:-1]
    size = sum(v.size for v in like.values())

    def make(*, seed: int) -> LocalRule:
        def rule(inner: Gradient, rng: np.random.Generator) -> Gradient:
            def gradient(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
                total = np.zeros(size)
                for mark in x.reshape(len(x), -1)[:, 0].tolist():
                    total += STEEP * canaries.get(round(mark) - MARK, np.zeros(size)) / len(x)
                parts = np.split(total, ends)
                return {
                    k: torch.tensor(p.reshape(v.shape)).float() for (k, v), p in zip(like.items(), parts, strict=True)
                }

            return gradient

        return rule

    return Defence("canary", {}, make, where="training")


def _answers(view: Transcript, client: int, updates: bool, gradients: bool) -> list[Array]:
    """What each round shows along a canary's direction: its client's update, or the change of the global model."""
    own = [e for e in view.exchanges if e.client == client]
    sent = [_flat(e.sent) for e in own]
    if updates and gradients:
        return [_flat(e.returned) for e in own]
    after = [_flat(e.returned) for e in own] if updates else [*sent[1:], _flat(view.final)]
    return [one - other for one, other in zip(sent, after, strict=True)]


def _flat(parameters: Parameters | None) -> Array:
    assert parameters is not None
    return np.concatenate([np.asarray(v, np.float64).ravel() for v in parameters.values()])


def _compared(total: Array, own: Array) -> tuple[float, float]:
    """How far the sum of answers points along a direction, in deviations across it, and the logarithm of the share of
    random directions along which it points as far (Student's t: a random direction is spherically symmetric)."""
    inner = float(total @ own)
    across = math.sqrt(max(float(np.square(total - inner * own).sum()), 1e-30)) / math.sqrt(len(own) - 1)
    return inner / across, statistics.log_tail_of_t(inner / across, len(own) - 1)
