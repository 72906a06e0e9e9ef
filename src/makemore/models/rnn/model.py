"""`model=rnn`: a recurrent network (Elman 1990; as a language model Mikolov et al. 2010).

    h_t = tanh(C[token t] W + b + h_(t-1) U + c),  and the logits are  h_t W2 + b2

The hidden vector h_t is all that the network remembers of the tokens 1 ... t. `model=gru` and `model=lstm` are the same
with another step from h_(t-1) to h_t.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from makemore.models.rnn.config import Config
from makemore.models.sequence import SequenceModel, State


class Model(SequenceModel):
    """Embedding C, `layers` recurrent layers on top of each other, and an output layer."""

    layer: Callable[..., nn.RNNBase] = nn.RNN

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.C = nn.Embedding(vocabulary, config.emb_dim)
        self.layers = self.layer(config.emb_dim, config.hidden, config.layers, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, vocabulary)

    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(B, T) -> (B, T, vocabulary). The state is h, in an LSTM also its cells: (B, layers, hidden) each."""
        # PyTorch's layers have the rows in second place.
        before: Any = None if state is None else tuple(part.transpose(0, 1).contiguous() for part in state)
        if before is not None and len(before) == 1:
            (before,) = before
        h, after = self.layers(self.dropout(self.C(ids)), before)  # (B, T, hidden)
        after = after if isinstance(after, tuple) else (after,)
        return self.output(self.dropout(h)), tuple(part.transpose(0, 1) for part in after)
