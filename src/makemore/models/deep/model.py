"""`model=deep`: lecture 3's network, with as many hidden layers as you like.

    x = C[context] laid side by side,  then for each layer  x = tanh(BatchNorm(x W)),  and the logits are BatchNorm(x W)

It has no residual connections, so what reaches the last layer, and what comes back to the first, depends on the scale
of every W: `model.gain` multiplies the initial W of each hidden layer. With the lecture's 5/3, tanh keeps the size of
what passes through it (He et al. 2015); batch normalization (Ioffe and Szegedy 2015) makes any gain work.
`experiment=diagnose` shows both: saturation and the size of every layer's activations, weights, gradients and updates.

(The lecture calls `emb_dim` n_embd, `hidden` n_hidden, and BatchNorm's weight and bias gamma and beta.)
"""

import itertools
import math

import torch
from torch import Tensor, nn

from makemore.models.base import LanguageModel, Layers
from makemore.models.deep.config import Config


class Model(LanguageModel):
    """Embedding C, `layers` times Linear, BatchNorm and tanh, and an output layer."""

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.C = nn.Embedding(vocabulary, config.emb_dim)
        widths = [block_size * config.emb_dim, *[config.hidden] * config.layers, vocabulary]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers.append(nn.Linear(inputs, outputs, bias=not config.batch_norm))
            if config.batch_norm:
                layers.append(nn.BatchNorm1d(outputs))
            layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers[:-1])

    def initialize(self, generator: torch.Generator) -> None:
        """Draws the lecture's weights: normal, scaled by the gain over the root of the fan-in; small logits."""
        nn.init.normal_(self.C.weight, generator=generator)
        *hidden, output = [module for module in self.layers if isinstance(module, nn.Linear)]
        for layer, gain in [*((each, self.config.gain) for each in hidden), (output, 1.0)]:
            nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.in_features), generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            last: nn.Module = self.layers[-1]
            last.weight.mul_(0.1)  # type: ignore[operator]

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits of the next token. (B, block_size) -> (B, vocabulary)"""
        logits: Tensor = self.layers(self.C(contexts).flatten(1))
        return logits

    def as_layers(self) -> Layers:
        """With the statistics that BatchNorm has collected, it only scales the columns of W and moves b."""
        products: list[tuple[Tensor, Tensor]] = []
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                zeros = layer.weight.new_zeros(layer.out_features)
                products.append((layer.weight.t(), zeros if layer.bias is None else layer.bias))
            elif isinstance(layer, nn.BatchNorm1d):
                W, b = products.pop()
                assert layer.running_mean is not None and layer.running_var is not None
                scale = layer.weight / (layer.running_var + layer.eps).sqrt()  # (out,)
                products.append((W * scale, (b - layer.running_mean) * scale + layer.bias))
        return Layers(self.C.weight, products)
