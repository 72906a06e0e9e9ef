"""`model=ensemble`: several networks of lecture 2, trained side by side, whose logits are averaged.

Each network learns from its own loss, on minibatches of its own, and knows nothing of the others. What each has fitted
by chance is averaged out, so an ensemble may be fitted more closely than a single network: no dropout, and less of a
teacher's opinion (Hansen and Salamon, "Neural network ensembles", 1990).

The mean of the logits of N networks is again a network of lecture 2, with N times as many hidden units:

    C = [C_1 ... C_N] side by side      W1 = block diagonal of the W1_n, within each position of the context
    b1 = [b1_1 ... b1_N]                W2 = the W2_n / N on top of each other      b2 = mean of the b2_n

The zeros outside the blocks are what makes its parts independent, and cheap.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Tensor, nn

from makemore.data.windows import Windows
from makemore.models.base import LanguageModel
from makemore.models.ensemble.config import Config
from makemore.models.mlp.config import Gradients
from makemore.models.mlp.model import Model as Network


class Model(LanguageModel):
    """N networks with the keys of the configuration, apart from each other."""

    function_keys = Network.function_keys

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.networks = nn.ModuleList(Network(config, vocabulary, block_size) for _ in range(config.networks))
        self.cpu_only = self.members[0].cpu_only
        self.minibatches_per_step = config.networks
        self._workers = 1  # threads that compute networks side by side

    @property
    def members(self) -> list[Network]:
        return list(self.networks)  # type: ignore[arg-type]

    def initialize(self, generator: torch.Generator) -> None:
        """Draws the weights of one network after the other."""
        for network in self.members:
            network.initialize(generator)

    def adapt(self, train: Windows) -> None:
        for network in self.members:
            network.adapt(train)

    def forward(self, contexts: Tensor) -> Tensor:
        """The mean of the networks' logits. (B, block_size) -> (B, vocabulary)"""
        return torch.stack([network(contexts) for network in self.members]).mean(0)

    def choose_form(self, rows: int, on_gpu: bool, threads: int) -> str:
        """That of a single network. Threads share the networks, and those left over each network's rows.

        Dropout's masks are drawn in the networks' order, so with dropout all threads work at one network after another.
        """
        workers = 1 if self.config.dropout > 0 else min(threads, len(self.networks))
        for network in self.members:
            network.product_dtype = self.product_dtype
            form = network.choose_form(rows, on_gpu, threads // workers)
        self._workers = workers if self.members[0].form is Gradients.compiled else 1
        return form

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor, soft: Tensor | None = None) -> Tensor | float:
        """The mean of the networks' own losses, each on its own minibatch: the n-th of N equal parts of the rows."""
        count = len(self.networks)
        parts = contexts.chunk(count), targets.chunk(count), [None] * count if soft is None else soft.chunk(count)
        losses = (map if self._workers == 1 else self._pool.map)(Network.loss_and_gradients, self.members, *parts)
        return sum(losses) / count

    def operations(self, rows: int) -> int:
        return sum(network.operations(rows) for network in self.members)

    def embedding(self) -> Tensor:
        """The networks' tables side by side. (vocabulary, networks * emb_dim)"""
        return torch.cat([network.C for network in self.members], dim=1)

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        """The hidden layers side by side, if there are any. (B, networks * hidden)"""
        if self.config.hidden == 0:
            return {}
        return {"h": torch.cat([network.activations(contexts)["h"] for network in self.members], dim=1)}

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._workers)
