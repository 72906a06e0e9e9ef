import itertools

from makemore.config.schema import Level
from makemore.data.vocabulary import Vocabulary
from makemore.views import tokens
from tests.views.observe import VOCABULARY


def test_vowels_and_the_boundary_have_their_colours() -> None:
    kinds = tokens.find_kinds(VOCABULARY)
    assert kinds["boundary"] == [0]
    assert {VOCABULARY.tokens[i] for i in kinds["vowel"]} == set("aei")
    assert sorted(itertools.chain(*kinds.values())) == list(range(len(VOCABULARY)))
    assert set(tokens.find_kinds(Vocabulary((".", "b")))) == {"other", "boundary"}


def test_a_word_is_no_vowel() -> None:
    assert tokens.find_kinds(Vocabulary((".", "<unk>", "apple", "pear"), Level.word)) == {
        "word": [1, 2, 3],
        "boundary": [0],
    }


def test_words_and_other_characters_have_kinds_too() -> None:
    words = Vocabulary((".", "<unk>", "a"), Level.word)
    assert [tokens.name_kind(words, i) for i in range(3)] == ["boundary", "unknown", "word"]
    characters = Vocabulary(("⏎", ".", "7", "ñ", "é"))
    assert [tokens.name_kind(characters, i) for i in range(5)] == [
        "boundary",
        "other",
        "other",
        "consonant",
        "vowel",
    ]
