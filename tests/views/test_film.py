from pathlib import Path

import pytest
import torch
from PIL import Image

from makemore.inference.projection import lay_out
from makemore.views import film
from tests.views.observe import VOCABULARY, Counts, Network, Observed


def test_a_frame_for_each_look_and_the_last_one_stays(tmp_path: Path) -> None:
    view = film.Film()
    assert Observed(tmp_path, Network(), view, steps=4).train().files == {"embedding.gif"}
    assert list(view._tables) == [0, 1, 2, 3, 4]
    with Image.open(tmp_path / "embedding.gif") as picture:
        assert picture.n_frames == 5  # type: ignore[attr-defined]
        shown = []
        for frame in range(5):
            picture.seek(frame)
            shown.append(picture.info["duration"])
    assert shown == [film.FRAME] * 4 + [film.PAUSE]


def test_looks_are_closer_together_early_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "film", lambda *_: b"GIF")
    view = film.Film()
    Observed(tmp_path, Network(), view, steps=600).train()
    steps = list(view._tables)
    assert steps[0] == 0 and steps[-1] == 600
    assert film.FRAMES / 2 < len(steps) <= film.FRAMES + 1
    assert steps[1] - steps[0] < steps[-2] - steps[-3]


@pytest.mark.parametrize("dimensions", [2, 6])
def test_the_film_ends_with_the_picture_of_the_last_table(dimensions: int) -> None:
    generator = torch.Generator().manual_seed(0)
    first, last = torch.randn(2, len(VOCABULARY), dimensions, generator=generator)
    layouts = film.follow_back({0: first, 10: 0.9 * last + 0.1 * first, 20: last})
    assert torch.equal(layouts[20].places, lay_out(last.double()).places)
    moved = [(layouts[a].places - layouts[b].places).norm() for a, b in ((20, 10), (20, 0))]
    assert moved[0] < moved[1]


def test_a_model_without_a_table_has_no_film(tmp_path: Path) -> None:
    assert Observed(tmp_path, Counts(), film.Film()).fit().files == set()
