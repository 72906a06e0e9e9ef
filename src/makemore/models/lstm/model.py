"""`model=lstm`: a recurrent network with long short-term memory (Hochreiter and Schmidhuber 1997).

With x_t = C[token t], and * by entries:

    i_t, f_t, o_t = sigmoid(x_t W + h_(t-1) U + b)     each with weights of its own: what is added, kept and shown
    g_t = tanh(x_t W_g + h_(t-1) U_g + b_g)            the proposal
    c_t = f_t * c_(t-1) + i_t * g_t                    the memory cells
    h_t = o_t * tanh(c_t)
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore.models.rnn.model import Model as Recurrent
from makemore.models.rnn.model import delay


class Model(Recurrent):
    """The network of `model=rnn`, with a different step."""

    layer = nn.LSTM

    def tanh_outputs(self, layer: Any, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        """The proposals g, and tanh(c), which is h / o."""
        gates = F.linear(x, layer.weight_ih_l0, layer.bias_ih_l0)  # (B, T, 4 * hidden)
        gates = gates + F.linear(delay(h), layer.weight_hh_l0, layer.bias_hh_l0)
        _, _, g, o = gates.chunk(4, dim=2)  # in nn.LSTM's order i, f, g, o
        return {".g": torch.tanh(g), ".tanh_c": h / torch.sigmoid(o)}
