import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from makemore.config.status import Status
from makemore.sweeps import figures
from makemore.sweeps.table import Run

GRID = (("0.01", "0.1"), ("5", "9"))


def grid(*seeds: int) -> list[Run]:
    return [
        Run({"schedule.lr": rate, "model.hidden": hidden, "seed": str(seed)}, Status.finished, dev=2 + number / 10)
        for number, (rate, hidden, seed) in enumerate(itertools.product(*GRID, seeds))
    ]


def runs_of(**losses: float) -> list[Run]:
    return [Run({"key": value}, Status.finished, dev=loss) for value, loss in losses.items()]


def lines(figure: Figure, number: int = 0) -> dict[str, list[list[float]]]:
    """The points of an axes' lines, by label."""
    found = figure.axes[number].lines
    return {str(line.get_label()).partition(",")[0]: np.asarray(line.get_xydata()).tolist() for line in found}


@pytest.mark.parametrize(
    "values", [["3", "5", "8"], ["0.1", "0.001", "0.01"], ["0", "0.001", "0.1"], ["100", "101", "300"]]
)
def test_numbers_are_drawn_to_scale(values: list[str]) -> None:
    figure = figures.draw_keys(runs_of(**dict.fromkeys(values, 2.0)), ["key"])
    assert [x for x, _ in lines(figure)["a run"]] == [float(value) for value in values]


def test_an_axis_is_logarithmic_if_its_numbers_range_widely() -> None:
    for values, scale in ((["2", "30"], "log"), (["100", "300"], "linear"), (["0", "0.1"], "linear")):
        figure = figures.draw_keys(runs_of(**dict.fromkeys(values, 2.0)), ["key"])
        assert figure.axes[0].get_xscale() == scale


def test_categories_are_points_that_no_line_joins() -> None:
    figure = figures.draw_keys(runs_of(sgd=2.1, adamw=2.0, other=2.2), ["key"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["adamw", "other", "sgd"]
    assert lines(figure)["a run"] == [[2, 2.1], [0, 2.0], [1, 2.2]]
    (best,) = (line for line in axes.lines if str(line.get_label()).startswith("best"))
    assert best.get_linestyle() == "None"


def test_seeds_are_named_only_if_there_are_several() -> None:
    pairs = [("schedule.lr", "model.hidden")]
    for runs, averaged in ((grid(1), False), (grid(1, 2), True)):
        figure = figures.draw_keys(runs, pairs[0])
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert [("seeds" in label) for label in labels] == [False, averaged]
        pair = figures.draw_pairs(runs, pairs)
        assert ("seeds" in pair.get_suptitle()) == averaged
        (dots,) = pair.axes[0].collections
        assert sorted(np.asarray(dots.get_array())) == pytest.approx(
            sorted(run.dev for run in figures.average_seeds(runs))
        )


def test_in_figures_the_luckiest_seed_is_not_the_better_setting() -> None:
    losses = {"2": (2.0, 3.0), "5": (2.2, 2.3)}
    runs = [
        Run({"model.hidden": hidden, "seed": str(seed)}, Status.finished, dev=loss)
        for hidden, both in losses.items()
        for seed, loss in enumerate(both)
    ]
    settings = {run.overrides["model.hidden"]: run.dev for run in figures.average_seeds(runs)}
    assert settings == pytest.approx({"2": 2.5, "5": 2.25})
    assert lines(figures.draw_keys(runs, ["model.hidden"]))["best setting"] == [[2, 2.5], [5, 2.25]]


def test_a_run_that_failed_to_learn_does_not_squeeze_the_others() -> None:
    losses = [*(2 + n / 100 for n in range(19)), 50.0]
    runs = [
        Run({"schedule.lr": str(n), "model.hidden": "5" if n < 19 else "9"}, Status.finished, dev=loss)
        for n, loss in enumerate(losses)
    ]
    figure = figures.draw_keys(runs, ["schedule.lr", "model.hidden"])  # the first has too many values for a line
    assert 2.18 < figure.axes[0].get_ylim()[1] < 2.3
    assert "best setting" not in lines(figure, 0)
    assert lines(figure, 1)["best setting"] == [[5, 2.0]]


def test_runs_with_the_same_loss_are_drawn(tmp_path: Path) -> None:
    runs = [Run({"key": value}, Status.finished, dev=2.0, last_dev=2.0, train=2.0) for value in "12"]
    assert figures.draw(tmp_path, runs) == ["sweep_keys.png", "sweep_fit.png"]
