import pytest
import torch

from makemore.inference.projection import is_vowel, project


def test_two_dimensions_are_drawn_as_they_are() -> None:
    C = torch.tensor([[0.0, 1.0], [2.0, 3.0], [-1.0, 5.0]])
    places, title, names = project(C)
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


def test_vowels_are_known_in_other_alphabets_and_under_accents() -> None:
    assert "".join(c for c in "aÉyñzёжαβ." if is_vowel(c)) == "aÉyёα"
