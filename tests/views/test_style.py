import itertools
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from makemore.views import style, tokens
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


@pytest.mark.parametrize(
    ("low", "high", "some"),
    [
        (1.9, 6, {2, 2.5, 3, 5}),
        (2.08, 2.32, {2.1, 2.2, 2.3}),
        (0.001, 1, {0.001, 0.01, 0.1, 1}),
        (1e-9, 1e9, {1, 100, 1e8}),
    ],
)
def test_a_logarithmic_axis_has_round_numbers_that_stand_apart(low: float, high: float, some: set[float]) -> None:
    ticks = sorted(style.RoundNumbers(0.075).tick_values(low, high))
    assert some <= {float(f"{tick:.6g}") for tick in ticks}
    inside = [tick for tick in ticks if low <= tick <= high]
    assert 3 <= len(inside) <= 14
    gaps = [math.log(b / a) for a, b in itertools.pairwise(inside)]
    assert min(gaps) >= 0.07 * math.log(high / low)


def test_other_figures_of_the_process_keep_their_style() -> None:
    before = dict(matplotlib.rcParams)
    inside = style.styled(lambda: dict(matplotlib.rcParams))()
    assert dict(matplotlib.rcParams) == before != inside


def test_a_figure_is_written_in_the_format_of_its_suffix_the_same_every_time(tmp_path: Path) -> None:
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for suffix, begin in begins.items():
        files = []
        for name in ("one", "two"):
            figure = Figure()
            figure.add_subplot().plot([1, 2])
            style.save(figure, tmp_path / f"{name}.{suffix}")
            files.append((tmp_path / f"{name}.{suffix}").read_bytes())
        assert files[0].startswith(begin)
        assert files[0] == files[1]


@pytest.mark.parametrize("sees", ["deuteranopia", "protanopia"])
def test_colour_blind_eyes_tell_the_colours_apart(sees: str) -> None:
    """By the matrices of Machado, Oliveira and Fernandes, 2009, for the strongest deficiency."""
    matrix = {
        "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    }[sees]
    to_xyz = np.array([[0.434, 0.376, 0.190], [0.213, 0.715, 0.072], [0.018, 0.109, 0.873]])  # shares of white

    def appear(color: str) -> np.ndarray[Any, Any]:
        rgb = np.array(to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        x, y, z = np.cbrt((to_xyz @ np.array(matrix) @ linear).clip(0.009, 1))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])  # CIELAB

    for colors in (style.COLORS, style.PARAMETERS.values(), tokens.COLORS.values()):
        for one, other in itertools.combinations(colors, 2):
            assert np.linalg.norm(appear(one) - appear(other)) > 12, (one, other)
