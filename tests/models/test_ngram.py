import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.data import corpus
from makemore.data.split import split
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models.ngram import counts as ngram
from makemore.models.ngram.config import Smoothing
from tests.helpers import check, composed, refused

# Few letters, so that short texts repeat themselves.
DOCUMENTS = st.lists(st.text("abc", min_size=1, max_size=8), min_size=1, max_size=12)
UNKNOWN = "xyz"  # in the vocabulary, never in the text
FITS: dict[str, Callable[..., ngram.Trie]] = {
    "none": partial(ngram.fit, smoothing=Smoothing.none),
    "add_0": partial(ngram.fit, smoothing=Smoothing.add_k, k=0.0),
    "add_0.01": partial(ngram.fit, smoothing=Smoothing.add_k, k=0.01),
    "add_1": partial(ngram.fit, smoothing=Smoothing.add_k, k=1.0),
    "kneser_ney_0": partial(ngram.fit, smoothing=Smoothing.kneser_ney, discount=0.0),
    "kneser_ney_0.75": partial(ngram.fit, smoothing=Smoothing.kneser_ney, discount=0.75),
    "kneser_ney_1": partial(ngram.fit, smoothing=Smoothing.kneser_ney, discount=1.0),
    "kneser_ney": partial(ngram.fit, smoothing=Smoothing.kneser_ney),
    "jelinek_mercer": lambda windows, V: ngram.fit(windows, V, Smoothing.jelinek_mercer, dev=windows),
}

Context = tuple[int, ...]
Probability = Callable[[Context, int], float]


def windows_of(documents: Sequence[str], block_size: int) -> tuple[Windows, int]:
    """The examples of a text, and the size of a vocabulary that has tokens not in the text."""
    vocabulary = Vocabulary.from_documents([*documents, UNKNOWN])
    return Windows.from_documents(documents, vocabulary, block_size), len(vocabulary)


def examples(windows: Windows) -> list[tuple[Context, int]]:
    contexts, targets = windows.gather(torch.arange(len(windows)))
    return [(tuple(context), target) for context, target in zip(contexts.tolist(), targets.tolist(), strict=True)]


def any_contexts(windows: Windows, vocabulary: int, rows: int = 40) -> Tensor:
    """Contexts of the text; others like them in the last token, in the last two, and so on; and others altogether."""
    g = torch.Generator().manual_seed(1)
    seen, _ = windows.gather(torch.randint(len(windows), (rows,), generator=g))
    other = torch.randint(vocabulary, seen.shape, generator=g)
    kept = torch.randint(windows.block_size + 1, (rows, 1), generator=g)
    mixed = torch.where(torch.arange(windows.block_size) < windows.block_size - kept, other, seen)
    return torch.cat([seen, mixed])


