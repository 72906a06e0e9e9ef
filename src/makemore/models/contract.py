"""Whether a model keeps the contract of `LanguageModel`, tried out before training."""

import copy

import torch
from torch import Tensor

from makemore.errors import UserError
from makemore.models import model_file, registry
from makemore.models.base import LanguageModel, evaluating
from makemore.randomness import GlobalGenerator


def check_model(model: LanguageModel, contexts: Tensor, targets: Tensor) -> None:
    """Tries a model out on contexts (B, block_size) and targets (B,), without changing it.

    Raises UserError if its logits or gradients cannot be computed, or a checkpoint could not be read back.
    """
    path, shape = registry.FOLDER / model.config.name / "model.py", (len(contexts), model.vocabulary)
    with GlobalGenerator(0), registry.name_file(path):
        with torch.inference_mode(), evaluating(model):
            logits, last = model(contexts), model(contexts[-1:])
        if not isinstance(logits, Tensor) or logits.shape != shape or logits.dtype != torch.float32:
            given = type(logits).__name__
            if isinstance(logits, Tensor):
                given = f"{logits.dtype} of shape {tuple(logits.shape)}"
            raise UserError(
                f"{path}: forward must return torch.float32 of shape {shape}, a row for each context and a column for "
                f"each token, but returned {given}"
            )
        if not torch.allclose(logits[-1:], last, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise UserError(
                f"{path}: forward gives a context other logits alone than in a minibatch; a row must not depend on the "
                "rows beside it (torch.nn.GRU and others need batch_first=True)"
            )
        copy.deepcopy(model).train().loss_and_gradients(contexts, targets)
        with torch.device("meta"):
            built = model_file.restore(model.describe(), model.vocabulary, model.block_size)
        if built.state_dict().keys() != model.state_dict().keys():
            raise UserError(f"{path}: a model that is built again from its keys has other tensors")
