import csv
import itertools
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from makemore.sweeps import figures as sweep_plots
from makemore.sweeps import report as sweep_report
from makemore.sweeps import sweep
from makemore.sweeps import table as sweep_table
from tests.helpers import composed
from tests.sweeps.test_sweep import begin, leave, save_command

NODES = composed()
DIVERGED = {"status": "diverged", "best_dev_loss": None, "dev_loss": None, "train_loss": None}


def ended_run(folder: Path, number: int, *overrides: str, **metrics: Any) -> None:
    results = {"train_loss": 1.9, "dev_loss": 2.1, "best_dev_loss": 2.1, "parameters": 81, "fit_seconds": 0.5}
    leave(begin(folder, number, *overrides), NODES, **(results | metrics))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_unfinished_sweep_has_a_row_for_every_run_the_best_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_command(tmp_path, "model.hidden=1,2,3,4,5,6", "steps=9")
    ended_run(tmp_path, 0, "model.hidden=1", "steps=9", best_dev_loss=2.2, dev_loss=2.3)
    ended_run(tmp_path, 1, "model.hidden=2", "steps=9", best_dev_loss=2.1)
    ended_run(
        tmp_path, 2, "model.hidden=3", "steps=9", status="diverged", best_dev_loss=None, dev_loss=None, train_loss=None
    )
    sweep.leave_error(begin(tmp_path, 3, "model.hidden=4", "steps=9"), "a sentence\nand a traceback")
    begin(tmp_path, 4, "model.hidden=5", "steps=9")
    runs = sweep_report.report(tmp_path)
    assert [run.status for run in runs] == ["finished", "finished", "diverged", "failed", "unfinished", "missing"]
    assert [run.overrides["model.hidden"] for run in runs] == ["2", "1", "3", "4", "5", "6"]
    table = rows(tmp_path / "sweep.csv")
    assert [row["model.hidden"] for row in table] == ["2", "1", "3", "4", "5", "6"]
    assert "steps" not in table[0]  # the same in all
    assert table[1]["dev"] == "2.200000" and table[1]["last dev"] == "2.300000"
    assert table[3]["error"] == "a sentence"
    printed = capsys.readouterr().out
    assert "6 runs: 2 finished, 1 diverged, 1 failed, 1 unfinished, 1 missing" in printed
    assert "resume_sweep=" in printed and "sample.py checkpoint=" in printed
    sentence = sweep_report.without_result(tmp_path, runs)
    assert sentence == "3 of 6 runs did not come to an end: run 3: a sentence; run 4: unfinished; one: missing"
    assert {"sweep_keys.png", "sweep_fit.png"} <= {path.name for path in tmp_path.glob("*.png")}


def test_seeds_of_a_setting_are_averaged_with_their_spread(tmp_path: Path) -> None:
    losses = {"2": [2.3, 2.1, 2.5], "5": [2.0, 2.2, 2.05]}
    number = 0
    for hidden, values in losses.items():
        for seed, loss in enumerate(values):
            ended_run(tmp_path, number, f"model.hidden={hidden}", f"seed={seed}", best_dev_loss=loss)
            number += 1
    ended_run(tmp_path, 6, "model.hidden=5", "seed=9", status="diverged", best_dev_loss=None)
    # Counts without smoothing may come to an end without a loss.
    for seed in (1, 2):
        ended_run(tmp_path, 6 + seed, "model.hidden=7", f"seed={seed}", best_dev_loss=None, dev_loss=None)
    sweep_report.report(tmp_path)
    table = rows(tmp_path / "seeds.csv")
    assert [row["model.hidden"] for row in table] == ["5", "2"]
    for row in table:
        values = losses[row["model.hidden"]]
        assert row["seeds"] == "3"
        assert float(row["mean dev"]) == pytest.approx(statistics.mean(values), abs=1e-4)
        assert float(row["+-"]) == pytest.approx(statistics.stdev(values), abs=1e-4)
        assert [float(row["lowest"]), float(row["highest"])] == [min(values), max(values)]
    assert not (tmp_path / "sweep_pairs.png").exists()  # the seed is no setting


def test_a_sweep_over_seeds_alone_is_one_setting(tmp_path: Path) -> None:
    for seed in (1, 2):
        ended_run(tmp_path, seed, f"seed={seed}", best_dev_loss=2.0 + seed / 10)
    runs = sweep_table.gather(tmp_path)
    (setting,) = sweep_table.over_seeds(runs)
    assert setting.dev == pytest.approx((2.15, math.sqrt(0.005), 2.1, 2.2))
    sweep_report.report(tmp_path)
    assert rows(tmp_path / "seeds.csv")[0]["mean dev"] == "2.1500"


