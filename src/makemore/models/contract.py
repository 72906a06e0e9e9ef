"""Whether a model keeps the contract of `LanguageModel`, or of `SequenceModel`, tried out before training."""

import copy
from pathlib import Path

import torch
from torch import Tensor

from makemore.errors import UserError
from makemore.models import model_file, registry
from makemore.models.base import LanguageModel, evaluating
from makemore.models.sequence import SequenceModel
from makemore.randomness import GlobalGenerator


def check_model(model: LanguageModel, contexts: Tensor, targets: Tensor) -> None:
    """Tries a model out on contexts (B, block_size) and targets (B,), without changing it.

    Raises UserError if its logits or gradients cannot be computed, or a checkpoint could not be read back.
    """
    path, shape = registry.place(model.config.name), (len(contexts), model.vocabulary)
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
                f"{path}: forward gives a context different logits alone than in a minibatch; a row must not depend on "
                "the rows beside it (torch.nn.GRU and others need batch_first=True)"
            )
        if isinstance(model, SequenceModel):
            check_reading(model, path)
        copy.deepcopy(model).train().loss_and_gradients(contexts, targets)
        with torch.device("meta"):
            built = model_file.build_described(model.describe(), model.vocabulary, model.block_size)
        if built.state_dict().keys() != model.state_dict().keys():
            raise UserError(f"{path}: a model that is built again from its keys has other tensors")


def check_reading(model: SequenceModel, path: Path | str) -> None:
    """Reads some ids at once, and one after another from state to state.

    Raises UserError if the logits differ, or the state has no row for each document.
    """
    rows = 7  # more than layers or heads, which may come first in a state by mistake
    ids = torch.randint(model.vocabulary, (rows, min(4, model.block_size)), generator=torch.Generator().manual_seed(0))
    ids = ids.to(model.device)
    with torch.inference_mode(), evaluating(model):
        at_once, state = model.read(ids)  # (rows, T, vocabulary)
        if any(len(part) != rows for part in state):
            shapes = ", ".join(str(tuple(part.shape)) for part in state)
            raise UserError(
                f"{path}: read must return a state of tensors with a row for each of {rows} documents, not {shapes}"
            )
        one_by_one, so_far = [], None
        for each in torch.split(ids, 1, dim=1):
            logits, so_far = model.read(each, so_far)
            one_by_one.append(logits)
    if not torch.allclose(at_once, torch.cat(one_by_one, dim=1), rtol=1e-3, atol=1e-4, equal_nan=True):
        raise UserError(
            f"{path}: read gives different logits for several ids at once than for one after another; no logits may "
            "depend on later ids, and the state must hold all that matters of those before"
        )
