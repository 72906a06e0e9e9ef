"""`model=lstm`: a recurrent network with long short-term memory (Hochreiter and Schmidhuber 1997).

With x_t = C[token t], and * by entries:

    i_t, f_t, o_t = sigmoid(x_t W + h_(t-1) U + b)     each with weights of its own: what is added, kept and shown
    g_t = tanh(x_t W_g + h_(t-1) U_g + b_g)            the proposal
    c_t = f_t * c_(t-1) + i_t * g_t                    the memory cells
    h_t = o_t * tanh(c_t)
"""

from torch import nn

from makemore.models.rnn.model import Model as Recurrent


class Model(Recurrent):
    """The network of `model=rnn`, with a different step."""

    layer = nn.LSTM
