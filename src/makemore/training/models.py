"""The models as LightningModules: each holds its parameters under the names that they have in the literature."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore.config.schema import Gradients, MixtureConfig, MLPConfig, NgramConfig, Smoothing
from makemore.data.datamodule import Batch, WindowDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.models import file as checkpoint
from makemore.models.bigram import formulas as bigram
from makemore.models.mixture import weights as mixture
from makemore.models.mlp import cuda_graph as graphs
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp import numba_steps as compiled
from makemore.models.ngram import counts as ngram
from makemore.randomness import Stream, generator
from makemore.training.module import DescendingModule, FittedModule, is_plain_sgd, rows_at_once


class MLP(DescendingModule):
    """The lecture's network: C, W1, b1, W2, b2 with the lecture's names and shapes.

    Args:
        config: the `model` part of the configuration.
        vocabulary: the model's tokens.
        block_size: ids in a context.
        seed: the run's seed, for initial weights and dropout.
        gradients: which form of them; not `auto`.
        **training: what `DescendingModule` takes.
    """

    def __init__(
        self,
        config: MLPConfig,
        vocabulary: Vocabulary,
        *,
        block_size: int,
        seed: int,
        gradients: Gradients,
        **training: Any,
    ) -> None:
        super().__init__(vocabulary=vocabulary, **training)
        weights = torch.Generator().manual_seed(seed)
        drawn = mlp.initial(len(vocabulary), block_size, config.emb_dim, config.hidden, config.init, weights)
        self.C, self.W1, self.b1, self.W2, self.b2 = map(nn.Parameter, mlp.hidden_innermost(drawn))
        self.dropout = config.dropout
        self.distillation = config.distillation
        self.gradients = gradients
        self._seed = seed

    @property
    def p(self) -> mlp.Parameters:
        """The parameters, as the functions of `mlp.formulas` take them."""
        return mlp.Parameters(self.C, self.W1, self.b1, self.W2, self.b2)

    def on_fit_start(self) -> None:
        """Makes what the training steps use: gradients to write into, chance for dropout, the fast forms."""
        self._dropout = generator(self._seed, Stream.dropout, self.device)
        self._p = mlp.Parameters(*(parameter.detach() for parameter in self.p))
        self._gradients = mlp.Parameters(*(torch.zeros_like(parameter) for parameter in self._p))
        self._pairs = list(zip(self.p, self._gradients, strict=True))
        self._compiled = None
        if self.gradients is Gradients.compiled:
            self._compiled = compiled.Network(self._p, self._gradients)
        self._graph: graphs.Descent | None = None
        self._teacher: ngram.Model | None = None
        if self.distillation > 0:
            train = self.trainer.datamodule.train  # type: ignore[attr-defined]
            counts = ngram.fit(train, len(self.vocabulary), Smoothing.kneser_ney)
            self._teacher = ngram.Model(*(part.to(self.device) for part in counts))

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits of the next token. (..., block_size) -> (..., vocabulary)"""
        return mlp.logits(self.p, contexts)

    def take_steps(self, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        """The K steps in one call where that is possible: plain gradient descent with nothing to draw or to ask."""
        if not is_plain_sgd(optimizer) or self.dropout > 0 or self.distillation > 0:
            return super().take_steps(optimizer, batch)
        if self._compiled is not None:
            return self._compiled.descend(batch.contexts, batch.targets, self.learning_rates)
        if self.gradients is Gradients.closed_form and self.device.type == "cuda":
            if self._graph is None:
                self._graph = graphs.Descent(self._p, self._gradients, batch.contexts)
            return self._graph.descend(batch.contexts, batch.targets, self.learning_rates)
        return super().take_steps(optimizer, batch)

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor) -> Tensor | float:
        """The next-token loss and the gradients, by `mlp.formulas`'s formulas or by autograd, as configured."""
        mask = soft = None
        if self.dropout > 0:
            mask = mlp.dropout_mask(len(targets), self._p, self.dropout, self._dropout)  # (B, hidden)
        if self._teacher is not None:
            opinion = ngram.probabilities(self._teacher, contexts).to(self.C.dtype)  # (B, vocabulary)
            soft = mlp.distilled(targets, opinion, self.distillation)  # (B, vocabulary)
        if self.gradients is Gradients.autograd:
            z = mlp.logits(self.p, contexts, mask)  # (B, vocabulary)
            self.zero_grad()
            F.cross_entropy(z, targets if soft is None else soft).backward()  # type: ignore[no-untyped-call]
            return F.cross_entropy(z.detach(), targets)
        for parameter, gradient in self._pairs:
            parameter.grad = gradient  # every time, because Lightning takes it away now and then
        if self._compiled is not None:
            return self._compiled.loss_and_gradients(contexts, targets, mask, soft)
        with torch.inference_mode():
            return mlp.loss_and_gradients(self._p, contexts, targets, self._gradients, mask, soft)


