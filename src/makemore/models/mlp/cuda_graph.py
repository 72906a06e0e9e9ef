"""Training steps on a GPU as one CUDA graph.

A GPU takes longer to be told of an operation on a small matrix than to do it. A CUDA graph is a recording of many
operations that is started as one; it reads its input from where the recording read it, so minibatches and rates are
copied there first.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from makemore.models.mlp import formulas as mlp

Capture = Callable[[Callable[[], None]], Callable[[], Any]]

# Steps in one recording at most: 20 operations each, a few thousand nodes.
LENGTH = 100


def cuda_graph(function: Callable[[], None]) -> Callable[[], Any]:
    """Records what a function asks of the GPU; calling the result does it again.

    The function runs three times before, outside the recording, because libraries set themselves up when first called.
    """
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


class Descent:
    """Plain gradient descent, recorded.

    A recording is as long as the first call, but no longer than `LENGTH` steps; steps that do not fill a recording are
    taken one by one.

    Args:
        p: the parameters, changed in place.
        gradients: to write over, shaped as `p`.
        contexts: (K, B, block_size) minibatches as they will come: their shape counts.
        capture: records a function; a test without a GPU gives one that calls it.
    """

    def __init__(
        self, p: mlp.Parameters, gradients: mlp.Parameters, contexts: Tensor, capture: Capture = cuda_graph
    ) -> None:
        self._p = p
        self._gradients = gradients
        self.length = min(LENGTH, len(contexts))
        self._contexts = contexts[: self.length].clone()  # (length, B, block_size)
        self._targets = torch.zeros_like(self._contexts[..., 0])  # (length, B)
        # Rates of zero while the recording is made: what runs then must not train.
        self._rates = torch.zeros(self.length, dtype=p.b1.dtype, device=p.b1.device)
        self._losses = torch.zeros_like(self._rates)
        self._replay = capture(self._steps)

    def _steps(self) -> None:
        for k in range(self.length):
            self._losses[k] = self._step(self._contexts[k], self._targets[k], self._rates[k])

    def _step(self, contexts: Tensor, targets: Tensor, rate: Tensor) -> Tensor:
        loss = mlp.loss_and_gradients(self._p, contexts, targets, self._gradients)
        for parameter, gradient in zip(self._p, self._gradients, strict=True):
            parameter.sub_(gradient * rate)
        return loss

    @torch.inference_mode()
    def descend(self, contexts: Tensor, targets: Tensor, rates: list[float]) -> Tensor:
        """K steps on contexts (K, B, block_size) and targets (K, B): the K losses before them."""
        losses = torch.empty(len(rates), dtype=self._losses.dtype, device=self._losses.device)  # (K,)
        all_rates = torch.tensor(rates, dtype=self._rates.dtype, device=self._rates.device)  # (K,)
        recorded = len(rates) - len(rates) % self.length
        for first in range(0, recorded, self.length):
            part = slice(first, first + self.length)
            self._contexts.copy_(contexts[part])
            self._targets.copy_(targets[part])
            self._rates.copy_(all_rates[part])
            self._replay()
            losses[part] = self._losses
        for k in range(recorded, len(rates)):
            losses[k] = self._step(contexts[k], targets[k], all_rates[k])
        return losses
