import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.config.schema import Level
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from tests.helpers import DOCUMENTS, refused


def test_names_have_26_letters_and_the_boundary_is_id_0() -> None:
    vocabulary = Vocabulary.from_documents(corpus.read(corpus.BUNDLED))
    assert "".join(vocabulary.tokens) == ".abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(("word", "boundary"), [("US", "."), (".", "⏎"), ("U.S.", "⏎")])
def test_a_text_with_dots_has_another_boundary(word: str, boundary: str) -> None:
    assert Vocabulary.from_counts({word: 2, "a": 1}, Level.word).tokens == (boundary, word, "a")


@given(DOCUMENTS)
def test_decoding_undoes_encoding_for_any_unicode(documents: list[str]) -> None:
    vocabulary = Vocabulary.from_documents(documents)
    ids = vocabulary.encode(documents)
    assert vocabulary.decode(ids.tolist()) == "\n".join(documents) + "\n"
    assert np.count_nonzero(ids == 0) == len(documents)


@given(st.integers(1, 2**16))
def test_ids_fit_their_type(size: int) -> None:
    vocabulary = Vocabulary((".", *map(chr, range(0xE000, 0xE000 + min(size, 6000) - 1))))
    assert np.iinfo(vocabulary.dtype).max >= len(vocabulary) - 1


@pytest.mark.parametrize("document", ["eva", "e√a", "\U0001f600"])
def test_unknown_character_is_named(document: str) -> None:
    character = next(each for each in document if each not in "ae")
    with refused(repr(character), "a e"):
        Vocabulary((".", "a", "e")).encode([document])


def test_white_space_and_control_characters_have_labels_that_can_be_seen() -> None:
    vocabulary = Vocabulary((".", " ", "\t", "\u200b", "é"))
    assert [vocabulary.label(i) for i in range(5)] == [".", "␣", "\\t", "\\u200b", "é"]


@pytest.mark.parametrize("counts", [{"cat": 2}, {"<unk>": 9, "cat": 2}])
def test_a_text_without_a_frequent_word_is_refused(counts: dict[str, int]) -> None:
    with refused("min_count=3", "2"):
        Vocabulary.from_counts(counts, Level.word, min_count=3)
