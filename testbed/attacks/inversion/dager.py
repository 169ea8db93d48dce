"""Text from a transformer's gradient: the gradient of a linear layer lies in the span of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.attacks.inversion.updates import gradients
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.models.text import PADDING

PROJECTIONS = ("qkv", "in_proj", "c_attn", "query", "key", "value", "q_proj", "k_proj", "v_proj")
"""Names of linear layers that are input maps of attention."""
CHUNK = 256
"""Sentences whose states are computed together."""


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-009",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture"},
    position="server",
    reference="https://arxiv.org/abs/2405.15586",
    suits="text",
)
def dager(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-3,
    searches: int = 96,
) -> Reconstruction:
    """Find the words, then the sentences, whose states lie in the span of the attention gradients (DAGER; Petrov 2024).

    Threat model: a curious server that knows a transformer of two or more layers, and not even the batch size. The rows
    of the gradient of attention's input maps lie in the span of the batch's states. In the first layer, a state depends
    on a word and its position. In the second layer of a decoder, it depends on the whole sentence up to there, so
    sentences are extended word by word. In an encoder it depends on all words, so words are exchanged one at a time
    until all states lie in the span, with up to `searches` restarts. A vector lies in the span if its relative distance
    is below `tolerance`.

    The certificate is 1 if the states of the found sentences span the whole gradients of both layers, else 0. Limit:
    batches of fewer words than the layer's width.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    model = models.build(view.model)
    names = attention_inputs(model)
    if len(names) < 2 or len(question.shape) != 1:
        raise Unavailable("no_transformer", "a transformer of two or more layers, over word numbers")
    vocabulary = next(m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding))
    rebuilt: dict[tuple[int, int], Array] = {}
    certificate: dict[tuple[int, int], float] = {}
    seed = int(rng.integers(2**31))
    for key, exchange, gradient in gradients(view, question):
        assert exchange.sent is not None
        model.load_state_dict(models.to_tensors(exchange.sent, model), strict=False)
        spans = [Span.of(np.concatenate([gradient[n] for n in site.weights])) for site in names[:2]]
        if spans[0].rank == 0 or spans[0].full:
            rebuilt[key], certificate[key] = np.empty((0, *question.shape)), 0.0
            continue
        candidates = words_in(model, names[0], spans[0], vocabulary, question.shape[0], tolerance)
        states = _states(model, names[1])
        if _causal(states, question.shape[0], vocabulary):
            sentences = grown(states, spans[1], candidates, tolerance)
        else:
            sentences = exchanged(states, spans[1], candidates, tolerance, searches, keyed_rng(seed, *key))
        rebuilt[key] = sentences.astype(np.float64)
        whole = all(
            _rank(_states(model, site), sentences) == span.rank for site, span in zip(names[:2], spans, strict=True)
        )
        certificate[key] = float(len(sentences) > 0 and whole)
    return Reconstruction(rebuilt, certificate=certificate)


@dataclass(frozen=True, slots=True)
class Span:
    """The row space of a gradient, with an orthonormal `basis` (rank, width); `full` says that it excludes no state."""

    basis: Array
    full: bool

    @classmethod
    def of(cls, gradient: Array) -> Span:
        """The span of the singular directions whose values exceed the rounding error of 32 bits."""
        _, values, rows = np.linalg.svd(np.asarray(gradient, dtype=np.float64), full_matrices=False)
        if not len(values) or values[0] <= 0:
            return cls(rows[:0], False)
        kept = int((values > values[0] * max(gradient.shape) * np.finfo(np.float32).eps / 16).sum())
        # States after a layer normalisation have one dimension fewer than numbers.
        return cls(rows[:kept], kept >= rows.shape[1] - 1)

    @property
    def rank(self) -> int:
        return len(self.basis)

    def distance(self, vectors: Array) -> Array:
        """The share in [0, 1] of each vector's length (vectors (..., width)) that lies outside the span."""
        inside = ((vectors @ self.basis.T) ** 2).sum(-1)
        return np.sqrt(np.clip(1 - inside / np.maximum((vectors**2).sum(-1), 1e-30), 0, 1))


def _rank(states: Callable[[Array], Array], sentences: Array) -> int:
    """The dimension of the span of the states of these sentences' words."""
    if not len(sentences):
        return 0
    vectors = states(sentences)[sentences != PADDING]
    return int(np.linalg.matrix_rank(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), tol=1e-5))


@dataclass(frozen=True, slots=True)
class Site:
    """One layer's attention: the module whose inputs are the states, and the names of its input weights."""

    module: str
    weights: tuple[str, ...]


def attention_inputs(model: nn.Module) -> list[Site]:
    """The attention layers in order."""
    found: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        parent, _, own = name.rpartition(".")
        if isinstance(module, nn.MultiheadAttention):
            found[name] = [f"{name}.in_proj_weight"]
        elif isinstance(module, nn.Linear) and own in PROJECTIONS:
            found.setdefault(parent, []).append(f"{name}.weight")
    return [
        Site(parent if weights[0].endswith("in_proj_weight") else weights[0].removesuffix(".weight"), tuple(weights))
        for parent, weights in found.items()
    ]


