"""Text from a transformer's gradient: the inputs of a linear layer span its gradient, and there are few words."""

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
"""Names by which a linear layer is known for one of attention's input maps."""
CHUNK = 256


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
    """Keep the words, then the sentences, whose states lie in the span of the attention gradients (DAGER; Petrov et
    al. 2024).

    Threat model: a curious server that knows a transformer of two or more layers; nothing else, not the batch size.
    The gradient of attention's input maps has its rows in the span of the batch's states. In the first layer a state
    tells a word and its place; in the second, of a decoder, the whole sentence up to there, so that sentences grow
    word by word; of an encoder, whose states depend on all words at once, words are exchanged one at a time until all
    states lie in the span, begun anew up to `searches` times. A vector lies in it if its relative distance is below
    `tolerance`. Certified (1) where the words found span all of the first layer's gradient and the sentences all of
    the second's. Limit: batches of fewer words than the layer is wide.
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


# --- spans ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """The row space of a gradient: `basis` (rank, width), orthonormal."""

    basis: Array
    full: bool

    @classmethod
    def of(cls, gradient: Array) -> Span:
        """Directions whose singular value stands above single precision's rounding."""
        _, values, rows = np.linalg.svd(np.asarray(gradient, dtype=np.float64), full_matrices=False)
        if not len(values) or values[0] <= 0:
            return cls(rows[:0], False)
        kept = int((values > values[0] * max(gradient.shape) * np.finfo(np.float32).eps / 16).sum())
        # The states behind a layer normalisation have one dimension fewer than there are numbers.
        return cls(rows[:kept], kept >= rows.shape[1] - 1)

    @property
    def rank(self) -> int:
        return len(self.basis)

    def distance(self, vectors: Array) -> Array:
        """Of each vector (..., width) the share of its length that lies outside, in [0, 1]."""
        inside = ((vectors @ self.basis.T) ** 2).sum(-1)
        return np.sqrt(np.clip(1 - inside / np.maximum((vectors**2).sum(-1), 1e-30), 0, 1))


def _rank(states: Callable[[Array], Array], sentences: Array) -> int:
    """How many dimensions the states of these sentences' words span."""
    if not len(sentences):
        return 0
    vectors = states(sentences)[sentences != PADDING]
    return int(np.linalg.matrix_rank(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), tol=1e-5))


# --- the transformer --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Site:
    """One layer's attention: the module whose input is its state, and the weights that take it."""

    module: str
    weights: tuple[str, ...]


def attention_inputs(model: nn.Module) -> list[Site]:
    """The attention layers in order, each with the weights of its input maps."""
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


class _Reached(Exception):  # noqa: N818 - no error: it ends a forward pass where enough is known
    pass


def _states(model: nn.Module, site: Site) -> Callable[[Array], Array]:
    """What a layer's attention is given (n, length, width) for sentences (n, length) of word numbers."""
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
    """Does a later word leave the states of earlier places as they are?"""
    one = np.ones((1, length), dtype=np.int64)
    other = one.copy()
    other[0, -1] = vocabulary - 1
    return length > 1 and bool((states(one)[0, 0] == states(other)[0, 0]).all())


# --- words and sentences ----------------------------------------------------------------------------------


def words_in(model: nn.Module, site: Site, span: Span, vocabulary: int, length: int, tolerance: float) -> list[Array]:
    """For each place the words (k,) whose first state lies in the span."""
    states = _states(model, site)
    everywhere = np.repeat(np.arange(vocabulary)[:, None], length, 1)
    near = np.concatenate(
        [span.distance(states(everywhere[start : start + CHUNK])) < tolerance for start in range(0, vocabulary, CHUNK)]
    )
    near[PADDING] = False
    return [np.flatnonzero(near[:, place]) for place in range(length)]


MOST = 1024


def grown(states: Callable[[Array], Array], span: Span, candidates: list[Array], tolerance: float) -> Array:
    """Sentences (k, length) of a decoder, word by word; one ends where no candidate goes on.

    Where more than `MOST` go on at once, those that lie nearest to the span do.
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
"""So many searches run side by side; those after them begin with words that no sentence found so far explains."""


def exchanged(
    states: Callable[[Array], Array],
    span: Span,
    candidates: list[Array],
    tolerance: float,
    searches: int,
    rng: np.random.Generator,
) -> Array:
    """Sentences (k, length) of an encoder: from a random choice, one word at a time to where all states fit best."""
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
    """Each sentence (n, length) where no change of one word, or of its end, brings its states nearer to the span."""
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
