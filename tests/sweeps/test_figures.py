import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from makemore.config.status import Status
from makemore.sweeps import figures
from makemore.sweeps.table import Run
from makemore.views import style

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


@pytest.mark.parametrize(
    ("numbers", "logarithmic"),
    [
        ([0.001, 0.01, 0.1], True),
        ([50, 100, 200, 400], True),
        ([2, 10], False),
        ([0.0075, 0.11, 0.17, 0.21, 0.32, 0.395], False),
        ([0.0, 0.1, 1.0], False),
        ([0.0021, 0.0045, 0.0082, 0.0116, 0.0173, 0.049], True),
    ],
)
def test_the_scale_is_the_one_on_which_numbers_lie_evenly(numbers: list[float], logarithmic: bool) -> None:
    assert figures._is_logarithmic(numbers) is logarithmic


def test_few_random_numbers_have_round_ticks_that_do_not_cover_each_other() -> None:
    figure = figures.draw_keys(runs_of(**{"0.00264747": 2.0, "0.00687161": 2.1, "0.0115543": 2.2}), ["key"])
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert max(map(len, labels)) <= 6 and len(labels) > 2


def test_categories_are_points_that_no_line_joins() -> None:
    figure = figures.draw_keys(runs_of(sgd=2.1, adamw=2.0, other=2.2), ["key"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["adamw", "other", "sgd"]
    assert lines(figure)["a run"] == [[2, 2.1], [0, 2.0], [1, 2.2]]
    (best,) = (line for line in axes.lines if str(line.get_label()).startswith("best"))
    assert best.get_linestyle() == "None"


def search(count: int) -> list[Run]:
    """Random trials, from the best to the worst: a rate is never drawn twice, a size often."""
    rows = [{"schedule.lr": str(0.01 + n / 1000), "model.hidden": str(50 + 50 * (n % 3))} for n in range(count)]
    return [Run(row, Status.finished, dev=2 + number / 10) for number, row in enumerate(rows)]


def test_no_line_joins_the_trials_of_a_search() -> None:
    figure = figures.draw_keys(search(9), ["schedule.lr", "model.hidden"])
    assert "best setting" not in lines(figure, 0)
    (best,) = (line for line in figure.axes[1].lines if str(line.get_label()).startswith("best"))
    assert best.get_linestyle() == "None"
    assert np.asarray(best.get_xydata()).tolist() == [[50, 2], [100, 2.1], [150, 2.2]]
    joined = [line for line in figures.draw_keys(grid(1), ["schedule.lr"]).axes[0].lines if line.get_linestyle() == "-"]
    assert [str(line.get_label()) for line in joined] == ["best setting"]


def test_all_pairs_of_keys_are_drawn_with_one_scale_that_fits_what_is_seen() -> None:
    keys = ["a", "b", "c", "d"]
    rows = list(itertools.product("12", repeat=4))
    runs = [Run(dict(zip(keys, row, strict=True)), Status.finished, dev=2 + n / 10) for n, row in enumerate(rows)]
    figure = figures.draw_pairs(runs, list(itertools.combinations(keys, 2)))
    dots = [axes.collections[0] for axes in figure.axes[:-1] if axes.get_visible()]
    assert len(dots) == 6
    seen = np.concatenate([np.asarray(each.get_array()) for each in dots])
    assert len(seen) == 6 * 4  # a dot for each place, and none below another
    assert {each.get_clim() for each in dots} == {(seen.min(), seen.max())}
    assert seen.max() < max(run.dev for run in runs)
    for losses in (np.asarray(each.get_array()) for each in dots):
        assert (np.diff(losses) < 0).all()  # the better are drawn over the worse


def test_keys_that_are_too_many_are_named_as_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_KEYS", 2)
    titles: list[str] = []
    monkeypatch.setattr(style, "save", lambda figure, _: titles.append(figure.get_suptitle()))
    runs = [Run(dict.fromkeys("abc", str(n)), Status.finished, dev=2 + n) for n in range(3)]
    figures.draw(tmp_path, runs)
    assert len(titles) == 2 and all("2 of 3 keys" in title for title in titles)


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


def test_figures_have_the_format_that_the_runs_ask_for(tmp_path: Path) -> None:
    runs = [Run({"key": value, "figures": "svg"}, Status.finished, dev=2.0) for value in "12"]
    assert figures.draw(tmp_path, runs) == ["sweep_keys.svg"]
    assert (tmp_path / "sweep_keys.svg").read_bytes().startswith(b"<?xml")


def test_runs_with_the_same_loss_are_drawn(tmp_path: Path) -> None:
    runs = [Run({"key": value}, Status.finished, dev=2.0, last_dev=2.0, train=2.0) for value in "12"]
    assert figures.draw(tmp_path, runs) == ["sweep_keys.png", "sweep_fit.png"]