class _Reached(Exception):  # noqa: N818 - not an error: it ends a forward pass early
    pass


def _states(model: nn.Module, site: Site) -> Callable[[Array], Array]:
    """A function from sentences (n, length) of word numbers to the states (n, length, width) of a layer's attention."""
    module = model.get_submodule(site.module)

    def states(sentences: Array) -> Array:
        seen: list[Tensor] = []

        def look(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen.append(given[0])
            raise _Reached

        hook = module.register_forward_pre_hook(look)
        parts: list[Array] = []
        try:
            for start in range(0, len(sentences), CHUNK):
                try:
                    with torch.no_grad():
                        model(torch.from_numpy(sentences[start : start + CHUNK].astype(np.float32)))
                except _Reached:
                    parts.append(seen.pop().double().numpy())
        finally:
            hook.remove()
        return np.concatenate(parts)

    return states


def _causal(states: Callable[[Array], Array], length: int, vocabulary: int) -> bool:
    """Whether the states of earlier positions do not depend on later words."""
    one = np.ones((1, length), dtype=np.int64)
    other = one.copy()
    other[0, -1] = vocabulary - 1
    return length > 1 and bool((states(one)[0, 0] == states(other)[0, 0]).all())


def words_in(model: nn.Module, site: Site, span: Span, vocabulary: int, length: int, tolerance: float) -> list[Array]:
    """For each position, the words (k,) whose state in the first layer lies in the span."""
    states = _states(model, site)
    everywhere = np.repeat(np.arange(vocabulary)[:, None], length, 1)
    near = np.concatenate(
        [span.distance(states(everywhere[start : start + CHUNK])) < tolerance for start in range(0, vocabulary, CHUNK)]
    )
    near[PADDING] = False
    return [np.flatnonzero(near[:, place]) for place in range(length)]


MOST = 1024


def grown(states: Callable[[Array], Array], span: Span, candidates: list[Array], tolerance: float) -> Array:
    """Sentences (k, length) of a decoder, extended word by word; a sentence ends if no candidate extends it.

    If more than `MOST` sentences can be extended at once, only the nearest to the span are.
    """
    length = len(candidates)
    done: list[Array] = []
    open_ = np.full((1, length), PADDING)
    for place, words in enumerate(candidates):
        longer = np.repeat(open_, len(words), 0)
        longer[:, place] = np.tile(words, len(open_))
        away = span.distance(states(longer)[:, place]) if len(longer) else np.empty(0)
        within = away < (min(tolerance, np.partition(away, MOST)[MOST]) if len(away) > MOST else tolerance)
        goes_on = within.reshape(len(open_), len(words)).any(1)
        done += list(open_[~goes_on])
        open_ = longer[within]
        if not len(open_):
            break
    ended = [s for s in [*done, *open_] if (s != PADDING).any()]
    return np.array(ended, dtype=np.int64).reshape(-1, length)


TOGETHER = 16
"""Searches that run together; later searches begin with words that no sentence found so far explains."""


def exchanged(
    states: Callable[[Array], Array],
    span: Span,
    candidates: list[Array],
    tolerance: float,
    searches: int,
    rng: np.random.Generator,
) -> Array:
    """Sentences (k, length) of an encoder: random words, exchanged one at a time until all states fit best."""
    length = len(candidates)
    longest = next((i for i, words in enumerate(candidates) if not len(words)), length)
    found = np.empty((0, length), np.int64)
    if longest == 0:
        return found
    for _ in range(0, searches, TOGETHER):
        sentences = np.full((TOGETHER, length), PADDING)
        for place in range(longest):
            left = np.setdiff1d(candidates[place], found[:, place])
            sentences[:, place] = rng.choice(left if len(left) else candidates[place], TOGETHER)
        sentences = _improved(states, span, sentences, candidates[:longest], rng)
        outside = np.where(sentences != PADDING, span.distance(states(sentences)), 0)
        found = np.unique(np.concatenate([found, sentences[(outside < tolerance).all(1)]]), axis=0)
        if len(found) and _rank(states, found) == span.rank:
            break
    return found


def _improved(
    states: Callable[[Array], Array], span: Span, sentences: Array, candidates: list[Array], rng: np.random.Generator
) -> Array:
    """The sentences (n, length) after changes of single words, or of the end, until none brings the states nearer."""
    n, length = sentences.shape

    def misfit(tried: Array) -> Array:
        real = tried != PADDING
        return (span.distance(states(tried)) * real).sum(1) / real.sum(1)

    best = np.full(n, np.inf)
    while True:
        for place in rng.permutation(len(candidates)):
            options = [np.where(np.arange(length) == place, word, sentences) for word in candidates[place]]
            options += [np.where(np.arange(length) < place, sentences, PADDING)] if place else []
            tried = np.stack(options, 1)
            values = misfit(tried.reshape(-1, length)).reshape(n, -1)
            sentences = tried[np.arange(n), values.argmin(1)]
        now = misfit(sentences)
        if (now >= best - 1e-12).all():
            return sentences
        best = now
