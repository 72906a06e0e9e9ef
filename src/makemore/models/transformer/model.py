"""`model=transformer`: makemore.py's causal Transformer (Vaswani et al. 2017), pre-norm as GPT-2 (Radford et al. 2019).

    x_t = C[token t] + P[t]
    for each layer:  x = x + attention(norm(x)),  x = x + W2 gelu(norm(x) W1)
    the logits are   norm(x) W

In attention each token asks all tokens before it, and itself, with a query q; those whose key k fits give their value
v: softmax(q k' / sqrt(size)) v, in `heads` parts of the width apart from each other.

(makemore.py calls C and P wte and wpe, `qkv` c_attn, `project` c_proj, `network` mlp, `norm` ln_f, `output` lm_head.)
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore.models.sequence import SequenceModel, State
from makemore.models.transformer.config import Config


class Layer(nn.Module):
    """Attention, and a network with one hidden layer; both are added to what came in."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, T, width), after P tokens of keys and values (B, 2, heads, P, size). Returns both, P longer by T."""
        rows, length, width = x.shape
        parts = self.qkv(self.norm1(x)).view(rows, length, 3, self.heads, width // self.heads)
        q, *new = parts.permute(2, 0, 3, 1, 4)  # (B, heads, T, size) each
        past = torch.stack(new, 1) if past is None else torch.cat([past, torch.stack(new, 1)], dim=3)
        mask = None  # which tokens each may see, (T, P + T); without a past `is_causal` says so
        if past.shape[3] > length > 1:
            mask = torch.ones(length, past.shape[3], dtype=torch.bool, device=x.device).tril(past.shape[3] - length)
        k, v = past.unbind(1)
        found = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None and length > 1)
        x = x + self.dropout(self.project(found.transpose(1, 2).reshape(rows, length, width)))
        return x + self.dropout(self.network(self.norm2(x))), past


class Model(SequenceModel):
    """Embeddings of tokens C and of places P, the layers, and an output layer."""

    function_keys = ("heads",)

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.C = nn.Embedding(vocabulary, config.width)
        self.P = nn.Embedding(block_size, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, vocabulary, bias=False)

    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(B, T) -> (B, T, vocabulary). The state is each layer's keys and values, (B, 2, heads, T, size)."""
        before = 0 if state is None else state[0].shape[3]
        x = self.C(ids) + self.P(torch.arange(before, before + ids.shape[1], device=ids.device))
        x = self.dropout(x)  # (B, T, width)
        kept = []
        for layer, past in zip(self.layers, state or [None] * len(self.layers), strict=True):
            x, past = layer(x, past)  # noqa: PLW2901
            kept.append(past)
        return self.output(self.norm(x)), tuple(kept)
