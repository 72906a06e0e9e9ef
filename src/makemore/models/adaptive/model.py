"""`model=adaptive`: the lecture's network with the adaptive softmax of Grave et al. (2017).

With 100,000 words nearly all of a step is the output layer. The adaptive softmax ("Efficient softmax approximation for
GPUs") splits the words by frequency: a head of the most frequent ones and, for each cluster of rarer ones, a single
entry in the head and a smaller layer of its own,

    p(w) = p_head(w)                               for a frequent word
    p(w) = p_head(cluster of w) p_cluster(w)       for a rare one

A step computes a cluster for those examples only whose target is in it. This is another model than the full softmax, as
rare words have vectors of fewer numbers, and its probabilities sum to one as well: their losses compare.
"""

import math

import torch
from torch import Tensor, nn

from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.models.adaptive.config import SHARES, Config
from makemore.models.base import LanguageModel


class Model(LanguageModel):
    """C, W1 and b1 as in the lecture, and torch's adaptive softmax over the tokens in the order of their frequency."""

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        cutoffs = config.cutoffs or sorted({max(1, round(share * vocabulary)) for share in SHARES})
        if cutoffs[-1] >= vocabulary:
            given = f"model.cutoffs={cutoffs}".replace(" ", "")
            raise UserError(f"{given} must be below the size of the vocabulary, {vocabulary}, or null")
        self.C = nn.Embedding(vocabulary, config.emb_dim)
        self.W1 = nn.Linear(block_size * config.emb_dim, config.hidden)
        self.tanh, self.dropout = nn.Tanh(), nn.Dropout(config.dropout)
        self.output = nn.AdaptiveLogSoftmaxWithLoss(
            config.hidden, vocabulary, cutoffs, config.div_value, head_bias=True
        )
        self.places: Tensor  # of the tokens in the order of their frequency
        self.register_buffer("places", torch.arange(vocabulary))

    def initialize(self, generator: torch.Generator) -> None:
        """C normal with `emb_std`, the other weights as in lecture 3: W1 with the gain of tanh, the output small."""
        nn.init.normal_(self.C.weight, std=self.config.emb_std, generator=generator)
        nn.init.normal_(self.W1.weight, std=5 / 3 / math.sqrt(self.W1.in_features), generator=generator)
        nn.init.zeros_(self.W1.bias)
        for layer in [module for module in self.output.modules() if isinstance(module, nn.Linear)]:
            nn.init.normal_(layer.weight, std=0.1 / math.sqrt(layer.in_features), generator=generator)
        nn.init.zeros_(self.output.head.bias)

    def adapt(self, train: Windows) -> None:
        """Orders the tokens by how often they are targets in train, the most frequent first."""
        order = train.count_targets(self.vocabulary).argsort(descending=True, stable=True)  # (vocabulary,) tokens
        self.places[order] = torch.arange(self.vocabulary)

    def forward(self, contexts: Tensor) -> Tensor:
        """Log-probabilities of the next token. (B, block_size) -> (B, vocabulary)"""
        by_place: Tensor = self.output.log_prob(self._hidden(contexts))  # (B, vocabulary)
        return by_place.float().index_select(1, self.places)

    def losses(self, contexts: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of each example, without the clusters that its target is not in. (B,)"""
        log_p: Tensor = self.output(self._hidden(contexts), self.places[targets]).output
        return log_p.float().neg()

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor, soft: Tensor | None = None) -> Tensor | float:
        """As in the base class, but from `losses` where the targets are tokens."""
        if soft is not None:
            return super().loss_and_gradients(contexts, targets, soft)
        with torch.autocast(contexts.device.type, self.product_dtype, enabled=self.product_dtype is not None):
            loss = self.losses(contexts, targets).mean()
        self.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self.parameters():
            if parameter.grad is None:  # of a cluster that no target of the minibatch is in
                parameter.grad = torch.zeros_like(parameter)
        return loss.detach()

    def operations(self, rows: int) -> int:
        """Multiplications and additions in the products of the hidden layer and the head; few examples need more."""
        return int(6 * rows * (self.W1.weight.numel() + self.output.head.weight.numel()))

    def _hidden(self, contexts: Tensor) -> Tensor:
        h = self.tanh(self.W1(self.C(contexts).flatten(1)))  # (B, hidden)
        dropped: Tensor = self.dropout(h)
        return dropped
