"""The loss of a model: over whole splits, over other documents, and word by word. In nats per token."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.config.compose import read_data
from makemore.config.schema import DataConfig
from makemore.data import corpus
from makemore.data.minibatches import Batch, EvaluationBatches
from makemore.data.split import Documents, read_documents
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.errors import UserError, make_printable
from makemore.models.base import LanguageModel, evaluating, rows_at_once
from makemore.models.model_file import TrainedModel


@torch.inference_mode()
def sum_losses(model: LanguageModel, batch: Batch) -> Tensor:
    """Cross-entropy of one batch, summed over its examples: a float64 tensor of no dimensions.

    The batch is on the model's device.
    """
    total = torch.zeros((), dtype=torch.float64, device=batch.targets.device)
    for logits, targets in logits_in_pieces(model, batch):
        total += F.cross_entropy(logits, targets, reduction="sum")
    return total


def logits_in_pieces(model: LanguageModel, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (rows, vocabulary) and targets (rows,) of a batch, in pieces that stay within a fixed budget."""
    rows = rows_at_once(model.vocabulary, batch.targets.device)
    with evaluating(model):
        for contexts, targets in zip(torch.split(batch.contexts, rows), torch.split(batch.targets, rows), strict=True):
            yield model(contexts), targets


def mean_loss(model: LanguageModel, batches: Iterable[Batch]) -> float:
    """Mean cross-entropy over all examples; the sums of batches are added in float64."""
    total, count = 0.0, 0
    for batch in batches:
        total += sum_losses(model, batch).item()
        count += len(batch.targets)
    return total / count


def measure_documents(trained: TrainedModel, data: DataConfig | None) -> list[dict[str, Any]]:
    """The loss on the model's own train, dev and test documents, or on all documents of another source.

    Documents that hold a character which the model does not know are left out.

    Returns:
        for each set of documents its `name`, how many `documents` and `tokens` it has, its `loss`, and how many
        documents were `left_out`, with how often each `unknown` character occurs.

    Raises:
        UserError: the documents cannot be read, are no longer those of the run, or none has known characters only.
    """
    if data is not None:
        return [_measure(trained, *read_all(data))]
    own = read_own(trained)
    return [_measure(trained, name, part) for name, part in zip(("train", "dev", "test"), own.parts, strict=True)]


def read_all(data: DataConfig) -> tuple[str, list[str]]:
    """The name of a source, and all of its documents."""
    path = corpus.locate(data)
    documents = corpus.read(path)
    return path.name, list(dict.fromkeys(documents)) if data.unique else documents


def read_own(trained: TrainedModel) -> Documents:
    """The documents that a model was trained and measured on. Raises UserError if they have changed."""
    own = read_documents(read_data(trained.data))
    if not torch.equal(own.known, trained.known) or own.held_out != trained.held_out:
        raise UserError(
            f"{own.path} no longer holds the documents that the model was trained on; name the documents to measure it "
            "on: data=text data.path=FILE"
        )
    return own


def _measure(trained: TrainedModel, name: str, documents: Sequence[str]) -> dict[str, Any]:
    known, unknown = keep_known(trained.vocabulary, documents)
    if not known:
        shown = ", ".join(f"{character!r} {count:,}x" for character, count in unknown.most_common(20))
        raise UserError(f"every document of {name} holds a character that the model does not know: {shown}")
    windows = Windows.from_documents(known, trained.vocabulary, trained.block_size)
    return {
        "name": name,
        "documents": len(known),
        "tokens": len(windows),
        "loss": mean_loss(trained.model, EvaluationBatches(windows)),
        "left_out": len(documents) - len(known),
        "unknown": dict(unknown.most_common()),
    }


def keep_known(vocabulary: Vocabulary, documents: Sequence[str]) -> tuple[list[str], "Counter[str]"]:
    """The documents whose characters are all in a vocabulary, and how often each other character occurs."""
    foreign = set().union(*documents) - set(vocabulary.tokens)
    unknown = Counter(character for document in documents for character in document if character in foreign)
    return [document for document in documents if foreign.isdisjoint(document)], unknown


@torch.inference_mode()
def measure_words(trained: TrainedModel, words: Sequence[str]) -> list[dict[str, Any]]:
    """For each `word` its mean `loss`, and the loss of each of its `tokens`, the boundary at its end included.

    Raises:
        UserError: a word holds a character that the model does not know, or the boundary.
    """
    measured = []
    for word in words:
        if not word or corpus.BOUNDARY in word:
            raise UserError(f"words={list(words)} must be words of one letter or more, without '{corpus.BOUNDARY}'")
        try:
            windows = Windows.from_documents([word], trained.vocabulary, trained.block_size)
        except UserError as error:
            raise UserError(f"words=[{word}]: {error}") from None
        contexts, targets = windows.gather(torch.arange(len(windows)))  # (tokens, block_size), (tokens,)
        losses = F.cross_entropy(trained.logits(contexts), targets, reduction="none").double()  # (tokens,)
        tokens = zip((*word, corpus.BOUNDARY), losses.tolist(), strict=True)
        measured.append({"word": word, "loss": float(losses.mean()), "tokens": [list(each) for each in tokens]})
    return measured


def format_result(trained: TrainedModel, result: dict[str, Any]) -> str:
    """What `evaluate.py` prints."""
    size = f"{trained.model.size():,} parameters after {trained.step:,} steps"
    lines = [f"{result['checkpoint']}: {trained.settings.get('model')}, {size}; losses in nats per character"]
    if losses := result.get("losses"):
        lines += ["", f"{'':<16}{'documents':>10}{'characters':>12}{'loss':>10}{'perplexity':>12}"]
        for row in losses:
            perplexity = math.exp(min(row["loss"], 700))
            lines.append(
                f"{row['name']:<16}{row['documents']:>10,}{row['tokens']:>12,}{row['loss']:>10.4f}{perplexity:>12.4g}"
            )
        for row in losses:
            if row["left_out"]:
                shown = ", ".join(f"{character!r} {count:,}x" for character, count in row["unknown"].items())
                left_out = f"{row['left_out']:,} documents with characters that the model does not know"
                lines.append(f"left out: {left_out}: {shown}")
    if words := result.get("words"):
        width = max(len(row["word"]) for row in words) + 3
        lines += ["", f"{'word':<{width}}{'loss':>8}   of each character"]
        for row in words:
            each = "  ".join(f"{token} {loss:.2f}" for token, loss in row["tokens"])
            lines.append(f"{row['word']:<{width}}{row['loss']:>8.4f}   {each}")
    return "\n".join(map(make_printable, lines))
