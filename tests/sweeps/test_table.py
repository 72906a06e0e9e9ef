import math
from pathlib import Path

import pytest

from makemore.errors import UserError
from makemore.sweeps import table
from tests.sweeps.made import ended_run


def test_a_folder_that_is_not_a_sweeps_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(UserError, match=str(folder)):
            table.gather(folder)


def test_a_run_that_diverged_or_was_cut_short_is_no_result_however_low_its_loss(tmp_path: Path) -> None:
    ended_run(tmp_path, "model.hidden=1", "seed=1", best_dev_loss=2.4)
    ended_run(tmp_path, "model.hidden=2", "seed=1", status="diverged", best_dev_loss=2.0)
    ended_run(tmp_path, "model.hidden=1", "seed=2", status="interrupted", best_dev_loss=2.1)
    runs = table.gather(tmp_path)
    assert [run.status for run in runs] == ["finished", "interrupted", "diverged"]
    assert runs[2].dev == math.inf
    assert table.select_results(runs) == runs[:1]


def test_searches_for_a_learning_rate_are_listed_by_their_suggestions_not_ranked_by_loss(tmp_path: Path) -> None:
    ended_run(tmp_path, "model.hidden=1", suggestion="schedule.lr=0.1", best_dev_loss=88.0)
    ended_run(tmp_path, "model.hidden=2", suggestion="no suggestion, because the loss only rose", best_dev_loss=5.0)
    runs = table.gather(tmp_path)
    head, *rows = table.tabulate(runs, ["model.hidden"], digits=4)
    cells = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["suggestion"] for row in cells] == ["schedule.lr=0.1", "no suggestion, because the loss only rose"]
    assert all(row["dev"] == row["train"] == "" and row["parameters"] == "81" for row in cells)
    assert table.select_results(runs) == []


def test_runs_that_a_callback_ended_early_are_told_by_their_steps(tmp_path: Path) -> None:
    for seed, steps in (("1", 100), ("2", 100)):
        ended_run(tmp_path, f"seed={seed}", "steps=100", steps=steps)
    head, *_ = table.tabulate(table.gather(tmp_path), ["seed"], digits=2)
    assert "steps taken" not in head
    ended_run(tmp_path, "seed=3", "steps=100", steps=40)
    head, *rows = table.tabulate(table.gather(tmp_path), ["seed"], digits=2)
    assert sorted(row[head.index("steps taken")] for row in rows) == ["100", "100", "40"]


def test_models_of_words_have_the_units_of_their_best_evaluation(tmp_path: Path) -> None:
    units = {"best_dev_perplexity": 8.17, "best_dev_bits_per_character": 1.5, "dev_perplexity": 9.0}
    ended_run(tmp_path, "seed=1", **units)
    ended_run(tmp_path, "seed=2", status="diverged", **units)
    head, *rows = table.tabulate(table.gather(tmp_path), ["seed"], digits=2)
    cells = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(row["perplexity"], row["bits per character"]) for row in cells] == [("8.2", "1.50"), ("", "")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.057341314963618564", "0.05734"),
        ("2.1", "2.1"),
        ("123456", "123456"),
        ("2147483647", "2147483647"),
        ("x" * 30, "x" * 17 + "..."),
    ],
)
def test_long_values_are_shown_short(text: str, shown: str) -> None:
    assert table.shorten(text, 20) == shown
