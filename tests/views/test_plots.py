import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from makemore.data.vocabulary import Vocabulary
from makemore.views import plots
from makemore.views.context_table import Row


def test_smoothing_is_the_lectures_view_and_mean() -> None:
    values = torch.randn(6000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    middles, means = plots.smoothed(values.numpy(), 1000)
    np.testing.assert_allclose(means, values.view(-1, 1000).mean(1).numpy())
    assert middles.tolist() == [500.5, 1500.5, 2500.5, 3500.5, 4500.5, 5500.5]
    assert plots.smoothing_width(200_000) == 1000


def test_smoothing_keeps_what_is_left_at_the_end() -> None:
    middles, means = plots.smoothed(np.array([1.0, 3.0, 5.0]), 2)
    assert (middles.tolist(), means.tolist()) == ([1.5, 3.0], [2.0, 5.0])


def test_loss_curve_shows_log10_of_every_step_and_of_dev() -> None:
    figure = plots.loss_curve(torch.tensor([100.0, 10.0, 1.0]), {3: 10.0, 2: math.nan})
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["minibatch"].get_ydata() == pytest.approx([2, 1, 0])
    assert list(lines["minibatch"].get_xdata()) == [1, 2, 3]  # type: ignore[arg-type]
    assert (list(lines["dev"].get_xdata()), list(lines["dev"].get_ydata())) == ([3], [1])  # type: ignore[arg-type]
    assert figure.axes[0].get_xlabel() == "optimizer step"


def test_two_dimensions_are_drawn_as_they_are() -> None:
    C = torch.tensor([[0.0, 1.0], [2.0, 3.0], [-1.0, 5.0]])
    places, title, names = plots.projected(C)
    assert torch.equal(places, C)
    assert "PCA" not in title
    assert names == ("C[:, 0]", "C[:, 1]")


def test_more_dimensions_are_a_pca_projection_and_say_so() -> None:
    C = torch.randn(30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    places, title, names = plots.projected(C)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(C.T)).flip(0)  # (5,)
    assert torch.cov(places.T).diagonal().tolist() == pytest.approx(eigenvalues[:2].tolist())
    assert abs(torch.cov(places.T)[0, 1]) < 1e-12
    assert "PCA projection of 5 dimensions" in title
    assert f"{100 * eigenvalues[0] / eigenvalues.sum():.0f} %" in names[0]


def test_vowels_are_known_in_other_alphabets_and_under_accents() -> None:
    assert [plots.is_vowel(c) for c in "aÉyñzёжαβ."] == [
        True,
        True,
        True,
        False,
        False,
        True,
        False,
        True,
        False,
        False,
    ]


def test_places_that_are_too_near_are_moved_apart_and_no_others() -> None:
    places = np.array([[0.0, 0.0], [0.0, 0.0], [0.001, 0.0], [10.0, 0.0], [5.0, 10.0]])
    shown = plots.apart(places, 0.05)
    extent = np.array([10.0, 10.0])
    distances = [np.linalg.norm((shown[i] - shown[j]) / extent) for i in range(5) for j in range(i)]
    assert min(distances) >= 0.95 * 0.05
    assert np.array_equal(shown[3:], places[3:])
    assert np.abs(shown[:3]).max() < 2 * 0.05 * 10
    assert np.array_equal(shown, plots.apart(places, 0.05))


def test_no_dot_of_a_crowded_embedding_hides_a_letter() -> None:
    vocabulary = Vocabulary(tuple(".abcdefghijklmnopqrstuvwxyz"))
    C = 0.01 * torch.randn(27, 2, generator=torch.Generator().manual_seed(0))
    C[0] = torch.tensor([9.0, 9.0])
    figure = plots.embedding(C, vocabulary)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    at = axes.transData.transform([text.get_position() for text in axes.texts]) * 72 / figure.dpi  # points
    diameter = float(np.sqrt(axes.collections[0].get_sizes()[0]))  # type: ignore[attr-defined]
    nearest = min(np.linalg.norm(at[i] - at[j]) for i in range(27) for j in range(i))
    assert nearest > 0.85 * diameter


@pytest.mark.parametrize("dimensions", [1, 2, 7])
def test_embedding_labels_every_token_and_colours_vowels(dimensions: int, tmp_path: Path) -> None:
    vocabulary = Vocabulary((".", " ", "$", "a", "b", "名", "e"))
    figure = plots.embedding(torch.randn(7, dimensions), vocabulary)
    assert [text.get_text() for text in figure.axes[0].texts] == [".", "␣", r"\$", "a", "b", "U+540D", "e"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph would warn
        plots.save(figure, tmp_path / "embedding.png")
    assert (tmp_path / "embedding.png").read_bytes().startswith(b"\x89PNG")


def test_the_heat_map_writes_every_pair_and_its_number() -> None:
    vocabulary = Vocabulary((".", "a", "b"))
    numbers = torch.arange(9).view(3, 3)
    texts = [[str(number) for number in row] for row in numbers.tolist()]
    figure = plots.heat_map(numbers, texts, vocabulary, "how often")
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written[::2] == [a + b for a in ".ab" for b in ".ab"]
    assert written[1::2] == [str(number) for number in range(9)]


def test_the_context_table_shows_each_length() -> None:
    table = [Row(n, 27**n, 20 * n, 0.1, 0.05 * n, 2.0, 2.5, 2.2) for n in (1, 2, 3)]
    counts, losses = plots.context_table(table).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in counts.lines] == [[27, 729, 19683], [20, 40, 60]]
    assert len(losses.lines) == 3
