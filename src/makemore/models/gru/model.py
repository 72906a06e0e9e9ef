"""`model=gru`: a recurrent network with gated recurrent units (Cho et al. 2014).

With x_t = C[token t], and * by entries:

    r_t = sigmoid(x_t W_r + h_(t-1) U_r + b_r)                   how much of the past the proposal sees
    z_t = sigmoid(x_t W_z + h_(t-1) U_z + b_z)                   how much of the past stays
    n_t = tanh(x_t W_n + b_n + r_t * (h_(t-1) U_n + c_n))        the proposal
    h_t = (1 - z_t) * n_t + z_t * h_(t-1)

This is nn.GRU's form. In Cho et al. and in makemore.py r_t multiplies h_(t-1) before its product with U_n, and the z_t
of makemore.py is 1 - z_t here.
"""

from typing import Any

import torch
from torch import Tensor, nn

from makemore.models.rnn.model import Model as Recurrent
from makemore.models.rnn.model import apply_weights


class Model(Recurrent):
    """The network of `model=rnn`, with a different step."""

    layer = nn.GRU

    def tanh_outputs(self, layer: Any, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        """The proposals n."""
        of_x, of_h = apply_weights(layer, x, h)
        r, _, n = of_x.chunk(3, dim=2)  # (B, T, hidden) each
        r_h, _, n_h = of_h.chunk(3, dim=2)
        return {".n": torch.tanh(n + torch.sigmoid(r + r_h) * n_h)}
