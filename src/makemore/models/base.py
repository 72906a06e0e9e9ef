"""The contract of a model: what training, sampling, mixtures and figures may ask of it.

A model extends `LanguageModel` and defines `forward`. Everything else has a default that suits a plain network.
"""

import contextlib
import itertools
from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn

from makemore.config.schema import ModelConfig
from makemore.data.dataset import Dataset
from makemore.data.windows import Windows

# Logits that are computed together outside training: 16 MiB of float32.
LOGITS_BUDGET = 2**22
# More rows than this together are slower on a CPU: the hidden layer falls out of the cache.
CACHED_ROWS = 2**9


class Layers(NamedTuple):
    """A network written out: a table of vectors, and matrix products with tanh between them."""

    C: Tensor  # (vocabulary, emb_dim): the vectors of a context's ids, laid side by side, are the input
    products: list[tuple[Tensor, Tensor]]  # W (in, out) and b (out,) of each; tanh follows all but the last
    direct: bool = False  # whether the last product takes the input as well, below the hidden layer


class LanguageModel(nn.Module):
    """A model of the next token: contexts (B, block_size) int64 -> logits (B, vocabulary). Id 0 is the boundary.

    `forward` is called in train mode for training steps and in eval mode everywhere else.
    """

    cpu_only = ""  # why this model cannot compute on a GPU, and what to do; empty if it can
    function_keys: tuple[str, ...] = ()  # the keys, other than sizes, that decide what is computed from the weights
    minibatches_per_step = 1  # each from shuffled epochs of its own; their rows follow each other
    by_document = False  # whether minibatches hold whole documents instead of windows: `models/sequence.py`
    product_dtype: torch.dtype | None = None  # of matrix products in training steps; None for that of the weights

    def __init__(self, config: ModelConfig, vocabulary: int, block_size: int) -> None:
        super().__init__()
        self.config: Any = config
        self.vocabulary: int = vocabulary  # how many tokens there are
        self.block_size: int = block_size  # ids in a context

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out cached properties, which a copy makes anew: they hold this model's memory, or threads."""
        cached = {
            name
            for each in type(self).__mro__
            for name, value in vars(each).items()
            if isinstance(value, cached_property)
        }
        return {name: value for name, value in self.__dict__.items() if name not in cached}

    @property
    def device(self) -> torch.device:
        """Where its parameters are, or its buffers if it has none."""
        return next(itertools.chain(self.parameters(), self.buffers())).device

    def initialize(self, generator: torch.Generator) -> None:
        """Draws the initial weights by the run's seed. By default they stay as `__init__` drew them, by the same."""

    def adapt(self, train: Windows) -> None:
        """Changes the initial weights by what the training examples are like; by default they stay as drawn."""

    def fit(self, data: Dataset) -> None:
        """Learns from whole splits at once. Only a model whose `Config.fitted` is true defines and needs this."""

    def score(self, contexts: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (N, vocabulary) and targets (N,) of all examples of a batch."""
        return self(contexts), targets

    def losses(self, contexts: Tensor, targets: Tensor) -> Tensor | None:
        """The cross-entropy of each example, if there is a faster way to it than the logits of all tokens. (B,)"""
        return None

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor, soft: Tensor | None = None) -> Tensor | float:
        """The mean loss of one minibatch, in nats per token; leaves gradients in the parameters' `.grad`.

        Contexts are (B, block_size) and targets (B,). `soft` are distributions (B, vocabulary) to learn in place of the
        targets, as in distillation: the gradients are then those of the cross-entropy to these, and the loss returned
        is still the next token's.
        """
        with torch.autocast(contexts.device.type, self.product_dtype, enabled=self.product_dtype is not None):
            logits, targets = self.score(contexts, targets)  # (B, vocabulary), (B,)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = F.cross_entropy(logits, targets)
        objective = loss if soft is None else F.cross_entropy(logits, soft)
        self.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @property
    def descends(self) -> bool:
        """Whether `descend` will take the steps, so that more of them may share a call; known after `choose_form`."""
        return False

    def descend(self, contexts: Tensor, targets: Tensor, rates: list[float]) -> Tensor | None:
        """Takes K steps of plain gradient descent in one call, if the model has a fast way to do so.

        Contexts are (K, B, block_size), targets (K, B), and there is a learning rate for each step. Returns the loss
        before each step, (K,), or None: then the steps are taken one by one.
        """
        return None

    def operations(self, rows: int) -> int:
        """Multiplications and additions in a training step: a matrix entry takes both once a row, and twice back."""
        return 6 * rows * sum(parameter.numel() for parameter in self.parameters() if parameter.dim() > 1)

    def operations_at_once(self, rows: int) -> int:
        """Those that threads can share before they have to wait for each other: by default all of a step's."""
        return self.operations(rows)

    def choose_form(self, rows: int, on_gpu: bool, threads: int) -> str:
        """Prepares the fastest way to compute training steps of `rows` examples, equal but for rounding; names it.

        Called once, after `product_dtype` is set and before the first step.
        """
        return "gradients by autograd"

    def embedding(self) -> Tensor | None:
        """The table of token vectors to draw, (vocabulary, dimensions): by default that of the first nn.Embedding."""
        for module in self.modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings == self.vocabulary:
                return module.weight
        return None

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        """The outputs of tanh layers by name, each (B, ...): by default those of every nn.Tanh and nn.RNN."""
        found: dict[str, Tensor] = {}

        def keep(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ARG001
            found[name] = output[0] if isinstance(output, tuple) else output

        tanhs = [
            (name, module)
            for name, module in self.named_modules()
            if isinstance(module, nn.Tanh) or (isinstance(module, nn.RNN) and module.nonlinearity == "tanh")
        ]
        hooks = [module.register_forward_hook(partial(keep, name)) for name, module in tanhs]
        try:
            self(contexts)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def as_layers(self) -> Layers | None:
        """The network in eval mode, written out for a program without PyTorch; None if it is of another kind."""
        return None

    def pairs(self, train: Windows) -> Tensor:
        """For contexts of one token, what follows each: (vocabulary, vocabulary) probabilities, or counts as int64."""
        every = torch.arange(self.vocabulary, device=self.device).unsqueeze(1)  # (vocabulary, 1)
        probabilities: Tensor = self(every).softmax(1)
        return probabilities

    def size(self) -> int:
        """How many free numbers the model has."""
        return sum(parameter.numel() for parameter in self.parameters())

    def describe(self) -> dict[str, Any]:
        """The configuration as plain values, from which the model can be built again before its state is loaded."""
        return OmegaConf.to_container(OmegaConf.structured(self.config), enum_to_str=True)  # type: ignore[return-value]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards every submodule has the mode that it had before."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def observing(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block, except that BatchNorm normalizes by the batch, as it does in a training step.

    What it has collected stays as it is: early in a run that says nothing of the network that is being trained.
    """
    kinds = nn.modules.batchnorm._BatchNorm
    norms = [each for each in model.modules() if isinstance(each, kinds) and each.track_running_stats]
    with evaluating(model):
        for norm in norms:
            norm.training, norm.track_running_stats = True, False
        try:
            yield
        finally:
            for norm in norms:
                norm.training, norm.track_running_stats = False, True


def logits_in_pieces(model: LanguageModel, contexts: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (rows, vocabulary) and targets (rows,) of a batch, in pieces that stay within a fixed budget."""
    rows = rows_at_once(model.vocabulary, targets.device) * len(targets) // targets.numel()
    if model.by_document and targets.dim() == 1:  # it computes logits at every position of a window
        rows //= model.block_size
    rows = max(1, rows)
    for x, y in zip(torch.split(contexts, rows), torch.split(targets, rows), strict=True):
        yield model.score(x, y)


def measure_losses(model: LanguageModel, contexts: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each example in nats, in eval mode. (B,)"""
    with evaluating(model):
        losses = model.losses(contexts, targets)
        if losses is None:
            pieces = logits_in_pieces(model, contexts, targets)
            losses = torch.cat([F.cross_entropy(z, y, reduction="none") for z, y in pieces])
    return losses


def rows_at_once(vocabulary: int, device: torch.device) -> int:
    """How many examples to evaluate together: their logits fit in `LOGITS_BUDGET`, and on a CPU into its cache."""
    affordable = max(1, LOGITS_BUDGET // vocabulary)
    return min(CACHED_ROWS, affordable) if device.type == "cpu" else affordable
