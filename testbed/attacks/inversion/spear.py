"""SPEAR: exact reconstruction of a batch behind a ReLU layer, because many of its gradients are zero."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from testbed import models
from testbed.attacks.inversion.updates import first_linear, gradients
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Parameters, Reconstruction, Transcript, Unavailable
from testbed.core.randomness import keyed_rng

RANK_FLOOR = 1e-6
"""Singular values below this share of the largest one are rounding errors of 32 bits."""
ZERO = 2e-4
"""The |cosine| between a neuron's row and a direction below which the neuron counts as zero in this direction."""
UNDECIDED = 1e-4
"""Outputs smaller than this share of the median output may have either sign, because of rounding in 32 bits."""
HITS = 50
"""How often each record's direction is expected to be guessed before the attack stops."""
CHUNK = 2048


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-002",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture"},
    position="server",
    reference="https://arxiv.org/abs/2403.03945",
    suits="linear",
    width=128,
)
def spear(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    attempts: int = 200_000,
) -> Reconstruction:
    """Unmix a batch exactly from the gradient of a linear layer before a ReLU, and certify it (Dimitrov et al. 2024).

    Threat model: a curious server that follows the protocol and knows the architecture, whose first layer is fully
    connected and followed by a ReLU. The weight gradient is D^T X, with the gradients D at the layer's outputs and the
    records X; its rank is the batch size b. A ReLU makes about half of the neurons inactive for each record. Therefore
    a direction of the b-dimensional column space in which many neurons are zero is a column of D. A direction is
    guessed from b - 1 neurons, and is right with a chance of about b / 2^(b-1), so that the number of guesses doubles
    with each record; `attempts` limits it.

    The certificate of a batch is the share of (record, neuron) pairs whose recomputed activity agrees with the zeros
    found; 1 means that all of it is explained. Limits: b distinct records, fewer than neurons; float precision.
    """
    rebuilt: dict[tuple[int, int], Array] = {}
    certificate: dict[tuple[int, int], float] = {}
    width, seed = math.prod(question.shape), int(rng.integers(2**31))
    network = models.known(view.model)
    sizes = {} if question.sizes is None else dict(zip(question.keys, question.sizes, strict=True))
    for key, exchange, gradient in gradients(view, question):
        weight, bias = first_linear(gradient, width, network)
        assert exchange.sent is not None
        layer = _layer_of(exchange.sent, width)
        found = unmix(weight, bias, layer, keyed_rng(seed, *key), attempts, sizes.get(key))
        if found is not None:
            rebuilt[key] = found[0].reshape(-1, *question.shape)  # exact, so not clipped to an assumed range
            certificate[key] = found[1]
    if not rebuilt:
        raise Unavailable(
            "not_unmixed",
            "an active layer with a ReLU, a smaller batch, more attempts, or a gradient without noise: exact unmixing "
            "ends at the slightest noise, which does not show that the noise protects anybody (ask another attack)",
        )
    return Reconstruction(rebuilt, certificate=certificate)


def _layer_of(sent: Parameters, width: int) -> tuple[Array, Array]:
    """The parameters of the layer whose gradient is read."""
    return first_linear({k: np.asarray(v, dtype=np.float64) for k, v in sent.items()}, width)


def unmix(
    weight: Array,
    bias: Array,
    layer: tuple[Array, Array],
    rng: np.random.Generator,
    attempts: int,
    size: int | None = None,
) -> tuple[Array, float] | None:
    """Records (b, width) and their certificate in [0, 1] from the layer's gradients `weight` (k, width), `bias` (k,).

    `size` is b if the attacker knows it; otherwise the rank is estimated from the singular values. None if no neuron is
    active, or if too few directions were found to explain the gradient.
    """
    left, singular, right = np.linalg.svd(weight, full_matrices=False)
    if singular[0] <= 0:
        return None
    significant = int((singular > RANK_FLOOR * singular[0]).sum())
    rank = min(significant, size) if size else _rank(singular)
    left, right = left[:, :rank], singular[:rank, None] * right[:rank]
    norms = np.linalg.norm(left, axis=1)
    active = norms > 1e-5 * norms.max()
    rows = left[active] / norms[active, None]
    if len(rows) < rank:
        return None
    kept: list[Array] = []
    best: tuple[Array, float] | None = None
    for directions in _guesses(rows, rank, rng, attempts):
        kept = _distinct([*kept, *directions], rows)[: 4 * rank]
        if len(kept) < rank:
            continue
        made = _assemble(kept, rows, rank, left, right, bias, layer)
        if made is not None and (best is None or made[1] > best[1]):
            best = made
        if best is not None and best[1] == 1.0:
            break
    return best


