import itertools

import torch

from makemore.data.vocabulary import Vocabulary
from makemore.views import tokens
from tests.views.observe import VOCABULARY


def test_two_dimensions_are_drawn_as_they_are() -> None:
    C = torch.tensor([[0.0, 1.0], [2.0, 3.0], [-1.0, 5.0]])
    places, title, names = tokens.lay_out(C)
    assert torch.equal(places, C)
    assert "PCA" not in title
    assert names == ("C[:, 0]", "C[:, 1]")


def test_more_dimensions_are_a_map_that_says_how_many_neighbours_it_keeps() -> None:
    generator = torch.Generator().manual_seed(0)
    C = torch.randn(30, 7, dtype=torch.float64, generator=generator)
    layout = tokens.lay_out(C)
    assert torch.equal(layout.places, tokens.lay_out(C).places)
    assert layout.names is None
    near = [torch.cdist(each, each).argsort(1)[:, 1:4].tolist() for each in (C, layout.places)]
    kept = sum(len({*a} & {*b}) for a, b in zip(*near, strict=True)) / 90
    assert "t-SNE" in layout.title and f"{100 * kept:.0f} %" in layout.title


def test_vowels_and_the_boundary_have_their_colours() -> None:
    kinds = tokens.find_kinds(VOCABULARY)
    assert kinds["boundary"] == [0]
    assert {VOCABULARY.tokens[i] for i in kinds["vowel"]} == set("aei")
    assert sorted(itertools.chain(*kinds.values())) == list(range(len(VOCABULARY)))
    assert set(tokens.find_kinds(Vocabulary((".", "b")))) == {"other", "boundary"}
