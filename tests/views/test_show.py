from pathlib import Path

import pytest
from PIL import Image

from makemore.config.schema import Picture
from makemore.views.embedding import Embedding
from makemore.views.loss import Loss
from tests.views.observe import Network, Observed


@pytest.mark.parametrize("format", list(Picture))
def test_every_figure_has_the_format_of_the_run_and_tensorboard_has_a_png(format: Picture, tmp_path: Path) -> None:  # noqa: A002
    observed = Observed(tmp_path, Network(), Loss(), Embedding())
    observed.run.figures = format
    observed.train()
    figures = {path.name for path in tmp_path.iterdir() if path.suffix in (".png", ".svg", ".pdf")}
    assert figures == {f"{name}.{format.value}" for name in ("loss", "embedding")}
    for name in ("loss", "embedding"):
        (image,) = observed.events.Images(f"pictures/{name}")
        assert image.encoded_image_string.startswith(b"\x89PNG")
        if format is Picture.png:
            assert (image.width, image.height) == Image.open(tmp_path / f"{name}.png").size