@pytest.mark.parametrize("values", [["2", "10", "30"], ["adamw", "sgd"], ["0.001", "0.01", "0.1"], ["a,b", "[x]"]])
def test_figures_are_drawn_for_keys_of_any_kind(tmp_path: Path, values: list[str]) -> None:
    number = 0
    for value in values:
        for block in (3, 8):
            ended_run(tmp_path, number, f"some.key={value}", f"data.block_size={block}", best_dev_loss=2 + number / 7)
            number += 1
    (tmp_path / "seeds.csv").write_text("")
    runs = sweep_report.report(tmp_path)
    assert sweep_table.varied(runs) == ["some.key", "data.block_size"]
    assert not (tmp_path / "seeds.csv").exists()  # of an earlier report
    for name in ("sweep_keys.png", "sweep_pairs.png", "sweep_fit.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 300


def test_a_run_that_failed_to_learn_does_not_press_the_others_together() -> None:
    assert sweep_plots.worth_drawing([2.0, 2.1, 2.2, 2.15, 30.0]) == 2.2
    assert sweep_plots.worth_drawing([2.0]) == 2.0


def test_a_long_search_is_drawn_as_points(tmp_path: Path) -> None:
    for number in range(20):
        ended_run(tmp_path, number, f"schedule.lr={0.001 * 1.3**number}", f"model.dropout={number / 50}")
    sweep_report.report(tmp_path)
    assert (tmp_path / "sweep_pairs.png").exists()


def test_text_columns_are_aligned_and_long_cells_cut() -> None:
    text = sweep_report.as_text(
        [["key", "dev", "none", "error"], ["a", "2.1", "", "x" * 80], ["long", "10.25", "", ""]]
    )
    first, second, third = text.splitlines()
    assert first == "key     dev  error"
    assert second.startswith("a       2.1  xxx") and second.endswith("...") and len(second) == 13 + 60
    assert third == "long  10.25"


@pytest.mark.parametrize(
    ("values", "places"),
    [
        (["3", "5", "8"], [3, 5, 8]),
        (["0.1", "0.001", "0.01"], [0.1, 0.001, 0.01]),  # on a logarithmic axis
        (["0", "0.001", "0.1"], [0, 1, 2]),
        (["100", "101", "300"], [0, 1, 2]),
        (["sgd", "adamw"], [1, 0]),
    ],
)
def test_values_that_would_come_too_close_together_stand_side_by_side(values: list[str], places: list[float]) -> None:
    axis = sweep_plots.Places(values)
    assert [axis.of(value) for value in values] == places


def test_of_long_values_an_axis_shows_what_tells_them_apart() -> None:
    values = [f"/some/quite/long/path/{name}/names.txt" for name in ("alpha", "beta")]
    assert sweep_plots.Places(values).names() == [".../alpha/...", ".../beta/..."]
    assert sweep_plots.Places(["sgd", "adamw"]).names() == ["adamw", "sgd"]


def test_a_report_advises_to_go_on_only_where_that_leads_to_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_command(tmp_path, "model.hidden=5,7")
    ended_run(tmp_path, 0, "model.hidden=5")
    sweep.leave_error(begin(tmp_path, 1, "model.hidden=7"), "no memory")
    sweep_report.report(tmp_path)
    assert "resume_sweep=" in capsys.readouterr().out
    save_command(tmp_path, "model.hidden=5,5")  # which no longer asks for the other
    sweep_report.report(tmp_path)
    assert "resume_sweep=" not in capsys.readouterr().out


def grid(*seeds: int) -> list[sweep_table.Run]:
    return [
        sweep_table.Run(
            number,
            {"schedule.lr": rate, "model.hidden": hidden, "seed": str(seed)},
            "finished",
            dev=2 + number / 10,
            train=2,
            last_dev=2 + number / 10,
        )
        for number, (rate, hidden, seed) in enumerate(itertools.product(("0.01", "0.1"), ("5", "9"), seeds))
    ]


def test_a_map_of_two_keys_says_what_its_cells_are() -> None:
    pairs = [("schedule.lr", "model.hidden")]
    for runs, title in ((grid(1), "4 runs: the dev"), (grid(1, 2), "8 runs, seeds averaged: the dev")):
        figure = sweep_plots.by_pair(runs, pairs)
        assert title in figure.get_suptitle()
        assert "each cell" not in figure.get_suptitle()  # one setting in each
        shown = [float(text.get_text()) for text in figure.axes[0].texts]
        assert shown == pytest.approx([run.dev for run in sweep_plots.seed_means(runs)], abs=1e-3)


def test_the_line_of_the_best_is_in_the_legend_and_leaves_out_what_is_far_above() -> None:
    runs = [
        sweep_table.Run(n, {"schedule.lr": str(n), "model.hidden": "5" if n < 19 else "9"}, "finished", dev=loss)
        for n, loss in enumerate([*(2 + n / 100 for n in range(19)), 50.0])
    ]
    figure = sweep_plots.by_key(runs, ["schedule.lr", "model.hidden"])  # the first has too many values for a line
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a run", "far above", sweep_plots.BEST]
    (line,) = (line for line in figure.axes[1].lines if line.get_label() == sweep_plots.BEST)
    assert np.asarray(line.get_xydata()).tolist() == [[5, 2.0]]


def test_numbers_of_runs_do_not_overprint_each_other() -> None:
    runs = [sweep_table.Run(n, {}, "finished", dev=2, train=2, last_dev=2 + n / 1000) for n in range(40)]
    numbers = [int(text.get_text()) for text in sweep_plots.fit(runs).axes[0].texts]
    assert numbers[0] == 0 and 5 < len(numbers) < 25


def test_in_figures_the_luckiest_seed_is_not_the_better_setting() -> None:
    losses = {"2": (2.0, 3.0), "5": (2.2, 2.3)}
    runs = [
        sweep_table.Run(0, {"model.hidden": hidden, "seed": str(seed)}, "finished", dev=loss)
        for hidden, both in losses.items()
        for seed, loss in enumerate(both)
    ]
    settings = {run.overrides["model.hidden"]: run.dev for run in sweep_plots.seed_means(runs)}
    assert settings == pytest.approx({"2": 2.5, "5": 2.25})
