"""Which tokens the embedding table has learned to treat alike: those whose vectors point the same way."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.config.schema import Level
from makemore.data.vocabulary import UNKNOWN, Vocabulary
from makemore.errors import UserError
from makemore.models.model_file import TrainedModel

NEAREST = 8  # neighbours that are listed

Neighbours = dict[str, list[tuple[str, float]]]


def find_neighbours(C: Tensor, vocabulary: Vocabulary, tokens: Sequence[str]) -> Neighbours:
    """For each token the others with the largest cosine of the angle between their rows of C (vocabulary, emb_dim)."""
    ids = [vocabulary.tokens.index(token, 1) for token in tokens]
    unit = F.normalize(C.detach().float(), dim=1)  # (vocabulary, emb_dim)
    cosines = unit[ids] @ unit.T  # (tokens, vocabulary)
    cosines[torch.arange(len(ids)), ids] = -torch.inf
    # The boundary is no token of the text, nor is what stands for rare ones.
    left_out = [0] + [i for i, token in enumerate(vocabulary.tokens) if token == UNKNOWN]
    cosines[:, left_out] = -torch.inf
    nearest = cosines.topk(max(0, min(NEAREST, len(vocabulary) - 1 - len(left_out))), dim=1)
    return {
        token: [(vocabulary.label(i), cosine) for i, cosine in zip(row, values, strict=True)]
        for token, row, values in zip(tokens, nearest.indices.tolist(), nearest.values.tolist(), strict=True)
    }


def measure_neighbours(trained: TrainedModel, tokens: Sequence[str]) -> Neighbours:
    """The neighbours of some tokens; raises UserError if the model has no embedding table, or does not know a token."""
    C = trained.model.embedding()
    if C is None:
        name = trained.settings.get("model")
        raise UserError(f"neighbours={list(tokens)} takes a model with an embedding table, and model={name} has none")
    for token in tokens:
        if token not in trained.vocabulary.tokens[1:] or token == UNKNOWN:
            raise UserError(f"neighbours=[{token}] is not a {trained.level} that the model knows: {trained.vocabulary}")
    return find_neighbours(C.cpu(), trained.vocabulary, tokens)


def format_neighbours(neighbours: Neighbours) -> str:
    """A line for each token, its nearest neighbour first."""
    width = max(map(len, neighbours)) + 3
    lines = [
        f"{token:<{width}}" + "  ".join(f"{other} {cosine:.2f}" for other, cosine in nearest)
        for token, nearest in neighbours.items()
    ]
    return "\n".join(lines)


def list_common_words(vocabulary: Vocabulary, count: int) -> list[str]:
    """The words that occur most often, without punctuation marks and numbers; a vocabulary is sorted by that."""
    words = [word for word in vocabulary.tokens[1:] if word != UNKNOWN and word.isalpha()]
    return words[:count] if vocabulary.level is Level.word else []
