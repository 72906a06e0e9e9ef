import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from makemore.config.schema import Level
from makemore.data.vocabulary import Vocabulary
from makemore.views import embedding, style
from tests.views.observe import Counts, Network, Observed


@pytest.mark.parametrize("dimensions", [1, 2, 7])
def test_every_token_is_labelled(dimensions: int, tmp_path: Path) -> None:
    vocabulary = Vocabulary((".", " ", "$", "a", "b", "名", "\t"))
    figure = embedding.draw(torch.randn(7, dimensions), vocabulary)
    assert [text.get_text() for text in figure.axes[0].texts] == [".", "␣", "$", "a", "b", "名", r"\t"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style.save(figure, tmp_path / "embedding.png")


def test_too_many_tokens_are_not_labelled() -> None:
    vocabulary = Vocabulary((".", *map(chr, range(0x4E00, 0x4E00 + 300))))
    assert not embedding.draw(torch.randn(301, 2), vocabulary).axes[0].texts


def test_of_many_words_the_most_common_are_drawn() -> None:
    words = ["<unk>", *(f"w{i}" for i in range(600))]
    vocabulary = Vocabulary((".", *words), Level.word)
    figure = embedding.draw_words(torch.randn(602, 2), vocabulary, embedding.find_common(vocabulary))
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert len(points) == embedding.MOST_WORDS
    named = [text.get_text() for text in figure.axes[0].texts]
    assert named[0] == "w0" and set(named) <= set(words[1 : 1 + embedding.MOST_WORDS])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) > 100
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    few = embedding.draw_words(torch.randn(3, 2), Vocabulary((".", "a", "b"), Level.word), [1, 2])
    assert len(few.axes[0].texts) == 2


def test_tensorboard_has_the_figure(tmp_path: Path) -> None:
    observed = Observed(tmp_path, Network(), embedding.Embedding()).train()
    (image,) = observed.events.Images("pictures/embedding")
    assert (image.width, image.height) == Image.open(tmp_path / "embedding.png").size
    assert image.step == 40


def test_there_is_no_figure_without_a_table_of_numbers(tmp_path: Path) -> None:
    broken = Network()
    broken.C.data[0, 0] = torch.nan
    for model in (Counts(), broken):
        assert Observed(tmp_path, model, embedding.Embedding()).fit().files == set()
