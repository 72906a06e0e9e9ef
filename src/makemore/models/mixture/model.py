"""`model=mixture`: the weighted average of trained models' probabilities, p(w | h) = sum_m weight_m p_m(w | h)."""

from typing import Any

import torch
from torch import Tensor, nn

from makemore.data.dataset import Dataset
from makemore.data.minibatches import EvaluationBatches
from makemore.models import model_file
from makemore.models.base import LanguageModel, evaluating, rows_at_once
from makemore.models.mixture import members
from makemore.models.mixture.config import Config
from makemore.models.mixture.weights import fit_weights


class Model(LanguageModel):
    """Holds its members whole, so that their own files are no longer needed."""

    cpu_only = "model=mixture is fitted on the processor; use trainer=cpu"

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.weights: Tensor
        self.register_buffer("weights", torch.empty(len(config.members), dtype=torch.float64))
        # In a run these are paths, which `fit` reads; in a checkpoint they are descriptions.
        self.register_load_state_dict_post_hook(lambda *_: self._check_weights())  # type: ignore[no-untyped-call]
        described = [member for member in config.members if not isinstance(member, str)]
        self.members = nn.ModuleList(
            model_file.restore(member["model"], vocabulary, member["block_size"]) for member in described
        )

    def fit(self, data: Dataset) -> None:
        """Takes the weights that are given, or fits them to dev.

        Raises:
            UserError: a member learned from other documents.
        """
        trained = members.load(self.config.members)
        members.check_data(self.config.members, trained, data)
        self.members = nn.ModuleList(member.model for member in trained)
        self.requires_grad_(False)  # nothing moves its members
        if self.config.weights is not None:
            given = torch.tensor(self.config.weights, dtype=torch.float64)
            self.weights = given / given.sum()
        else:
            self.weights = fit_weights(self._score(data))

    @torch.inference_mode()
    def _score(self, data: Dataset) -> Tensor:
        """Each member's log-probability of every dev target. (members, examples)"""
        rows = rows_at_once(self.vocabulary, torch.device("cpu"))
        parts = []
        with evaluating(self):
            for batch in EvaluationBatches(data.dev):
                for first in range(0, len(batch.targets), rows):
                    targets = batch.targets[first : first + rows]  # (rows,)
                    log_p = self.log_probabilities(batch.contexts[first : first + rows])
                    parts.append(log_p[:, torch.arange(len(targets)), targets])  # (members, rows)
        return torch.cat(parts, dim=1)

    def log_probabilities(self, contexts: Tensor) -> Tensor:
        """Each member's own, from the end of the context. (B, block_size) -> (members, B, vocabulary)"""
        logits = [member(contexts[:, -member.block_size :]) for member in self.members]  # type: ignore[operator]
        return torch.stack([each.log_softmax(1) for each in logits])

    def forward(self, contexts: Tensor) -> Tensor:
        """Log-probabilities of the next token. (B, block_size) -> (B, vocabulary)"""
        mixed = self.log_probabilities(contexts) + self.weights.log().view(-1, 1, 1)  # (members, B, vocabulary)
        return mixed.logsumexp(0)

    def size(self) -> int:
        """The members' numbers, and the weights but for one, which follows from the others."""
        sizes: list[int] = [member.size() for member in self.members]  # type: ignore[operator]
        return sum(sizes) + len(sizes) - 1

    def _check_weights(self) -> None:
        """After loading. Raises ValueError unless there is a weight for each member, and they are weights."""
        sound = (self.weights >= 0).all() and (self.weights.sum() - 1).abs() < 1e-6
        if len(self.weights) != len(self.members) or not sound:
            raise ValueError("weights that do not go with the members")

    def describe(self) -> dict[str, Any]:
        """The configuration, with each member's description in place of its path."""
        parts = [{"model": member.describe(), "block_size": member.block_size} for member in self.members]  # type: ignore[operator]
        return super().describe() | {"members": parts}
