from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore.data import corpus
from makemore.data.split import split
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from tests.helpers import DOCUMENTS


def double_loop(documents: list[str], vocabulary: Vocabulary, block_size: int) -> tuple[list[list[int]], list[int]]:
    """Contexts and targets as the lecture builds them, one character after the other."""
    contexts, targets = [], []
    for document in documents:
        context = [0] * block_size
        for target in [*(vocabulary.tokens.index(character, 1) for character in document), 0]:
            contexts.append(context)
            targets.append(target)
            context = [*context[1:], target]
    return contexts, targets


@given(DOCUMENTS, st.integers(1, 9))
def test_windows_are_those_of_the_double_loop(documents: list[str], block_size: int) -> None:
    vocabulary = Vocabulary.from_documents(documents)
    windows = Windows.from_documents(documents, vocabulary, block_size)
    contexts, targets = windows.gather(torch.arange(len(windows)))
    assert (contexts.tolist(), targets.tolist()) == double_loop(documents, vocabulary, block_size)
    assert contexts.dtype == targets.dtype == torch.int64


def test_gather_keeps_the_shape_of_what_is_asked_for() -> None:
    windows = Windows.from_documents(["emma", "ava"], Vocabulary.from_documents(["emma", "ava"]), 3)
    contexts, targets = windows.gather(torch.tensor([[0, 8, 2], [1, 1, 1]]))
    assert contexts.shape == (2, 3, 3)
    assert targets.shape == (2, 3)


def test_an_example_of_characters_takes_a_byte_whatever_its_context() -> None:
    names = corpus.read(corpus.BUNDLED)
    windows = Windows.from_documents(names, Vocabulary.from_documents(names), 8)
    assert windows.stream.nbytes == len(windows) + 1


@pytest.mark.parametrize("block_size", [3, 8])
def test_lecture_split_has_the_published_numbers_of_examples(lecture_names: Path, block_size: int) -> None:
    names = corpus.read(lecture_names)
    vocabulary = Vocabulary.from_documents(names)
    assert len(vocabulary) == 27
    parts = split(names, [0.8, 0.1, 0.1], seed=42)
    sizes = [len(Windows.from_documents(part, vocabulary, block_size)) for part in parts]
    assert sizes == [182_625, 22_655, 22_866]
