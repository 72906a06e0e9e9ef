"""New names from a model, many at a time: each step draws the next token of every unfinished name at once."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from makemore.config.schema import Layout, Level, SampleConfig
from makemore.data.documents import fingerprint
from makemore.data.vocabulary import UNKNOWN
from makemore.errors import UserError, make_printable
from makemore.inference.spacing import space_words
from makemore.models.model_file import TrainedModel
from makemore.models.sequence import Reader, SequenceModel
from makemore.randomness import Use, make_generator

BATCH = 2048  # names drawn together: more are no faster
RULE = "-" * 20  # below each sample of a running text
NUMBERS = 2**22  # random numbers that are drawn at once
MOST_FRUITLESS = 10_000  # known names in a row after which the search for a new one is given up


def sample(
    model: TrainedModel,
    n: int,
    generator: torch.Generator,
    *,
    prefix: str = "",
    temperature: float = 1.0,
    top_k: int | None = None,
    max_length: int = 200,
    novel: bool = False,
) -> Iterator[tuple[str, bool]]:
    """Draws `n` names; yields each, and whether it is among the model's training documents.

    Never draws `<unk>`, which is no word, nor in a running text the boundary, unless nothing else can follow.

    Args:
        model: what to draw from.
        n: how many names.
        generator: the source of chance; the same state gives the same names, the first of which do not depend on `n`.
        prefix: what every name begins with.
        temperature: divides the logits; below 1 the likely becomes likelier, above 1 rarer tokens get their turn.
        top_k: draw among the k likeliest tokens only; None among all.
        max_length: tokens, the prefix included, at which a name that has not ended is cut.
        novel: only names that are not among the training documents; gives up after `MOST_FRUITLESS` others in a row.

    Raises UserError if the prefix or `top_k` does not fit the model, or its training has diverged.
    """
    try:
        start = torch.tensor(model.vocabulary.encode_text(prefix).tolist(), dtype=torch.int64)  # (P,)
    except UserError as error:
        raise UserError(f"prefix={prefix}: {error}") from None
    given = model.vocabulary.split(prefix)
    if len(start) > max_length:
        raise UserError(f"prefix={prefix} is longer than max_length={max_length}; allow at least {len(start)}")
    if top_k is not None and top_k > len(model.vocabulary):
        tokens = f"{len(model.vocabulary):,} {model.level}s"
        raise UserError(f"top_k={top_k} is out of range: the model has {tokens} to choose from")
    never = [model.vocabulary.tokens.index(UNKNOWN)] if UNKNOWN in model.vocabulary.tokens else []
    if model.layout is Layout.running:
        never.append(0)
    batch = max(1, min(BATCH, NUMBERS // max_length))
    found = fruitless = 0
    while found < n and fruitless < MOST_FRUITLESS:
        count = min(batch, max(32, n - found) if novel else n - found)  # at least 32 where most may be known
        starts = start.expand(count, -1)  # (count, P)
        reader = Reader(model.model) if isinstance(model.model, SequenceModel) else None
        logits, keep = (model.logits, None) if reader is None else (reader.logits, reader.keep)
        ids = draw(logits, starts, model.block_size, generator, temperature, top_k, max_length, never, keep)
        # The prefix as it was given: its words may be unknown.
        drawn = [
            model.vocabulary.join([*given, *(model.vocabulary.tokens[i] for i in row[len(given) :])]) for row in ids
        ]
        for name, known in zip(drawn, are_known(model, drawn), strict=True):
            if novel and known:
                fruitless += 1
            elif found < n:
                found, fruitless = found + 1, 0
                yield name if model.level is Level.char else space_words(name), known


def sample_by_settings(model: TrainedModel, settings: SampleConfig, seed: int) -> Iterator[tuple[str, bool]]:
    """Draws names as `sample` does, by the keys of `sample.py`; the same seed gives the same names."""
    return sample(
        model,
        settings.n,
        make_generator(seed, Use.sampling),
        prefix=settings.prefix,
        temperature=settings.temperature,
        top_k=settings.top_k,
        max_length=settings.max_length,
        novel=settings.novel,
    )


def format_sample(model: TrainedModel, name: str) -> str:
    """A name on one line; a sample of running text with its line breaks and a rule below it. Safe to print."""
    if model.layout is Layout.lines:
        return make_printable(name)
    return "\n".join([*map(make_printable, name.split("\n")), RULE])


def are_known(model: TrainedModel, names: Sequence[str]) -> list[bool]:
    """Which of the names are among the model's training documents."""
    return torch.isin(torch.from_numpy(fingerprint(names)), model.known).tolist()


