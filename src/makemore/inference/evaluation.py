"""The loss of a model over whole splits, in nats per token."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.data.minibatches import Batch
from makemore.models.base import LanguageModel, evaluating, rows_at_once


@torch.inference_mode()
def sum_losses(model: LanguageModel, batch: Batch) -> Tensor:
    """Cross-entropy of one batch, summed over its examples: a float64 tensor of no dimensions.

    Computed in pieces, so that their logits stay within a fixed budget. The batch is on the model's device.
    """
    device = batch.targets.device
    rows = rows_at_once(model.vocabulary, device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    with evaluating(model):
        for contexts, targets in zip(torch.split(batch.contexts, rows), torch.split(batch.targets, rows), strict=True):
            total += F.cross_entropy(model(contexts), targets, reduction="sum")
    return total


def mean_loss(model: LanguageModel, batches: Iterable[Batch]) -> float:
    """Mean cross-entropy over all examples; the sums of batches are added in float64."""
    total, count = 0.0, 0
    for batch in batches:
        total += sum_losses(model, batch).item()
        count += len(batch.targets)
    return total / count
