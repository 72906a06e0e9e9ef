import itertools

from makemore.data.vocabulary import Vocabulary
from makemore.views import tokens
from tests.views.observe import VOCABULARY


def test_vowels_and_the_boundary_have_their_colours() -> None:
    kinds = tokens.find_kinds(VOCABULARY)
    assert kinds["boundary"] == [0]
    assert {VOCABULARY.tokens[i] for i in kinds["vowel"]} == set("aei")
    assert sorted(itertools.chain(*kinds.values())) == list(range(len(VOCABULARY)))
    assert set(tokens.find_kinds(Vocabulary((".", "b")))) == {"other", "boundary"}
