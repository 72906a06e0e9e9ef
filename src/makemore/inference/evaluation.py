"""The loss of a model: over whole splits, over other documents, and word by word. In nats per token."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.config.compose import read_data
from makemore.config.schema import DataConfig, Layout, Level
from makemore.data import corpus
from makemore.data.cache import read_documents
from makemore.data.documents import Documents
from makemore.data.minibatches import Batch, EvaluationBatches
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.errors import FileError, UserError, make_printable
from makemore.inference.units import bits_per_character, perplexity
from makemore.models.base import LanguageModel, evaluating, logits_in_pieces
from makemore.models.model_file import TrainedModel


@torch.inference_mode()
def sum_batch(model: LanguageModel, batch: Batch) -> Tensor:
    """Cross-entropy of one batch, summed over its examples: a float64 tensor of no dimensions, on the CPU.

    The batch is on the model's device, which may lack float64, as Apple's GPUs do.
    """
    total = torch.zeros((), dtype=torch.float64)
    if len(batch.targets) == 0:  # one of several processes may have no share of a batch
        return total
    with evaluating(model):
        losses = model.losses(*batch)  # (B,)
        if losses is not None:
            return losses.cpu().double().sum()
        # Summed in float32 within a piece, which is exact to seven digits.
        for logits, targets in logits_in_pieces(model, *batch):
            total += F.cross_entropy(logits, targets, reduction="sum").cpu()
        return total


def mean_loss(model: LanguageModel, batches: Iterable[Batch]) -> float:
    """Mean cross-entropy over all examples."""
    total, count = add_losses(model, batches)
    return total / count


def add_losses(model: LanguageModel, batches: Iterable[Batch]) -> tuple[float, int]:
    """The sum of the cross-entropy of all examples, and how many there are; batches are added in float64."""
    total, count = 0.0, 0
    for batch in batches:
        total += sum_batch(model, batch).item()
        count += batch.count_targets()
    return total, count


def measure_documents(trained: TrainedModel, data: DataConfig | None) -> list[dict[str, Any]]:
    """The loss on the model's own train, dev and test documents, or on all documents of another source.

    Documents that hold a token which the model does not know are left out.

    Returns:
        for each set of documents its `name`, how many `documents`, `tokens` and `characters` it has, its `loss`, and
        how many documents were `left_out`, with how often each `unknown` token occurs.

    Raises:
        UserError: the documents cannot be read, are no longer those of the run, or none has known tokens only.
    """
    if data is not None:
        return [_measure_known(trained, *read_all(trained, data))]
    own = read_own(trained)
    measured = []
    for name, stream, characters in zip(("train", "dev", "test"), own.parts, own.characters, strict=True):
        documents = 1 if trained.layout is Layout.running else int((stream[1:] == 0).sum())
        measured.append(_measure_windows(trained, name, documents, Windows(stream, trained.block_size), characters))
    return measured


def read_all(trained: TrainedModel, data: DataConfig) -> tuple[str, list[str]]:
    """The name of a source, and all of its documents: a single one for a model of running text."""
    (path, *_) = corpus.locate(data)
    with corpus.name_keys(data):
        if trained.layout is Layout.running:
            text = "".join(corpus.read_pieces(path, None))
            if not trained.vocabulary.split(text):
                raise FileError(path, f"holds no {trained.level}s")
            return path.name, [text]
        documents = corpus.read(path)
    return path.name, list(dict.fromkeys(documents)) if data.unique else documents


def read_own(
    trained: TrainedModel, advice: str = "name the documents to measure it on: data=text data.path=FILE"
) -> Documents:
    """The documents that a model was trained and measured on.

    Raises UserError, which ends with `advice`, if they have changed.
    """
    own = read_documents(read_data(trained.data))
    if not torch.equal(own.known, trained.known) or own.held_out != trained.held_out:
        raise UserError(f"{own.path} no longer holds the documents that the model was trained on; {advice}")
    return own


def make_windows(trained: TrainedModel, documents: Sequence[str]) -> Windows:
    """The examples of some documents."""
    if trained.layout is Layout.running:
        return Windows.from_text("\n".join(documents), trained.vocabulary, trained.block_size)
    return Windows.from_documents(documents, trained.vocabulary, trained.block_size)


def _measure_known(trained: TrainedModel, name: str, documents: Sequence[str]) -> dict[str, Any]:
    """The loss on those documents that hold no unknown token."""
    known, unknown = keep_known(trained.vocabulary, documents)
    if not known:
        shown = ", ".join(f"{token!r} {count:,}x" for token, count in unknown.most_common(20))
        raise UserError(f"every document of {name} holds a {trained.level} that the model does not know: {shown}")
    measured = _measure_windows(
        trained, name, len(known), make_windows(trained, known), count_all_characters(trained, known)
    )
    return measured | {"left_out": len(documents) - len(known), "unknown": dict(unknown.most_common())}


def count_all_characters(trained: TrainedModel, documents: Sequence[str]) -> int:
    """The characters that a loss in bits per character is spread over."""
    # Like `Documents.characters`, with the space or line feed after each word or document; running text has no more.
    after = 0 if trained.layout is Layout.running and trained.level is Level.char else 1
    return sum(len(trained.vocabulary.normalize(document)) + after for document in documents)


def _measure_windows(
    trained: TrainedModel, name: str, documents: int, windows: Windows, characters: int
) -> dict[str, Any]:
    """The loss on some windows, and how much text it is a mean over."""
    loss = mean_loss(trained.model, EvaluationBatches(windows, by_document=trained.model.by_document))
    return {
        "name": name,
        "documents": documents,
        "tokens": len(windows),
        "characters": characters,
        "loss": loss,
        "perplexity": perplexity(loss),
        "bits_per_character": bits_per_character(loss, len(windows), characters),
        "left_out": 0,
        "unknown": {},
    }


def keep_known(vocabulary: Vocabulary, documents: Sequence[str]) -> tuple[list[str], "Counter[str]"]:
    """The documents whose tokens are all in a vocabulary, and how often each other token occurs."""
    foreign = vocabulary.find_unknown(documents)
    if not foreign:
        return list(documents), Counter()
    tokens = [vocabulary.split(document) for document in documents]
    unknown = Counter(token for each in tokens for token in each if token in foreign)
    return [document for document, each in zip(documents, tokens, strict=True) if foreign.isdisjoint(each)], unknown


@torch.inference_mode()
def measure_words(trained: TrainedModel, words: Sequence[str]) -> list[dict[str, Any]]:
    """For each `word` its mean `loss`, `perplexity` and `bits_per_character`, and the loss of each of its `tokens`.

    The boundary at its end is one of them.

    Raises:
        UserError: a word is empty, or holds a token that the model does not know.
    """
    measured = []
    for word in words:
        tokens = trained.vocabulary.split(word)
        if not tokens:
            raise UserError(f"words={list(words)} must be words of one letter or more")
        try:
            windows = make_windows(trained, [word])
        except UserError as error:
            raise UserError(f"words=[{word}]: {error}") from None
        contexts, targets = windows.gather(torch.arange(len(windows)))  # (tokens, block_size), (tokens,)
        losses = F.cross_entropy(trained.logits(contexts), targets, reduction="none").double()  # (tokens,)
        # A loss belongs to the token that the model sees: `<unk>` for one that it does not know.
        seen = [trained.vocabulary.tokens[i] for i in targets.tolist()]
        # `seen` has the boundary at the end, too.
        shown = [t if s == t else f"{t} as {s}" for t, s in zip(tokens, seen, strict=False)]
        each = zip((*shown, *seen[len(shown) :]), losses.tolist(), strict=True)
        loss = float(losses.mean())
        measured.append(
            {
                "word": word,
                "loss": loss,
                "perplexity": perplexity(loss),
                "bits_per_character": bits_per_character(loss, len(losses), count_all_characters(trained, [word])),
                "tokens": [list(pair) for pair in each],
            }
        )
    return measured


def format_result(trained: TrainedModel, result: dict[str, Any]) -> str:
    """What `evaluate.py` prints."""
    size = f"{trained.model.size():,} parameters after {trained.step:,} steps"
    lines = [f"{result['checkpoint']}: {trained.settings.get('model')}, {size}; losses in nats per {trained.level}"]
    if losses := result.get("losses"):
        tokens = f"{trained.level}s"
        lines += ["", f"{'':<16}{'documents':>10}{tokens:>12}{'loss':>10}{'perplexity':>12}{'bits per character':>20}"]
        lines += [
            f"{row['name']:<16}{row['documents']:>10,}{row['tokens']:>12,}{row['loss']:>10.4f}"
            f"{row['perplexity']:>12.4g}{row['bits_per_character']:>20.4f}"
            for row in losses
        ]
        for row in losses:
            if row["left_out"]:
                shown = ", ".join(f"{token!r} {count:,}x" for token, count in row["unknown"].items())
                left_out = f"{row['left_out']:,} documents with {tokens} that the model does not know"
                lines.append(f"left out: {left_out}: {shown}")
    if words := result.get("words"):
        width = max(len(row["word"]) for row in words) + 3
        units = f"{'perplexity':>12}{'bits per character':>20}" if trained.level is Level.word else ""
        lines += ["", f"{'word':<{width}}{'loss':>8}{units}   of each {trained.level}"]
        for row in words:
            each = "  ".join(f"{token} {loss:.2f}" for token, loss in row["tokens"])
            cells = f"{row['perplexity']:>12.4g}{row['bits_per_character']:>20.4f}" if units else ""
            lines.append(f"{row['word']:<{width}}{row['loss']:>8.4f}{cells}   {each}")
    return "\n".join(map(make_printable, lines))