def _rank(singular: Array) -> int:
    """The rank: the position of the largest drop among the singular values."""
    floor = np.maximum(singular, 1e-9 * singular[0])
    return 1 + int(np.argmax(floor[:-1] / floor[1:])) if len(floor) > 1 else 1


def _guesses(rows: Array, rank: int, rng: np.random.Generator, attempts: int) -> Iterator[list[Array]]:
    """Guessed directions in which clearly more neurons are zero than the rank - 1 that define the guess."""
    if rank == 1:
        yield [np.ones(1)]
        return
    least = rank - 1 + max(2, round(0.05 * len(rows)))
    enough = min(attempts, max(CHUNK, HITS * 2 ** (rank - 1)))
    for start in range(0, enough, CHUNK):
        count = min(CHUNK, enough - start)
        drawn = np.argpartition(rng.random((count, len(rows))), rank - 1, axis=1)[:, : rank - 1]
        normal = np.linalg.svd(rows[drawn])[2][:, -1, :]
        zeros = (np.abs(normal @ rows.T) < ZERO).sum(1)
        yield [_polished(q, rows) for q in normal[zeros >= least]]


def _polished(direction: Array, rows: Array) -> Array:
    """The direction computed again from all neurons that are zero in it."""
    for _ in range(2):
        silent = rows[np.abs(rows @ direction) < ZERO]
        direction = np.linalg.svd(silent, full_matrices=True)[2][-1]
    return direction


def _distinct(directions: list[Array], rows: Array) -> list[Array]:
    """The distinct directions, in the order of the number of neurons that are zero in them, largest first."""
    matrix = np.array(directions)
    if not len(matrix):
        return []
    order = np.argsort(-(np.abs(matrix @ rows.T) < ZERO).sum(1), kind="stable")
    kept: list[int] = []
    for i in order:
        if not kept or np.abs(matrix[kept] @ matrix[i]).max() < 1 - 1e-6:
            kept.append(int(i))
    return [matrix[i] for i in kept]


def _assemble(
    directions: list[Array],
    rows: Array,
    rank: int,
    left: Array,
    right: Array,
    bias: Array,
    layer: tuple[Array, Array],
) -> tuple[Array, float] | None:
    """A basis of the sparsest independent directions, improved by swaps that explain more of the activity."""
    chosen: list[int] = []
    for i in range(len(directions)):
        basis = np.array([directions[j] for j in [*chosen, i]])
        if np.linalg.svd(basis, compute_uv=False)[-1] > 1e-4:
            chosen.append(i)
        if len(chosen) == rank:
            break
    if len(chosen) < rank:
        return None
    best = _explained([directions[i] for i in chosen], left, right, bias, layer)
    for place in range(rank):
        for other in range(len(directions)):
            if best is not None and best[1] == 1.0:
                return best
            if other in chosen:
                continue
            swapped = [*chosen[:place], other, *chosen[place + 1 :]]
            made = _explained([directions[i] for i in swapped], left, right, bias, layer)
            if made is not None and (best is None or made[1] > best[1]):
                best, chosen = made, swapped
    return best


def _explained(
    basis: list[Array], left: Array, right: Array, bias: Array, layer: tuple[Array, Array]
) -> tuple[Array, float] | None:
    """Records computed from a basis, scaled by the bias gradient, and the share of activities that they explain."""
    mixing = np.array(basis).T
    if np.linalg.cond(mixing) > 1e8:
        return None
    unscaled = left @ mixing
    scale = np.linalg.lstsq(unscaled, bias, rcond=None)[0]
    if (np.abs(scale) < 1e-12 * np.abs(scale).max()).any():
        return None
    records = np.linalg.solve(mixing * scale, right)
    outputs = records @ layer[0].T + layer[1]
    lengths = np.linalg.norm(left, axis=1)[:, None]
    loudness = np.abs(unscaled) / np.maximum(lengths, 1e-5 * lengths.max())
    heard = loudness > ZERO
    # A neuron that nobody hears says nothing: it may be off, or on without a way to the loss.
    told = lengths[:, 0] > 1e-5 * lengths.max()
    near = np.abs(outputs.T) < UNDECIDED * np.median(np.abs(outputs))
    agrees = ((outputs.T > 0) == heard) | near | ((loudness > ZERO / 5) & (loudness < ZERO * 5))
    return records, float(agrees[told].mean())
