import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.vocabulary import is_vowel
from makemore.inference.projection import lay_out, move_apart, project


def test_two_dimensions_are_drawn_as_they_are() -> None:
    C = torch.tensor([[0.0, 1.0], [2.0, 3.0], [-1.0, 5.0]])
    places, title, names = lay_out(C)
    assert torch.equal(places, C)
    assert "PCA" not in title
    assert names == ("C[:, 0]", "C[:, 1]")


def test_more_dimensions_are_a_pca_projection_and_say_so() -> None:
    C = torch.randn(30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    places, title, names = project(C)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(C.T)).flip(0)  # (5,)
    assert torch.cov(places.T).diagonal().tolist() == pytest.approx(eigenvalues[:2].tolist())
    assert abs(torch.cov(places.T)[0, 1]) < 1e-12
    assert "PCA projection of 5 dimensions" in title
    assert names is not None and f"{100 * eigenvalues[0] / eigenvalues.sum():.0f} %" in names[0]


def test_more_dimensions_are_a_map_that_says_how_many_neighbours_it_keeps() -> None:
    generator = torch.Generator().manual_seed(0)
    C = torch.randn(30, 7, dtype=torch.float64, generator=generator)
    layout = lay_out(C)
    assert torch.equal(layout.places, lay_out(C).places)
    assert layout.axes is None
    near = [torch.cdist(each, each).argsort(1)[:, 1:4].tolist() for each in (C, layout.places)]
    kept = sum(len({*a} & {*b}) for a, b in zip(*near, strict=True)) / 90
    assert "t-SNE" in layout.title and f"{100 * kept:.0f} %" in layout.title


@given(st.integers(4, 30), st.integers(0, 20))
@settings(deadline=None)
def test_tokens_are_moved_apart_and_no_others(count: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    places = torch.randn(count // 2, 2, generator=chance, dtype=torch.float64).repeat(2, 1)  # each twice
    moved = move_apart(places, 0.01)
    extent = places.max(0).values - places.min(0).values
    assert torch.pdist(moved / extent).min() > 0.009
    assert ((moved - places) / extent).abs().max() < 0.1
    assert torch.equal(moved, move_apart(places, 0.01))
    far = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(move_apart(far, 0.01), far, atol=1e-5, rtol=0)


def test_vowels_are_known_in_other_alphabets_and_under_accents() -> None:
    assert "".join(c for c in "aÉyñzёжαβ." if is_vowel(c)) == "aÉyёα"
