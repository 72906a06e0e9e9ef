"""`model=mlp`: the network of lecture 2, after Bengio et al. (2003). Its mathematics is in `formulas.py`."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.models.base import LOGITS_BUDGET, LanguageModel, Layers, rows_at_once
from makemore.models.mlp import first_layer, formulas
from makemore.models.mlp.config import Config, Gradients
from makemore.models.mlp.formulas import Parameters

if TYPE_CHECKING:
    from makemore.models.mlp.numba_steps import Network

# Tokens; with more, PyTorch's products have the steps of more than two threads.
LARGE_VOCABULARY = 500
FORMS = {
    Gradients.compiled: "compiled steps",
    Gradients.closed_form: "gradients in closed form",
    Gradients.autograd: "gradients by autograd",
}


class Model(LanguageModel):
    """The lecture's network: C, W1, b1, W2, b2 with the lecture's names, and its shapes but for `direct`."""

    function_keys = ("recency",)

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        c = config
        shapes = formulas.shapes(vocabulary, block_size, c.emb_dim, c.hidden, c.direct)
        empty = Parameters(*map(torch.empty, shapes))
        self.C, self.W1, self.b1, self.W2, self.b2 = map(nn.Parameter, formulas.hidden_innermost(empty))
        scale = None if config.recency == 1 else formulas.recency_scale(config.recency, block_size, config.emb_dim)
        self._scale: Tensor | None
        self.register_buffer("_scale", scale, persistent=False)
        self.form, self._threads = Gradients.autograd, 1
        if config.gradients is Gradients.compiled:
            self.cpu_only = "model.gradients=compiled is for the CPU; use model.gradients=auto"

    @property
    def p(self) -> Parameters:
        """The network's parameters, as the functions of `formulas` take them: W1 with its scale."""
        W1 = self.W1 if self._scale is None else self.W1 * self._scale
        return Parameters(self.C, W1, self.b1, self.W2, self.b2)

    @property
    def trained(self) -> Parameters:
        """The parameters that the optimizer moves."""
        return Parameters(self.C, self.W1, self.b1, self.W2, self.b2)

    def initialize(self, generator: torch.Generator) -> None:
        """Draws the weights of lecture 2, or with `init=kaiming` those of lecture 3."""
        c = self.config
        drawn = formulas.initial(self.vocabulary, self.block_size, c.emb_dim, c.hidden, c.init, generator, c.direct)
        drawn = drawn._replace(C=drawn.C * c.emb_std)
        with torch.no_grad():
            for parameter, value in zip(self.trained, drawn, strict=True):
                parameter.copy_(value)

    def adapt(self, train: Windows) -> None:
        """With `unigram_bias`, b2 becomes the logarithm of the tokens' frequencies, counted from one."""
        if self.config.unigram_bias:
            frequencies = 1 + train.count_targets(self.vocabulary).double()  # (vocabulary,)
            with torch.no_grad():
                self.b2.copy_((frequencies / frequencies.sum()).log())

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits of the next token. (B, block_size) -> (B, vocabulary)"""
        return formulas.logits(self.p, contexts, self._dropout_mask(len(contexts)))

    def losses(self, contexts: Tensor, targets: Tensor) -> Tensor | None:
        """The cross-entropy of each example (B,), where they share few contexts, and so few logits."""
        distinct, which, _ = formulas.merge_equal(contexts, self.vocabulary)
        if 4 * len(distinct) > len(contexts) or len(distinct) * self.vocabulary > LOGITS_BUDGET:
            return None
        rows = rows_at_once(self.vocabulary, contexts.device)
        logits = torch.cat([self(piece) for piece in torch.split(distinct, rows)])  # (U, vocabulary)
        return -logits.log_softmax(dim=1)[which, targets]

    def choose_form(self, rows: int, on_gpu: bool, threads: int) -> str:
        """Compiled steps, but PyTorch's operations for direct connections, bfloat16 and on a GPU, unless a key says.

        With one thread or two, compiled steps are the fastest at every size of `python -m benchmarks.forms`. With more
        it was not measured, so that PyTorch's have the large vocabularies: they share columns, not rows.

        Raises UserError if products are to be in bfloat16 and compiled, where float32 is the only type.
        """
        self.form = self.config.gradients
        if self.form is Gradients.auto:
            measured = self.vocabulary <= LARGE_VOCABULARY or threads <= 2
            in_loops = measured and not on_gpu and self.product_dtype is None and not self.config.direct
            self.form = Gradients.compiled if in_loops else Gradients.closed_form
        if self.form is Gradients.compiled and self.product_dtype is not None:
            raise UserError(
                "trainer.precision=bf16 does not go with model.gradients=compiled; use model.gradients=auto"
            )
        if self.form is Gradients.compiled:
            from makemore.models.mlp import numba_steps

            numba_steps.prepare()
        self._threads = threads
        return FORMS[self.form]

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor, soft: Tensor | None = None) -> Tensor | float:
        """The mean loss of one minibatch; gradients by the formulas or by autograd, as chosen."""
        if self.form is Gradients.autograd:
            return super().loss_and_gradients(contexts, targets, soft)
        mask = self._dropout_mask(len(contexts))
        for parameter, gradient in zip(self.trained, self._gradients, strict=True):
            parameter.grad = gradient  # every time, because Lightning removes it now and then
        with torch.inference_mode():
            p, out = self._effective, self._gradients
            if self._scale is not None:
                torch.mul(self.W1, self._scale, out=p.W1)
            if self.form is Gradients.compiled:
                loss: Tensor | float = self._network.loss_and_gradients(contexts, targets, mask, soft)
            else:
                loss = formulas.loss_and_gradients(p, contexts, targets, out, mask, soft, self.product_dtype)
            if self._scale is not None:
                out.W1.mul_(self._scale)
        return loss

    def descend(self, contexts: Tensor, targets: Tensor, rates: list[float]) -> Tensor | None:
        """All steps in one call of the compiled loops, if there is nothing to do between them."""
        return self._network.descend(contexts, targets, rates) if self.descends else None

    @property
    def descends(self) -> bool:
        return self.form is Gradients.compiled and self.config.dropout == 0 and self._scale is None

    def operations(self, rows: int) -> int:
        """Multiplications and additions in the six matrix products of a step on a CPU, and in the sums of its pairs."""
        if not first_layer.pairs_pay(rows, self.vocabulary, self.config.emb_dim):
            return 6 * rows * (self.W1.numel() + self.W2.numel())
        sums: int = 2 * first_layer.ADDITION * rows * self.block_size * self.config.hidden
        return 6 * self.vocabulary * self.W1.numel() + 6 * rows * self.W2.numel() + sums

    def embedding(self) -> Tensor:
        return self.C

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        """The hidden layer, if there is one. (B, hidden)"""
        if self.config.hidden == 0:
            return {}
        return {"h": formulas.hidden_layer(self.p, contexts)}

    def as_layers(self) -> Layers:
        C, W1, b1, W2, b2 = self.p
        return Layers(C, [(W1, b1), (W2, b2)], self.config.direct)

    def _dropout_mask(self, rows: int) -> Tensor | None:
        if not self.training or self.config.dropout == 0:
            return None
        return formulas.dropout_mask(rows, self.trained, self.config.dropout)

    # These are made at the first step, when the parameters are on their device.
    @cached_property
    def _gradients(self) -> Parameters:
        return Parameters(*map(torch.zeros_like, self.trained))

    @cached_property
    def _effective(self) -> Parameters:
        """The memory that the formulas read: that of the parameters, except for a W1 with its scale."""
        own = Parameters(*(parameter.detach() for parameter in self.trained))
        return own if self._scale is None else own._replace(W1=torch.empty_like(own.W1))

    @cached_property
    def _network(self) -> "Network":
        from makemore.models.mlp.numba_steps import Network

        return Network(self._effective, self._gradients, self._threads)