def table(probability: Probability, contexts: Tensor, vocabulary: int) -> Tensor:
    rows = [[probability(tuple(context), w) for w in range(vocabulary)] for context in contexts.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


def plain_counting(windows: Windows, vocabulary: int, k: float) -> Probability:
    together = Counter(examples(windows))
    alone = Counter(context for context, _ in examples(windows))

    def p(context: Context, w: int) -> float:
        if alone[context] == 0:
            return 1 / vocabulary
        return (together[context, w] + k) / (alone[context] + k * vocabulary)

    return p


def textbook_kneser_ney(documents: Sequence[str], order: int, vocabulary: int, discount: float | None) -> Probability:
    """The recursion as Chen and Goodman (1998) write it, one probability at a time, on documents with one boundary each
    in front: counts of the longest n-grams and of those that begin a document, continuation counts of all others."""
    encode = Vocabulary.from_documents([*documents, UNKNOWN]).encode
    texts = [(0, *encode([document]).tolist()) for document in documents]  # encode closes with a boundary
    often: dict[int, Counter[Context]] = defaultdict(Counter)  # by length of n-gram
    before = defaultdict(set)  # the tokens that stand before an n-gram
    for text in texts:
        for length in range(1, order + 1):
            # A boundary in front is nothing to predict.
            for start in range(1 if length == 1 else 0, len(text) - length + 1):
                gram = text[start : start + length]
                often[length][gram] += 1
                if start > 0:
                    before[gram].add(text[start - 1])
    counts = {
        length: Counter(
            {
                gram: count if length == order or (length > 1 and gram[0] == 0) else len(before[gram])
                for gram, count in often[length].items()
            }
        )
        for length in range(1, order + 1)
    }

    def discounts(length: int) -> list[float]:
        if discount is not None:
            return [discount] * 3
        n = Counter(counts[length].values())
        y = n[1] / (n[1] + 2 * n[2]) if n[1] * n[2] > 0 else 0.75
        D = [y]
        for count in (2, 3):
            usable = n[count] > 0 and n[count + 1] > 0
            D.append(max(D[-1], count - (count + 1) * y * n[count + 1] / n[count]) if usable else D[-1])
        return D

    D = {length: discounts(length) for length in counts}
    following = defaultdict(list)  # the counts after a context
    for grams in counts.values():
        for gram, count in grams.items():
            following[gram[:-1]].append(count)

    def p(context: Context, w: int) -> float:
        after = following.get(context)
        lower = p(context[1:], w) if context else 1 / vocabulary
        if after is None:
            return lower
        d = D[len(context) + 1]
        n1, n2 = after.count(1), after.count(2)
        freed = d[0] * n1 + d[1] * n2 + d[2] * (len(after) - n1 - n2)
        count = counts[len(context) + 1].get((*context, w), 0)
        own = count - d[min(count, 3) - 1] if count > 0 else 0.0
        return own / sum(after) + freed / sum(after) * lower

    return p


def mean_loss(model: ngram.Trie, windows: Windows) -> float:
    contexts, targets = windows.gather(torch.arange(len(windows)))
    log_p = ngram.logits(model, contexts).gather(1, targets.unsqueeze(1))
    return -log_p.double().mean().item()


def kneser_ney_dev_loss(names: Sequence[str], order: int, discount: float | None) -> float:
    vocabulary = Vocabulary.from_documents(names)
    train, dev, _ = (
        Windows.from_documents(part, vocabulary, order - 1) for part in split(names, [0.8, 0.1, 0.1], seed=42)
    )
    return mean_loss(ngram.fit(train, len(vocabulary), Smoothing.kneser_ney, discount=discount), dev)


@pytest.mark.parametrize("smoothing", FITS)
@settings(deadline=None, max_examples=30)
@given(documents=DOCUMENTS, block_size=st.integers(1, 6))
def test_probabilities_of_any_context_sum_to_one(smoothing: str, documents: list[str], block_size: int) -> None:
    windows, vocabulary = windows_of(documents, block_size)
    model = FITS[smoothing](windows, vocabulary)
    logits = ngram.logits(model, any_contexts(windows, vocabulary))
    assert logits.shape == (80, vocabulary)
    assert logits.dtype == torch.float32
    sums = logits.double().exp().sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-6, rtol=0)


@pytest.mark.parametrize("smoothing", FITS)
@settings(deadline=None, max_examples=30)
@given(documents=DOCUMENTS, block_size=st.integers(1, 6))
def test_a_target_has_its_probability_among_all_tokens(smoothing: str, documents: list[str], block_size: int) -> None:
    windows, vocabulary = windows_of(documents, block_size)
    model = FITS[smoothing](windows, vocabulary)
    contexts = any_contexts(windows, vocabulary)
    alone = [
        ngram.target_probabilities(model, contexts, torch.full((len(contexts),), target))
        for target in range(vocabulary)
    ]
    torch.testing.assert_close(torch.stack(alone, 1), ngram.probabilities(model, contexts))


