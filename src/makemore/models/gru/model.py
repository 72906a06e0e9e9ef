"""`model=gru`: a recurrent network with gated recurrent units (Cho et al. 2014).

With x_t = C[token t], and * by entries:

    r_t = sigmoid(x_t W_r + h_(t-1) U_r + b_r)                   how much of the past the proposal sees
    z_t = sigmoid(x_t W_z + h_(t-1) U_z + b_z)                   how much of the past stays
    n_t = tanh(x_t W_n + b_n + r_t * (h_(t-1) U_n + c_n))        the proposal
    h_t = (1 - z_t) * n_t + z_t * h_(t-1)
"""

from torch import nn

from makemore.models.rnn.model import Model as Recurrent


class Model(Recurrent):
    """The network of `model=rnn`, with a different step."""

    layer = nn.GRU
