"""Optimizer steps: by any optimizer of PyTorch's, or for plain SGD without its bookkeeping."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from makemore.data.minibatches import Batch
from makemore.errors import UserError
from makemore.models.base import LanguageModel
from makemore.training.distillation import Teacher
from makemore.training.parallel import average, average_buffers, average_gradients, is_shared

OptimizerFactory = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]


def make_optimizer(factory: OptimizerFactory, model: nn.Module) -> torch.optim.Optimizer:
    """The configured optimizer over all parameters; weight decay is for matrices, as is usual, not for biases.

    Raises UserError if its keys do not go together.
    """
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    try:
        return factory([group for group in groups if group["params"]])
    except (TypeError, ValueError) as error:
        raise UserError(f"the optimizer does not take these keys: {error}") from error


def take_steps(
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rates: list[float],
    teacher: Teacher | None = None,
    clip: float | None = None,
) -> Tensor:
    """Takes K optimizer steps, each with its rate; returns (K,) the loss before each, in nats per token.

    The model is in train mode, the batch holds contexts (K, B, block_size) and targets (K, B), or both (K, B, T), and a
    teacher mixes its opinion into the targets. Processes that share the minibatches average gradients and losses.
    Gradients whose norm, over all parameters, is above `clip` are scaled down to it.
    """
    plain, shared = is_plain_sgd(optimizer), is_shared()
    if plain and teacher is None and clip is None and not shared:
        losses = model.descend(batch.contexts, batch.targets, rates)
        if losses is not None:
            return losses
    update = plain_sgd_step if plain else optimizer_step
    losses = torch.empty(len(batch.targets), device=batch.targets.device)  # (K,)
    minibatches = zip(batch.contexts.unbind(), batch.targets.unbind(), rates, strict=True)
    for k, (contexts, targets, rate) in enumerate(minibatches):
        soft = None if teacher is None else teacher.mix(contexts, targets)  # (B, vocabulary)
        loss = model.loss_and_gradients(contexts, targets, soft)
        losses[k] = average_gradients(model, targets, loss) if shared else loss
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        update(optimizer, rate)
    average_buffers(model)
    return average(losses)


def optimizer_step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def is_plain_sgd(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step is no more than p <- p - rate * gradient, with nothing kept between steps."""
    return type(optimizer) is torch.optim.SGD and not any(
        group["momentum"] or group["weight_decay"] or group["maximize"] for group in optimizer.param_groups
    )


@torch.no_grad()
def plain_sgd_step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One step of plain SGD, to the bit what `optimizer.step()` does, without its 20 µs of bookkeeping."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-rate)
