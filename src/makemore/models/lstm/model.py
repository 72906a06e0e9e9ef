"""`model=lstm`: a recurrent network with long short-term memory (Hochreiter and Schmidhuber 1997).

With x_t = C[token t], and * by entries:

    i_t, f_t, o_t = sigmoid(x_t W + h_(t-1) U + b)     each with weights of its own: what is added, kept and shown
    g_t = tanh(x_t W_g + h_(t-1) U_g + b_g)            the proposal
    c_t = f_t * c_(t-1) + i_t * g_t                    the memory cells
    h_t = o_t * tanh(c_t)
"""

from typing import Any

import torch
from torch import Tensor, nn

from makemore.models.rnn.model import Model as Recurrent
from makemore.models.rnn.model import apply_weights


class Model(Recurrent):
    """The network of `model=rnn`, with a different step."""

    layer = nn.LSTM

    def tanh_outputs(self, layer: Any, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        """The proposals g, and tanh(c), which is h / o."""
        of_x, of_h = apply_weights(layer, x, h)
        _, _, g, o = (of_x + of_h).chunk(4, dim=2)  # (B, T, hidden) each, in nn.LSTM's order i, f, g, o
        return {".g": torch.tanh(g), ".tanh_c": h / torch.sigmoid(o)}
