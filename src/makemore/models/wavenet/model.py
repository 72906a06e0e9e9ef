"""`model=wavenet`: lecture 5's network, after van den Oord et al., "WaveNet" (2016).

Where the MLP squeezes all characters into one hidden layer at once, this one joins neighbouring pairs, level by level:
with a context of 8 characters, 4 pairs, then 2 pairs of pairs, then one vector. Every level is Linear, BatchNorm, tanh.
"""

import math

import torch
from torch import Tensor, nn

from makemore.models.base import LanguageModel
from makemore.models.wavenet.config import Config


class Level(nn.Module):
    """Joins neighbouring pairs of vectors: (B, T, width) -> (B, T / 2, hidden)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.tanh = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        """Statistics of the normalization are over all examples and positions."""
        rows, length, width = x.shape
        a = self.linear(x.view(rows * length // 2, 2 * width))  # (B * T / 2, hidden)
        h: Tensor = self.tanh(self.norm(a))  # (B * T / 2, hidden)
        return h.view(rows, length // 2, -1)


class Model(LanguageModel):
    """Embedding, log2(block_size) levels, and a linear output layer."""

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        levels = block_size.bit_length() - 1
        widths = [config.emb_dim] + [config.hidden] * (levels - 1)
        self.C = nn.Embedding(vocabulary, config.emb_dim)
        self.levels = nn.Sequential(*(Level(width, config.hidden) for width in widths))
        self.output = nn.Linear(config.hidden, vocabulary)

    def initialize(self, generator: torch.Generator) -> None:
        """Draws the lecture's weights: normal, divided by the root of the fan-in; the output a tenth of that."""
        nn.init.normal_(self.C.weight, generator=generator)
        for layer in [module for module in self.modules() if isinstance(module, nn.Linear)]:
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features), generator=generator)
        with torch.no_grad():
            self.output.weight.mul_(0.1)
            self.output.bias.zero_()

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits of the next token. (B, block_size) -> (B, vocabulary)"""
        logits: Tensor = self.output(self.levels(self.C(contexts)).squeeze(1))
        return logits

    def operations(self, rows: int) -> int:
        """Multiplications and additions in the products of a step; a level has one for each pair."""
        pairs = [self.block_size >> level for level in range(1, len(self.levels) + 1)]
        weights = [level.linear.weight.numel() for level in self.levels]  # type: ignore[union-attr, operator]
        products = sum(n * size for n, size in zip(pairs, weights, strict=True)) + self.output.weight.numel()
        return int(6 * rows * products)
