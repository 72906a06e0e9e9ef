import math
from pathlib import Path

import pytest

from makemore.errors import UserError
from makemore.sweeps import table as sweep_table
from tests.sweeps.test_report import ended_run


def test_what_is_not_a_sweeps_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        sweep_table.gather(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no runs"):
        sweep_table.gather(tmp_path)


def test_a_run_that_diverged_or_was_cut_short_is_no_result_however_low_its_loss(tmp_path: Path) -> None:
    ended_run(tmp_path, 0, "model.hidden=1", "seed=1", best_dev_loss=2.4)
    ended_run(tmp_path, 1, "model.hidden=2", "seed=1", status="diverged", best_dev_loss=2.0)
    ended_run(tmp_path, 2, "model.hidden=1", "seed=2", status="interrupted", best_dev_loss=2.1)
    runs = sweep_table.gather(tmp_path)
    assert [run.number for run in runs] == [0, 2, 1]
    assert runs[2].dev == math.inf
    (setting,) = sweep_table.over_seeds(runs)
    assert (setting.runs, setting.dev[0]) == (1, 2.4)


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
    assert sweep_table.short(text, 20) == shown
