"""Whether two models really differ: a paired test over the documents that both are measured on.

Documents are easy or hard for both models alike, so differences document by document vary far less than losses do, and
they are independent where the tokens of one document are not. With D_i the difference of the two models' losses summed
over document i, and t_i its tokens, the difference per token and its standard error are, for n documents,

    d = sum_i D_i / sum_i t_i        se^2 = n / (n - 1) sum_i (D_i - d t_i)^2 / (sum_i t_i)^2

(the ratio estimator: Cochran, "Sampling Techniques", 3rd edition, 1977, section 6.4, without the finite-population
correction). For hundreds of documents d / se is close to normal. A running text is cut into pieces of `PIECE` tokens.
"""

import math
from typing import Any

import torch
from torch import Tensor

from makemore.config.schema import DataConfig, Layout, Level
from makemore.data.minibatches import EvaluationBatches
from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.inference.evaluation import count_all_characters, keep_known, make_windows, read_all, read_own
from makemore.inference.units import bits_per_character, perplexity
from makemore.models.base import measure_losses
from makemore.models.model_file import TrainedModel

# Below this p a difference counts as real. Of a hundred pairs of equal models, one will seem to differ.
SIGNIFICANT = 0.01
# With fewer documents p is too small: with five, equal models differ at 0.01 in 6 of 100 cases.
ENOUGH = 100
# Tokens that count as a document of a running text: far more than a context, so that pieces hardly depend on others.
PIECE = 200


def compare(first: TrainedModel, second: TrainedModel, data: DataConfig | None) -> dict[str, Any]:
    """The losses of two models on the dev documents of both, or on all documents of another source.

    Returns:
        the `name` of the documents, how many `documents` (of a running text, pieces of `PIECE` tokens) and `tokens`
        there are, how many were `left_out`, both `losses`, the `difference` first minus second, its `standard_error`,
        and `p`, the probability of a difference at least as large by chance. Of models of words also both
        `perplexities` and `bits_per_character`.

    Raises:
        UserError: a loss is infinite, the models differ in their dev documents or kind of token, or there are fewer
            than two documents that both know.
    """
    if (first.level, first.layout) != (second.level, second.layout):
        raise UserError(
            "the two models differ in their kind of token, or in layout; compare their bits per character instead"
        )
    left_out = 0
    if data is None:
        if second.held_out[0] != first.held_out[0]:
            raise UserError(
                "the two models have different dev documents; name documents that neither was trained on: data=text "
                "data.path=FILE"
            )
        own = read_own(first)
        name, stream, characters = "dev", own.parts[1], own.characters[1]
        # The same text may have other ids in the other vocabulary.
        ids = torch.from_numpy(first.vocabulary.ids_in(second.vocabulary))
        streams = [stream, ids[stream.long()]]
    else:
        name, documents = read_all(first, data)
        known = documents
        for model in (first, second):
            known, _ = keep_known(model.vocabulary, known)
        left_out = len(documents) - len(known)
        streams = [make_windows(model, known).stream for model in (first, second)]
        characters = count_all_characters(first, known)
    tokens = count_tokens(streams[0], first.layout)
    if len(tokens) < 2:
        what = "a running text" if first.layout is Layout.running else "documents"
        least = f"more than {PIECE} tokens" if first.layout is Layout.running else "two documents"
        there = f"{len(streams[0]) - 1} tokens" if first.layout is Layout.running else str(len(tokens))
        raise UserError(f"a comparison takes {what} of {least} that both models know, and {name} has {there}")
    losses = [
        sum_by_document(model, Windows(stream, model.block_size), tokens)
        for model, stream in zip((first, second), streams, strict=True)
    ]
    for which, summed in zip(("checkpoint", "against"), losses, strict=True):
        if not summed.isfinite().all():
            raise UserError(f"{which}: this model considers some of {name} impossible, so that its loss is infinite")
    result = {"name": name, "left_out": left_out, **estimate_difference(losses[0], losses[1], tokens)}
    if first.level is Level.word:
        result["perplexities"] = list(map(perplexity, result["losses"]))
        result["bits_per_character"] = [
            bits_per_character(loss, result["tokens"], characters) for loss in result["losses"]
        ]
    return result


@torch.inference_mode()
def sum_by_document(trained: TrainedModel, windows: Windows, tokens: Tensor) -> Tensor:
    """The cross-entropy of each document, summed over its tokens, of which it has `tokens`. (documents,) float64"""
    batches = EvaluationBatches(windows, by_document=trained.model.by_document)
    losses = [measure_losses(trained.model, *batch) for batch in batches]
    which = torch.arange(len(tokens)).repeat_interleave(tokens)  # (sum of tokens,)
    return torch.zeros(len(tokens), dtype=torch.float64).index_add_(0, which, torch.cat(losses).double())


def count_tokens(stream: Tensor, layout: Layout) -> Tensor:
    """The tokens of each document, its end included, or of each piece of a running text. (documents,) int64"""
    targets = stream[1:]
    if layout is Layout.lines:
        ends = (targets == 0).nonzero().squeeze(1) + 1  # (documents,)
        return ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
    whole, rest = divmod(len(targets), PIECE)
    return torch.tensor([PIECE] * whole + [rest] * (rest > 0), dtype=torch.int64)


def format_comparison(result: dict[str, Any], first: str, second: str, layout: Layout) -> str:
    """The comparison in words, for two names of models."""
    a, b = result["losses"]
    what = "documents" if layout is Layout.lines else f"pieces of {PIECE} tokens"
    where = f"{result['documents']:,} {what} of {result['name']}"
    better = first if a < b else second
    verdict = f"{better} is better" if result["p"] < SIGNIFICANT else "the difference may be chance"
    if result["standard_error"] == result["difference"] == 0:
        verdict = "no document has another loss: they may be the same model"
    elif result["documents"] < ENOUGH:
        verdict = f"too few {what} to tell; it takes {ENOUGH} or more"
    left_out = f" ({result['left_out']:,} with unknown tokens left out)" if result["left_out"] else ""
    p = f"p = {result['p']:.2g}" if result["p"] >= 1e-9 else "p < 1e-9"
    text = (
        f"on {where}{left_out}: {first} {a:.4f}, {second} {b:.4f}; difference {result['difference']:+.4f} with a "
        f"standard error of {result['standard_error']:.4f}, {p}: {verdict}"
    )
    if "perplexities" in result:
        text += "\nperplexity {:.1f}, {:.1f}".format(*result["perplexities"])
        text += "; bits per character {:.4f}, {:.4f}".format(*result["bits_per_character"])
    return text


def estimate_difference(first: Tensor, second: Tensor, tokens: Tensor) -> dict[str, Any]:
    """The paired test for two models' summed losses (documents,) float64, with the tokens of each document."""
    total, n = float(tokens.sum()), len(tokens)
    difference = float((first - second).sum()) / total
    residuals = first - second - difference * tokens  # (documents,)
    error = math.sqrt(n / (n - 1) * float(residuals.square().sum())) / total
    z = abs(difference) / error if error > 0 else (math.inf if difference else 0.0)
    return {
        "documents": n,
        "tokens": int(total),
        "losses": [float(first.sum()) / total, float(second.sum()) / total],
        "difference": difference,
        "standard_error": error,
        "p": math.erfc(z / math.sqrt(2)),
    }
