"""Transformers over word numbers: a decoder that predicts the next word, and an encoder that classifies a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PADDING = 0
"""The number that fills a sentence up to the model's length; a decoder predicts it after the last word."""
HEADS = 4
"""The default number of attention heads of a layer."""


class SelfAttention(nn.Module):
    """Multi-head attention with one joint linear map to queries, keys and values, as in GPT-2."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, padded: Tensor) -> Tensor:
        n, length, width = x.shape
        parts = self.qkv(x).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        hidden = padded[:, None, None, :].expand(n, 1, length, length)
        if self.causal:
            hidden = hidden | torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        # Every position sees itself, so that no row of the softmax is empty.
        hidden = hidden & ~torch.eye(length, dtype=torch.bool, device=x.device)
        scores = parts[0] @ parts[1].transpose(-1, -2) / (width // self.heads) ** 0.5
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        return self.out((weights @ parts[2]).transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):
    """Attention, then two linear layers, each after a layer normalisation and with a residual connection."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, causal)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, padded: Tensor) -> Tensor:
        x = x + self.attention(self.before(x), padded)
        return x + self.feed(self.after(x))


class Transformer(nn.Module):
    """A small transformer without dropout; a record is `shape[0]` word numbers, filled up with `PADDING`.

    If `causal`, it is a decoder: outputs are logits (n, length, vocabulary) of each next word, computed with the
    embedding's weights. Otherwise it is an encoder, whose outputs (n, classes) come from the mean over the words.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        vocabulary: int,
        width: int = 64,
        layers: int = 2,
        heads: int = HEADS,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(shape[0], width)
        self.blocks = nn.ModuleList(Block(width, heads, causal) for _ in range(layers))
        self.last = nn.LayerNorm(width)
        if not causal:
            self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        words = x.long()
        padded = words == PADDING
        state = self.embedding(words) + self.position.weight[: words.shape[1]]
        for block in self.blocks:
            state = block(state, padded)
        state = self.last(state)
        if self.causal:
            return state @ self.embedding.weight.T / state.shape[-1] ** 0.5
        kept = (~padded).unsqueeze(-1)
        return self.head((state * kept).sum(1) / kept.sum(1).clamp_min(1))

    def losses(self, outputs: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Loss (n,) of each sentence: for a decoder its mean over next words and the end, else the class's loss."""
        if not self.causal:
            return nn.functional.cross_entropy(outputs, y, reduction="none")
        words = x.long()
        following = torch.cat([words[:, 1:], torch.full_like(words[:, :1], PADDING)], 1)
        real = (words != PADDING).float()
        each = nn.functional.cross_entropy(outputs.transpose(1, 2), following, reduction="none")
        return (each * real).sum(1) / real.sum(1).clamp_min(1)
