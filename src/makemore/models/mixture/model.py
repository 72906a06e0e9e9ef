"""`model=mixture`: the weighted average of trained models' probabilities, p(w | h) = sum_m weight_m p_m(w | h)."""

from typing import Any

import torch
from torch import Tensor, nn

from makemore.data.dataset import Dataset
from makemore.data.minibatches import EvaluationBatches
from makemore.data.spans import to_windows
from makemore.models import model_file
from makemore.models.base import LanguageModel, measure_losses
from makemore.models.mixture import members
from makemore.models.mixture.config import Config


class Model(LanguageModel):
    """Holds its members whole, so that their own files are no longer needed."""

    cpu_only = "model=mixture is fitted on the processor; use trainer=cpu"

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.weights: Tensor
        self.register_buffer("weights", torch.empty(len(config.members), dtype=torch.float64))
        # In a run these are paths; in a checkpoint they are descriptions.
        paths = tuple(member for member in config.members if isinstance(member, str))
        described = [member for member in config.members if not isinstance(member, str)]
        self.members = nn.ModuleList(
            [member.model for member in members.load(paths)]
            or [model_file.build_described(member["model"], vocabulary, member["block_size"]) for member in described]
        )
        self.requires_grad_(False)  # nothing moves its members
        # Whole documents, if members that read them can read all that the others see.
        self.by_document = {member.block_size for member in self.members if member.by_document} == {block_size}

    def fit(self, data: Dataset) -> None:
        """Takes the weights that are given, or fits them to dev."""
        members.check_data(self.config.members, members.load(tuple(self.config.members)), data)
        if self.config.weights is not None:
            given = torch.tensor(self.config.weights, dtype=torch.float64)
            self.weights = given / given.sum()
        else:
            self.weights = fit_weights(self._score(data))

    @torch.inference_mode()
    def _score(self, data: Dataset) -> Tensor:
        """Each member's log-probability of every dev target. (members, examples)"""
        return torch.cat(
            [self._score_targets(*batch) for batch in EvaluationBatches(data.dev, by_document=self.by_document)], dim=1
        )

    def _score_targets(self, contexts: Tensor, targets: Tensor) -> Tensor:
        """Each member's log-probability of every target, of windows or of spans. (members, B) float64"""
        losses = []
        for member in self.members:
            batch = contexts, targets
            if targets.dim() == 1:
                batch = contexts[:, -member.block_size :], targets  # type: ignore[operator]
            elif not member.by_document:
                batch = to_windows(contexts, targets, member.block_size)  # type: ignore[arg-type]
            losses.append(measure_losses(member, *batch).double())  # type: ignore[arg-type]
        return torch.stack(losses).neg_()

    def losses(self, contexts: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of each example, from that of each member. (B,) float64"""
        return -(self._score_targets(contexts, targets) + self.weights.log().unsqueeze(1)).logsumexp(0)

    def embedding(self) -> None:
        """Nothing to draw: each member has a table of its own."""

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        return {}  # those of members are for their own runs

    def log_probabilities(self, contexts: Tensor) -> Tensor:
        """Each member's own, from the end of the context. (B, block_size) -> (members, B, vocabulary)"""
        logits = [member(contexts[:, -member.block_size :]) for member in self.members]  # type: ignore[operator]
        return torch.stack([each.log_softmax(1) for each in logits])

    def forward(self, contexts: Tensor) -> Tensor:
        """Log-probabilities of the next token. (B, block_size) -> (B, vocabulary) float64"""
        mixed = self.log_probabilities(contexts) + self.weights.log().view(-1, 1, 1)  # (members, B, vocabulary)
        return mixed.logsumexp(0)

    def size(self) -> int:
        """The members' numbers, and the weights but for one, which follows from the others."""
        sizes: list[int] = [member.size() for member in self.members]  # type: ignore[operator]
        return sum(sizes) + len(sizes) - 1

    def describe(self) -> dict[str, Any]:
        """The configuration, with each member's description in place of its path."""
        parts = [{"model": member.describe(), "block_size": member.block_size} for member in self.members]  # type: ignore[operator]
        return super().describe() | {"members": parts}


def fit_weights(log_p: Tensor) -> Tensor:
    """The weights under which held-out text is likeliest: positive, summing to 1. (members, examples) -> (members,)

    Found from each member's log-probability of each target by expectation-maximization (Dempster, Laird and Rubin 1977;
    for language models Jelinek and Mercer 1980): each example is shared among the members in proportion to how likely
    each made it, and a member's new weight is its share of all examples. No step lowers the likelihood; it ends when no
    weight moves by more than 1e-6.
    """
    log_p = log_p.double()
    # An example to which every member gives no probability does not affect the weights.
    log_p = log_p[:, log_p.isfinite().any(0)]
    weights = torch.full((len(log_p),), 1 / len(log_p), dtype=torch.float64)  # (members,)
    for _ in range(1000):
        shares = (log_p + weights.log().unsqueeze(1)).softmax(0)  # (members, examples)
        new = shares.mean(1)
        moved = (new - weights).abs().max()
        weights = new
        if moved < 1e-6:
            break
    return weights
