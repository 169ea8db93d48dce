"""A small vision transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from testbed.models.text import Block


class VisionTransformer(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929): patches are tokens; their mean is classified.

    Attention is written out, because gradient matching differentiates it twice, which torch's fused kernel cannot.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, patch: int = 4, width: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        depth, height, across = shape
        if height % patch or across % patch:
            raise ValueError("the picture must divide into patches")
        self.patches = nn.Conv2d(depth, width, patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, (height // patch) * (across // patch), width))
        self.blocks = nn.ModuleList(Block(width, heads, causal=False) for _ in range(layers))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        nothing = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=x.device)
        for block in self.blocks:
            tokens = block(tokens, nothing)
        return self.head(self.last(tokens).mean(1))
