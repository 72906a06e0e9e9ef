"""`model=bow`: a bag of words, as in makemore.py. The order of the tokens read so far enters only by their positions.

    x_t = C[token t] + P[t]                         a vector for the token and one for its place
    x_t <- x_t + mean(x_1 ... x_t)                  the bag: an average over all tokens so far
    x_t <- x_t + W2 tanh(x_t W1)                    and a small network, whose output is added as well

The logits are a linear function of the last x_t. (makemore.py calls C and P wte and wpe, and the output layer lm_head.)
"""

import torch
from torch import Tensor, nn

from makemore.models.bow.config import Config
from makemore.models.sequence import SequenceModel, State


class Model(SequenceModel):
    """Embeddings of tokens C and of places P, the average, a network with one hidden layer, the output layer."""

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.C = nn.Embedding(vocabulary, config.emb_dim)
        self.P = nn.Embedding(block_size, config.emb_dim)
        self.network = nn.Sequential(
            nn.Linear(config.emb_dim, config.hidden), nn.Tanh(), nn.Linear(config.hidden, config.emb_dim)
        )
        self.output = nn.Linear(config.emb_dim, vocabulary)

    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(B, T) -> (B, T, vocabulary). The state is the sum of the vectors so far, and how many there were."""
        rows, length = ids.shape
        total, count = state or (self.C.weight.new_zeros(rows, self.C.embedding_dim), ids.new_zeros(rows, 1))
        places = count + torch.arange(length, device=ids.device)  # (B, T)
        x = self.C(ids) + self.P(places)  # (B, T, emb_dim)
        sums = total.unsqueeze(1) + x.cumsum(1)  # (B, T, emb_dim)
        x = x + sums / (places + 1).unsqueeze(2)
        x = x + self.network(x)
        return self.output(x), (sums[:, -1], count + length)