@settings(deadline=None, max_examples=20)
@given(DOCUMENTS, DOCUMENTS, st.integers(1, 3))
def test_deleted_interpolation_makes_dev_likeliest(train: list[str], dev: list[str], block_size: int) -> None:
    """Against a search over every b, in relative frequencies by plain counting."""
    windows, vocabulary = windows_of([*train, "abc"], block_size)
    held_out = Windows.from_documents([*dev, "abc"], Vocabulary.from_documents([*train, "abc", UNKNOWN]), block_size)
    model = ngram.fit(windows, vocabulary, Smoothing.jelinek_mercer, dev=held_out)
    found = ngram.probabilities(model, held_out.gather(torch.arange(len(held_out)))[0])
    expected = torch.full((len(held_out), vocabulary), 1 / vocabulary, dtype=torch.float64)
    grid = torch.arange(0.0005, 1, 0.0005, dtype=torch.float64)
    for length in range(block_size + 1):
        counts: dict[Context, Counter[int]] = defaultdict(Counter)
        for context, target in examples(windows):
            counts[context[block_size - length :]][target] += 1
        members: dict[int, list[int]] = defaultdict(list)
        contexts = [context[block_size - length :] for context, _ in examples(held_out)]
        for i, context in enumerate(contexts):
            if context in counts:
                average = counts[context].total() / len(counts[context])
                members[math.floor(ngram.BINS * math.log2(average))].append(i)
        for rows in members.values():
            own = torch.tensor(
                [[counts[contexts[i]][w] / counts[contexts[i]].total() for w in range(vocabulary)] for i in rows],
                dtype=torch.float64,
            )
            targets = torch.tensor([examples(held_out)[i][1] for i in rows]).unsqueeze(1)
            a, b = own.gather(1, targets), expected[rows].gather(1, targets)
            likelihood = (grid * b + (1 - grid) * a).log().sum(0) + grid.log() + (1 - grid).log()
            best = grid[likelihood.argmax()]
            expected[rows] = best * expected[rows] + (1 - best) * own
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("discount", [None, 0.0, 0.4, 0.75, 1.0])
@settings(deadline=None, max_examples=50)
@given(documents=DOCUMENTS, block_size=st.integers(1, 6))
def test_kneser_ney_is_the_textbooks_recursion(discount: float | None, documents: list[str], block_size: int) -> None:
    windows, vocabulary = windows_of(documents, block_size)
    model = ngram.fit(windows, vocabulary, Smoothing.kneser_ney, discount=discount)
    contexts = any_contexts(windows, vocabulary)
    textbook = textbook_kneser_ney(documents, block_size + 1, vocabulary, discount)
    expected = table(textbook, contexts, vocabulary)
    torch.testing.assert_close(ngram.probabilities(model, contexts), expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(ngram.logits(model, contexts), expected.log().float(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("smoothing", "k"), [("none", 1.0), ("add_k", 0.0), ("add_k", 0.01), ("add_k", 1.0)])
@settings(deadline=None, max_examples=30)
@given(documents=DOCUMENTS, block_size=st.integers(1, 6))
def test_none_and_add_k_are_plain_counting(smoothing: str, k: float, documents: list[str], block_size: int) -> None:
    windows, vocabulary = windows_of(documents, block_size)
    model = ngram.fit(windows, vocabulary, Smoothing[smoothing], k=k)
    contexts = any_contexts(windows, vocabulary)
    counting = plain_counting(windows, vocabulary, 0.0 if smoothing == "none" else k)
    expected = table(counting, contexts, vocabulary)
    torch.testing.assert_close(ngram.probabilities(model, contexts), expected, atol=1e-12, rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(documents=DOCUMENTS, block_size=st.integers(1, 6))
def test_estimated_discounts_give_every_token_a_chance(documents: list[str], block_size: int) -> None:
    windows, vocabulary = windows_of(documents, block_size)
    model = ngram.fit(windows, vocabulary, Smoothing.kneser_ney)
    assert (model.values > 0).all()
    assert ngram.logits(model, any_contexts(windows, vocabulary)).isfinite().all()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_estimated_discounts_grow_with_the_count_and_leave_some_of_it(counts: list[int]) -> None:
    D1, D2, D3 = ngram.estimate_discounts(torch.tensor(counts))
    assert 0 < D1 <= D2 <= D3
    assert D1 < 1 and D2 < 2 and D3 < 3


@pytest.mark.parametrize(
    ("counts", "estimates"),
    [
        # Chen and Goodman's formulas by hand: n = 8, 2, 1, 1 give Y = 8/12; n = 10, 5, 4, 3 give Y = 1/2.
        ([1] * 8 + [2] * 2 + [3, 4, 9], (2 / 3, 1.0, 1.0)),
        ([1] * 10 + [2] * 5 + [3] * 4 + [4] * 3, (0.5, 0.8, 1.5)),
        # No count of 2, no count of 1; no count of 4.
        ([1, 1, 1], (0.75, 0.75, 0.75)),
        ([7, 8, 9], (0.75, 0.75, 0.75)),
        ([1, 1, 2, 3], (0.5, 0.5, 0.5)),
    ],
)
def test_discounts_estimated_by_hand(counts: list[int], estimates: tuple[float, ...]) -> None:
    assert ngram.estimate_discounts(torch.tensor(counts)) == pytest.approx(estimates)


@pytest.mark.parametrize("smoothing", FITS)
@settings(deadline=None, max_examples=20)
@given(documents=DOCUMENTS, block_size=st.integers(1, 6), block=st.integers(1, 30))
def test_counting_in_blocks_changes_nothing(smoothing: str, documents: list[str], block_size: int, block: int) -> None:
    windows, vocabulary = windows_of(documents, block_size)
    at_once = FITS[smoothing](windows, vocabulary)
    with mock.patch.object(ngram, "BLOCK", block):
        in_blocks = FITS[smoothing](windows, vocabulary)
    assert all(torch.equal(a, b) for a, b in zip(at_once, in_blocks, strict=True))


@pytest.mark.parametrize("block_size", [4, 5, 8, 9, 12])
def test_orders_beyond_64_bits_count_right(block_size: int) -> None:
    # 20,000 ** 5 is more than 2 ** 63; so is 20,000 ** 4 times the number of n-grams here.
    words = torch.tensor([0, 1, 2, 16_000, 19_999], dtype=torch.int16)
    stream = words[torch.randint(5, (400,), generator=torch.Generator().manual_seed(1))]
    windows = Windows(F.pad(stream, (1, 0)), block_size)
    with mock.patch.object(ngram, "BLOCK", 100):
        model = ngram.fit(windows, 20_000, Smoothing.none)
    expected = plain_counting(windows, 20_000, 0.0)
    p = ngram.probabilities(model, windows.gather(torch.arange(len(windows)))[0])
    for row, (context, w) in zip(p, examples(windows), strict=True):
        assert row[w].item() == pytest.approx(expected(context, w), abs=1e-12)


def test_a_trigram_over_20_000_words_is_sparse() -> None:
    g = torch.Generator().manual_seed(1)
    words = (20_000 ** torch.rand(200_000, generator=g)).to(torch.int16)  # the commonest first, as in Zipf's law
    windows = Windows(F.pad(words, (1, 0)), 2)
    model = ngram.fit(windows, 20_000, Smoothing.kneser_ney)
    assert len(model.values) < 3 * len(windows) < 20_000**3 / 10**7
    contexts, _ = windows.gather(torch.arange(100))
    contexts[:50, 0] = torch.randint(20_000, (50,), generator=g)
    logits = ngram.logits(model, contexts)
    sums = logits.double().exp().sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-6, rtol=0)


def test_emma_by_hand() -> None:
    # . . e m m a .  has the bigrams  .e em mm ma a.  and the trigrams  ..e .em emm mma ma.
    windows = Windows.from_documents(["emma"], Vocabulary.from_documents(["emma"]), 2)
    model = ngram.fit(windows, 4, Smoothing.kneser_ney, discount=0.5)
    # By 0, 1 and 2 tokens of context: (. a e m), with m after e and after m; (.e em mm ma a.); and the trigrams, of
    # which ..e says no more than .e
    assert len(model.values) == 4 + 5 + 4
    assert len(model.backoff) == 1 + 4 + 5
    m = 1.5 / 5 + 4 * 0.5 / 5 / 4  # after nothing
    after_m = 0.5 / 2 + 2 * 0.5 / 2 * m
    after_em = 0.5 / 1 + 0.5 * after_m
    p = ngram.probabilities(model, torch.tensor([[2, 3], [1, 3]]))  # "em", and "am", which was not seen
    assert p[:, 3].tolist() == pytest.approx([after_em, after_m])


def test_a_bigram_by_counts_has_a_row_for_every_letter() -> None:
    names = corpus.read(corpus.BUNDLED)
    vocabulary = Vocabulary.from_documents(names)
    model = ngram.fit(Windows.from_documents(names, vocabulary, 1), 27, Smoothing.none)
    bigrams = {pair for name in names for pair in zip(f".{name}", f"{name}.", strict=True)}
    assert len(model.values) == len(bigrams)
    assert len(model.backoff) == 1 + 27
    starts = Counter(name[0] for name in names)
    p = ngram.probabilities(model, torch.tensor([[0]]))[0]  # (27,)
    assert p.tolist() == pytest.approx([starts[token] / len(names) for token in vocabulary.tokens])


@pytest.mark.parametrize(("k", "loss"), [(0.0, 2.4540), (1.0, 2.4546)])
def test_the_lectures_bigram_has_the_published_loss(lecture_names: Path, k: float, loss: float) -> None:
    names = corpus.read(lecture_names)
    windows = Windows.from_documents(names, Vocabulary.from_documents(names), 1)
    model = ngram.fit(windows, 27, Smoothing.add_k, k=k)
    assert mean_loss(model, windows) == pytest.approx(loss, abs=5e-5)


@pytest.mark.parametrize(("order", "discount", "loss"), [(4, 0.75, 2.061), (5, 0.75, 1.994), (6, 0.85, 1.984)])
def test_kneser_ney_has_the_published_dev_losses(lecture_names: Path, order: int, discount: float, loss: float) -> None:
    # Published for padding that counts as tokens, each a longer context; as one boundary it is up to 0.001 better.
    names = corpus.read(lecture_names)
    assert loss - 1e-3 < kneser_ney_dev_loss(names, order, discount) < loss + 5e-4
    assert kneser_ney_dev_loss(names, order, None) < loss


def test_padding_does_not_make_kneser_ney_worse(lecture_names: Path) -> None:
    names = corpus.read(lecture_names)
    longer = [kneser_ney_dev_loss(names, order, None) for order in (17, 33)]  # no name has more than 15 letters
    assert longer[0] == pytest.approx(longer[1], abs=1e-6)
    assert longer[0] < kneser_ney_dev_loss(names, 5, None)


def test_kneser_ney_has_the_published_dev_loss_without_duplicates(lecture_names: Path) -> None:
    # Published for the names in alphabetical order before the shuffle; in the file's order it is 2.017.
    names = corpus.read(lecture_names)
    assert kneser_ney_dev_loss(sorted(set(names)), 5, 0.75) == pytest.approx(2.024, abs=1e-3)
    assert kneser_ney_dev_loss(list(dict.fromkeys(names)), 5, 0.75) == pytest.approx(2.017, abs=1e-3)


def test_an_unseen_context_is_followed_by_any_token_alike_without_backing_off() -> None:
    windows, vocabulary = windows_of(["emma"], 2)
    unseen = torch.tensor([[4, 4]])
    for smoothing in (Smoothing.none, Smoothing.add_k):
        logits = ngram.logits(ngram.fit(windows, vocabulary, smoothing), unseen)
        assert logits[0].tolist() == pytest.approx([-math.log(vocabulary)] * vocabulary)


@pytest.mark.parametrize("smoothing", ["jelinek_mercer", "add_k", "none"])
def test_a_discount_is_refused_where_nothing_is_discounted(smoothing: str) -> None:
    with refused("model.discount=0.5", smoothing):
        check(composed("model=ngram", f"model.smoothing={smoothing}", "model.discount=0.5"))