class Bigram(DescendingModule):
    """The neural bigram of lecture 1: W (vocabulary, vocabulary).

    Args:
        vocabulary: the model's tokens.
        seed: the run's seed, for initial weights.
        **training: what `DescendingModule` takes.
    """

    def __init__(self, vocabulary: Vocabulary, *, seed: int, **training: Any) -> None:
        super().__init__(vocabulary=vocabulary, **training)
        self.W = nn.Parameter(bigram.initial(len(vocabulary), torch.Generator().manual_seed(seed)))

    def on_fit_start(self) -> None:
        """Makes the gradient to write into."""
        self._gradient = torch.zeros_like(self.W)

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits of the next token. (..., block_size) -> (..., vocabulary)"""
        return bigram.logits(self.W, contexts)

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor) -> Tensor:
        """The mean loss and its gradient, by the formula of `makemore.models.bigram.formulas`."""
        self.W.grad = self._gradient  # every time, because Lightning takes it away now and then
        with torch.inference_mode():
            return bigram.gradient(self.W, contexts, targets, self._gradient)


class Ngram(FittedModule):
    """Counts of n-grams, of order block_size + 1, and their smoothing.

    Args:
        config: the `model` part of the configuration.
        **common: what `LanguageModule` takes.
    """

    def __init__(self, config: NgramConfig, **common: Any) -> None:
        super().__init__(**common)
        self.config = config
        for name in ngram.Model._fields:
            self.register_buffer(name, torch.empty(0))

    @property
    def model(self) -> ngram.Model:
        """The buffers, as the functions of `makemore.models.ngram.counts` take them."""
        return ngram.Model(*(getattr(self, f"{name}") for name in ngram.Model._fields))

    @property
    def size(self) -> int:
        """Distinct pairs of a context and a target, each with its value."""
        return ngram.parameters(self.model)

    def fit_to(self, data: WindowDataModule) -> None:
        """Counts the training split in one pass."""
        smoothing, k, discount = self.config.smoothing, self.config.k, self.config.discount
        fitted = ngram.fit(data.train, len(self.vocabulary), smoothing, k=k, discount=discount)
        for name, tensor in fitted._asdict().items():
            setattr(self, name, tensor)

    def forward(self, contexts: Tensor) -> Tensor:
        """Log-probabilities of the next token. (B, block_size) -> (B, vocabulary)"""
        return ngram.logits(self.model, contexts)


class Mixture(FittedModule):
    """The average of models that were trained before; it holds all of their numbers.

    Args:
        config: the `model` part of the configuration.
        members: the models, each with the vocabulary and the training split of this run.
        **common: what `LanguageModule` takes.
    """

    def __init__(self, config: MixtureConfig, members: Sequence[checkpoint.SavedModel], **common: Any) -> None:
        super().__init__(**common)
        self.config = config
        self.members = members
        self._parts = [mixture.Member(member.logits, member.block_size) for member in members]
        for number, member in enumerate(members):
            for name, tensor in member.state.items():
                self.register_buffer(f"{number}_{name}", tensor)
        self.weights: Tensor
        self.register_buffer("weights", torch.full((len(members),), 1 / len(members), dtype=torch.float64))

    @property
    def size(self) -> int:
        """The members' numbers, and the weights but for one, which follows from the others."""
        return sum(member.size for member in self.members) + len(self.members) - 1

    def fit_to(self, data: WindowDataModule) -> None:
        """Takes the weights that are given, or finds those under which dev is likeliest."""
        if self.config.weights is not None:
            given = torch.tensor(self.config.weights, dtype=torch.float64)
            self.weights = given / given.sum()
        else:
            self.weights = mixture.fitted_weights(self._dev_log_probabilities(data))

    @torch.inference_mode()
    def _dev_log_probabilities(self, data: WindowDataModule) -> Tensor:
        """(members, examples) of every dev target."""
        rows = rows_at_once(len(self.vocabulary), self.device)
        parts = []
        for batch in data.evaluation(data.dev):
            for first in range(0, len(batch.targets), rows):
                targets = batch.targets[first : first + rows]  # (rows,)
                log_p = mixture.log_probabilities(self._parts, batch.contexts[first : first + rows])
                parts.append(log_p[:, torch.arange(len(targets)), targets])  # (members, rows)
        return torch.cat(parts, dim=1)

    def forward(self, contexts: Tensor) -> Tensor:
        """Log-probabilities of the next token. (B, block_size) -> (B, vocabulary)"""
        return mixture.logits(self._parts, self.weights, contexts)

    def members_described(self) -> list[dict[str, Any]]:
        """What each member is, so that a checkpoint stands by itself."""
        return [{"settings": member.settings, "members": member.members} for member in self.members]
