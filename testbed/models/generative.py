"""A generator of tables that a federation can train, with an exact likelihood, and so an exact loss, of each record."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Autoregressive(nn.Module):
    """An autoregressive network: it predicts each column from the columns before it (MADE; Germain et al. 2015).

    Reference: arXiv 1502.03509. A record is one-hot (total,), column after column; `blocks` are the columns' numbers of
    categories. Outputs are logits (n, total). `shape` is (total,), and `classes` is not used.
    """

    inward: Tensor
    onward: Tensor

    def __init__(self, shape: Sequence[int], classes: int, blocks: Sequence[int], hidden: int = 128) -> None:
        super().__init__()
        if sum(blocks) != shape[0] or len(blocks) < 2:
            raise ValueError("blocks must be two or more and sum to the record's width")
        self.blocks = [int(b) for b in blocks]
        place = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor(self.blocks))
        degree = torch.arange(hidden) % (len(blocks) - 1)
        # A hidden neuron of degree m reads columns up to m, and feeds the columns after m.
        self.register_buffer("inward", (place[None, :] <= degree[:, None]).float(), persistent=False)
        self.register_buffer("onward", (place[:, None] > degree[None, :]).float(), persistent=False)
        self.first = nn.Linear(shape[0], hidden)
        self.last = nn.Linear(hidden, shape[0])

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.relu(nn.functional.linear(x.flatten(1), self.first.weight * self.inward, self.first.bias))
        return nn.functional.linear(seen, self.last.weight * self.onward, self.last.bias)

    def losses(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Minus the log-likelihood of each record (n,), in nats."""
        parts = zip(outputs.split(self.blocks, 1), x.flatten(1).split(self.blocks, 1), strict=True)
        return torch.stack([-(o.log_softmax(1) * t).sum(1) for o, t in parts]).sum(0)

    def sample(self, rows: int, seed: int) -> Tensor:
        """New records (rows, total), one-hot, drawn column by column."""
        drawn = torch.zeros(rows, sum(self.blocks))
        source = torch.Generator().manual_seed(seed)
        start = 0
        with torch.no_grad():
            for width in self.blocks:
                chances = self(drawn)[:, start : start + width].softmax(1)
                chosen = torch.multinomial(chances, 1, generator=source)
                drawn[torch.arange(rows), start + chosen[:, 0]] = 1.0
                start += width
        return drawn
