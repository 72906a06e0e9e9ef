"""`model=bigram`: the neural bigram of lecture 1, one-hot input times W, which is looking up a row of W.

The only network whose best weights are known: with c(h, w) the counts of pairs, the loss is lowest where
softmax(W[h]) = c(h, .) / c(h), so gradient descent arrives where counting begins.
"""

import torch
from torch import Tensor, nn

from makemore.models.base import LanguageModel
from makemore.models.bigram.config import Config


class Model(LanguageModel):
    """One layer: W (vocabulary, vocabulary), a row of logits for each token."""

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.W = nn.Parameter(torch.empty(vocabulary, vocabulary))

    def initialize(self, generator: torch.Generator) -> None:
        """Draws every entry from the standard normal distribution, as lecture 1 does."""
        nn.init.normal_(self.W, generator=generator)

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits of the next token. (B, block_size) -> (B, vocabulary)"""
        return self.W[contexts[:, -1]]

    def choose_form(self, rows: int, on_gpu: bool, threads: int) -> str:
        """Closed form, always."""
        return "gradients in closed form"

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor, soft: Tensor | None = None) -> Tensor:
        """The mean loss of one minibatch, and its gradient: row h of W's sums (softmax(W[h]) - q) / B over B.

        q is the one-hot row of the target, or a row of `soft`.
        """
        self.W.grad = torch.zeros_like(self.W)
        with torch.inference_mode():
            last, y = contexts[:, -1], targets.unsqueeze(1)  # (B,), (B, 1)
            log_p = self.W.index_select(0, last).log_softmax(dim=1)  # (B, vocabulary)
            loss = log_p.gather(1, y).mean().neg()
            dz = log_p.exp_()  # (B, vocabulary)
            if soft is None:
                dz.scatter_add_(1, y, dz.new_full(y.shape, -1.0))
            else:
                dz.sub_(soft)
            self.W.grad.index_add_(0, last, dz, alpha=1 / len(targets))
        return loss

    def operations(self, rows: int) -> int:
        """Entries that a step touches: looking up is not multiplying."""
        return rows * self.vocabulary