@torch.inference_mode()
def draw(
    logits: Callable[[Tensor], Tensor],
    start: Tensor,
    block_size: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    max_length: int = 200,
    never: Sequence[int] = (),
    keep: Callable[[Tensor], None] | None = None,
) -> list[list[int]]:
    """Continues each row of start (N, P) until it draws the boundary or has `max_length` ids; P may be 0.

    No document is empty, so the boundary cannot be drawn as a row's first id. The ids in `never` are not drawn at all.
    Before each call of `logits` but the first, `keep` is told which of the rows go on, (A,) bool.
    Returns N lists of ids, without boundaries. Raises UserError if the logits, (B, block_size) -> (B, vocabulary), are
    not finite.
    """
    rows, given = start.shape
    opening = torch.zeros(rows, block_size, dtype=torch.int64)  # (N, block_size) boundaries
    contexts = torch.cat([opening, start], dim=1)[:, given:]  # (A, block_size) of the rows that have not ended
    columns = list(start.unbind(dim=1))  # each (N,): one position of every row, 0 where the row has ended
    active = torch.arange(rows)  # (A,)
    at_once = min(NUMBERS, max(1, max_length - given))  # fewer than a name needs only where it is drawn alone
    while len(columns) < max_length and len(active) > 0:
        z = logits(contexts)  # (A, vocabulary)
        largest = z.max(dim=1, keepdim=True).values  # (A, 1)
        if not largest.isfinite().all():
            raise UserError("this model cannot be sampled: its training diverged, so its logits are not finite")
        # Subtracting the largest first keeps a tiny temperature from making infinities.
        z = (z - largest) / temperature
        z[:, [*never, 0] if not columns else never] = -torch.inf
        z[z.isneginf().all(dim=1), 0] = 0  # what may not be drawn was all that could follow: the row ends
        if top_k is not None and top_k < z.shape[1]:
            least = z.topk(top_k, dim=1).values[:, -1:]  # (A, 1)
            z = z.masked_fill(z < least, -torch.inf)
        place = (len(columns) - given) % at_once
        if place == 0:  # whole rows, so that a name does not depend on how many are drawn after it
            numbers = torch.rand(rows, at_once, generator=generator)
        drawn = categorical(z.softmax(dim=1), numbers[active, place].unsqueeze(1))  # (A, 1)
        goes_on = drawn.squeeze(1) != 0  # (A,)
        active = active[goes_on]
        columns.append(torch.zeros(rows, dtype=torch.int64).index_put_((active,), drawn[goes_on, 0]))
        contexts = torch.cat([contexts, drawn], dim=1)[goes_on, 1:]
        if keep is not None:
            keep(goes_on)
    ids = torch.stack(columns, dim=1).tolist()
    return [row[: row.index(0)] if 0 in row else row for row in ids]


def categorical(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """One id for each row of probabilities, by the inverse of their running sum: (A, vocabulary) -> (A, 1).

    Takes a random number below 1 for each row, (A, 1); `torch.multinomial` draws one for each probability, in six times
    the time.
    """
    sums = probabilities.cumsum(dim=1)  # (A, vocabulary)
    total = sums[:, -1:]  # (A, 1), 1 but for rounding
    point = numbers * total  # (A, 1)
    # Rounding up to the total itself would fall behind the last id.
    point = point.minimum(total.nextafter(torch.zeros(())))
    return torch.searchsorted(sums, point, right=True)
