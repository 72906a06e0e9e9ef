import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from makemore.views import style
from tests.helpers import limit_file_size


def test_style_imports_neither_torch_nor_lightning() -> None:
    code = "import sys, makemore.views.style; sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_character_that_the_font_lacks_is_drawn_without_a_warning(tmp_path: Path) -> None:
    figure = Figure()
    figure.add_subplot().text(0, 0, "名 $ \u0301", parse_math=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style.save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "figure.png").write_text("before")
    with pytest.raises(OSError), limit_file_size(100):
        style.save(Figure(), tmp_path / "figure.png")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_the_lectures_parameters_have_colours_of_their_own_and_others_differ() -> None:
    others = [f"layers.{i}.weight" for i in range(15)]
    colors = style.color_parameters(["C", *others, "W2"])
    assert (colors[0], colors[-1]) == tuple(style.color_parameters(["C", "W2"]))
    assert len(set(colors)) == 17
