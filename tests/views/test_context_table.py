import math

import pytest
import torch

from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.views import context_table

NAMES = ["emma", "ava", "mia", "ella", "eva"]
VOCABULARY = Vocabulary.from_documents(NAMES)


def windows(names: list[str], block_size: int) -> Windows:
    return Windows.from_documents(names, VOCABULARY, block_size)


def contexts_of(names: list[str], length: int) -> set[str]:
    padded = ["." * length + name + "." for name in names]
    return {text[i : i + length] for text in padded for i in range(len(text) - length)}


def test_rows_are_counted_as_a_person_would() -> None:
    table = list(context_table.rows(windows(NAMES, 3), windows(["emma", "ave"], 3), len(VOCABULARY)))
    assert [row.length for row in table] == [1, 2, 3]
    for row in table:
        assert row.possible == len(VOCABULARY) ** row.length
        assert row.seen == len(contexts_of(NAMES, row.length))


def test_a_dev_example_that_was_never_seen_is_impossible_without_smoothing() -> None:
    # Of the eight examples of 'emma.' and 'ava', with 'av' then 'e', only "ave" ends in ways that no name does.
    row = next(context_table.rows(windows(NAMES, 1), windows(["emma", "ave"], 1), len(VOCABULARY)))
    assert row.unknown == 0
    pairs = {text[i : i + 2] for text in ("." + name + "." for name in NAMES) for i in range(len(text) - 1)}
    dev = [text[i : i + 2] for text in (".emma.", ".ave.") for i in range(len(text) - 1)]
    assert row.impossible == pytest.approx(1 - sum(pair in pairs for pair in dev) / len(dev))
    assert row.impossible > 0
    assert math.isfinite(row.add_one) and math.isfinite(row.kneser_ney)


def test_a_context_that_was_never_seen_is_unknown_and_does_not_count_as_possible() -> None:
    table = list(context_table.rows(windows(NAMES, 3), windows(["emma", "ave"], 3), len(VOCABULARY)))
    seen = contexts_of(NAMES, 3)
    contexts = [text[i : i + 3] for text in ("...emma.", "...ave.") for i in range(len(text) - 3)]
    assert table[2].unknown == pytest.approx(sum(context not in seen for context in contexts) / len(contexts))
    for row in table:
        assert 0 <= row.unknown + row.impossible < 1


def test_on_the_training_split_counts_alone_are_the_best() -> None:
    for row in context_table.rows(windows(NAMES, 3), windows(NAMES, 3), len(VOCABULARY)):
        assert row.unknown == row.impossible == 0
        assert row.unsmoothed < min(row.add_one, row.kneser_ney)
        assert f"{row.unsmoothed:.4f}" in context_table.as_text([row])


def test_shorter_contexts_are_the_ends_of_longer_ones() -> None:
    long, short = windows(NAMES, 3), windows(NAMES, 1)
    cut = Windows(long.stream, long.positions, 1)
    every = torch.arange(len(long))
    for a, b in zip(cut.gather(every), short.gather(every), strict=True):
        assert torch.equal(a, b)
