"""`model=rnn`: a recurrent network (Elman 1990; as a language model Mikolov et al. 2010).

    h_t = tanh(C[token t] W + b + h_(t-1) U + c),  and the logits are  h_t W2 + b2

As in makemore.py, which calls C wte, and the output layer lm_head. The hidden vector h_t is all that the network
remembers of the tokens 1 ... t. `model=gru` and `model=lstm` are the same with a different step from h_(t-1) to h_t.
"""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from makemore.models.rnn.config import Config
from makemore.models.sequence import SequenceModel, State, last


class Model(SequenceModel):
    """Embedding C, `layers` recurrent layers on top of each other, and an output layer."""

    layer: Callable[..., nn.RNNBase] = nn.RNN

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        widths = [config.emb_dim] + [config.hidden] * (config.layers - 1)
        self.C = nn.Embedding(vocabulary, config.emb_dim)
        self.layers = nn.ModuleList(self.layer(width, config.hidden, batch_first=True) for width in widths)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, vocabulary)

    def operations_at_once(self, rows: int) -> int:
        """Those of one product for one token of each document: the next token has to wait."""
        return super().operations_at_once(rows) // self.block_size

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        """What the tanh of each layer gives at the last id. (B, hidden) each"""
        ids, lengths = self.align(contexts)
        x, found = self.C(ids), dict[str, Tensor]()  # (B, T, emb_dim)
        for number, layer in enumerate(self.layers):
            h, _ = layer(x)  # (B, T, hidden)
            for name, values in self.tanh_outputs(layer, x, h).items():
                found[f"layers.{number}{name}"] = last(values, lengths)
            x = h
        return found

    def tanh_outputs(self, layer: Any, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        """What a layer's tanh gave, (B, T, hidden) by name, when it read x (B, T, width) and gave h (B, T, hidden)."""
        return {"": h}

    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(B, T) -> (B, T, vocabulary). The state is each layer's h, in an LSTM also its cells: (B, 1, hidden) each."""
        x, kept = self.C(ids), list[Tensor]()  # (B, T, emb_dim)
        for number, layer in enumerate(self.layers):
            before: Any = None
            if state is not None:
                each = len(state) // len(self.layers)
                # PyTorch's layers have the rows in second place.
                before = [part.transpose(0, 1).contiguous() for part in state[number * each : (number + 1) * each]]
                before = tuple(before) if each > 1 else before[0]
            x, after = layer(self.dropout(x), before)  # (B, T, hidden)
            kept += [part.transpose(0, 1) for part in (after if isinstance(after, tuple) else (after,))]
        return self.output(self.dropout(x)), tuple(kept)


def apply_weights(layer: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """x_t W + b and h_(t-1) U + c, of all gates side by side. (B, T, gates * hidden) each"""
    before = F.pad(h, (0, 0, 1, 0))[:, :-1]  # (B, T, hidden) zeros first
    return F.linear(x, layer.weight_ih_l0, layer.bias_ih_l0), F.linear(before, layer.weight_hh_l0, layer.bias_hh_l0)
