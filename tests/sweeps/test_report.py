import csv
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from makemore.config.status import Status
from makemore.sweeps import report, table
from makemore.sweeps.job import leave_error
from tests.helpers import limit_file_size
from tests.sweeps.made import begin, ended_run, save_command

FIGURES = {"sweep_keys.png", "sweep_pairs.png", "sweep_fit.png"}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_unfinished_sweep_has_a_row_for_every_run_the_best_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_command(tmp_path, "model.hidden=1,2,3,4,5,6", "steps=9")
    ended_run(tmp_path, "model.hidden=1", "steps=9", best_dev_loss=2.2, dev_loss=2.3)
    ended_run(tmp_path, "model.hidden=2", "steps=9", best_dev_loss=2.1)
    ended_run(tmp_path, "model.hidden=3", "steps=9", status="diverged", best_dev_loss=None, train_loss=None)
    leave_error(begin(tmp_path, "model.hidden=4", "steps=9"), "a sentence\nand a traceback")
    begin(tmp_path, "model.hidden=5", "steps=9")
    runs = report.report(tmp_path)
    assert [run.status for run in runs] == ["finished", "finished", "diverged", "failed", "unfinished", "missing"]
    assert [run.overrides["model.hidden"] for run in runs] == ["2", "1", "3", "4", "5", "6"]
    written = rows(tmp_path / "sweep.csv")
    assert [row["model.hidden"] for row in written] == ["2", "1", "3", "4", "5", "6"]
    assert "steps" not in written[0]  # the same in all
    assert written[1]["dev"] == "2.200000" and written[1]["last dev"] == "2.300000"
    assert written[3]["error"] == "a sentence"
    assert (tmp_path / written[0]["folder"] / "metrics.json").exists()
    printed = capsys.readouterr().out
    assert all(f"1 {status}" in printed for status in ("diverged", "failed", "unfinished", "missing"))
    assert "resume_sweep=" in printed and "sample.py checkpoint=" in printed
    sentence = report.describe_failures(runs)
    assert re.findall(r"model\.hidden=(\d): ([^;]+)", sentence) == [
        ("4", "a sentence"),
        ("5", "unfinished"),
        ("6", "missing"),
    ]
    assert FIGURES - {"sweep_pairs.png"} == {path.name for path in tmp_path.glob("*.png")}


def test_seeds_of_a_setting_are_averaged_with_their_spread(tmp_path: Path) -> None:
    losses = {"2": [2.3, 2.1, 2.5], "5": [2.0, 2.2, 2.05]}
    for hidden, values in losses.items():
        for seed, loss in enumerate(values):
            ended_run(tmp_path, f"model.hidden={hidden}", f"seed={seed}", best_dev_loss=loss)
    ended_run(tmp_path, "model.hidden=5", "seed=9", status="diverged", best_dev_loss=None)
    # Counts without smoothing may come to an end without a loss.
    for seed in (1, 2):
        ended_run(tmp_path, "model.hidden=7", f"seed={seed}", best_dev_loss=None, dev_loss=None)
    report.report(tmp_path)
    written = rows(tmp_path / "seeds.csv")
    assert [row["model.hidden"] for row in written] == ["5", "2"]
    for row in written:
        values = losses[row["model.hidden"]]
        assert row["seeds"] == "3"
        assert float(row["mean dev"]) == pytest.approx(statistics.mean(values), abs=1e-4)
        assert float(row["+-"]) == pytest.approx(statistics.stdev(values), abs=1e-4)
        assert [float(row["lowest"]), float(row["highest"])] == [min(values), max(values)]
    assert not (tmp_path / "sweep_pairs.png").exists()  # the seed is no setting


def test_a_sweep_over_seeds_alone_is_one_setting(tmp_path: Path) -> None:
    for seed in (1, 2):
        ended_run(tmp_path, f"seed={seed}", best_dev_loss=2.0 + seed / 10)
    report.report(tmp_path)
    (row,) = rows(tmp_path / "seeds.csv")
    assert (row["mean dev"], row["lowest"], row["highest"]) == ("2.1500", "2.1000", "2.2000")


@pytest.mark.parametrize("values", [["2", "10", "30"], ["adamw", "sgd"], ["0.001", "0.01", "0.1"], ["a,b", "[x]"]])
def test_figures_are_drawn_for_keys_of_any_kind(tmp_path: Path, values: list[str]) -> None:
    for number, value in enumerate(values):
        for block in (3, 8):
            ended_run(tmp_path, f"some.key={value}", f"data.block_size={block}", best_dev_loss=2 + number / 7)
    runs = report.report(tmp_path)
    assert table.list_varied_keys(runs) == ["some.key", "data.block_size"]
    for name in FIGURES:
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 300


def test_a_long_search_is_drawn(tmp_path: Path) -> None:
    for number in range(20):
        ended_run(tmp_path, f"schedule.lr={0.001 * 1.3**number}", f"model.dropout={number / 50}")
    report.report(tmp_path)
    assert (tmp_path / "sweep_pairs.png").exists()


def test_text_columns_are_aligned_and_long_cells_cut() -> None:
    cells = [["key", "dev", "none", "error"], ["a", "2.1", "", "x" * 80], ["long", "10.25", "", ""]]
    first, second, third = report.format_table(cells).splitlines()
    assert first == "key     dev  error"
    assert second.startswith("a       2.1  xxx") and second.endswith("...") and len(second) == 13 + 60
    assert third == "long  10.25"


def test_a_report_advises_to_resume_only_if_that_leads_to_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_command(tmp_path, "model.hidden=5,7")
    ended_run(tmp_path, "model.hidden=5")
    leave_error(begin(tmp_path, "model.hidden=7"), "no memory")
    report.report(tmp_path)
    assert "resume_sweep=" in capsys.readouterr().out
    save_command(tmp_path, "model.hidden=5,5")  # which no longer asks for the other
    runs = report.report(tmp_path)
    assert "resume_sweep=" not in capsys.readouterr().out
    assert Status.failed in {run.status for run in runs} and report.describe_failures(runs) == ""


def test_only_the_new_trials_of_a_search_count(tmp_path: Path) -> None:
    for hidden in ("5", "7"):
        leave_error(begin(tmp_path, f"model.hidden={hidden}"), f"no memory for {hidden}")
    described = report.describe_failures(table.gather(tmp_path, before={"model.hidden=5"}))
    assert "for 7" in described and "for 5" not in described


WITHOUT_TORCH = """
import runpy, sys
for name in ("torch", "lightning"):
    sys.modules[name] = None  # importing it fails
runpy.run_module("makemore.sweeps.report", run_name="__main__")
"""


def test_a_report_needs_neither_torch_nor_lightning(tmp_path: Path) -> None:
    ended_run(tmp_path, "model.hidden=5", "seed=1")
    ended_run(tmp_path, "model.hidden=7", "seed=1")
    ended_run(tmp_path, "model.hidden=7", "seed=2")
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"sweep.csv", "seeds.csv", "sweep_keys.png", "sweep_fit.png"} <= {path.name for path in tmp_path.iterdir()}
    nowhere = subprocess.run([*command[:-1], "nowhere"], capture_output=True, text=True, check=False)
    assert nowhere.returncode == 1 and nowhere.stderr.startswith("error: nowhere")


def test_a_report_that_cannot_be_written_is_still_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended_run(tmp_path, "model.hidden=3", best_dev_loss=2.25)
    ended_run(tmp_path, "model.hidden=4", best_dev_loss=2.5)
    (tmp_path / "sweep.csv").write_text("before")
    with limit_file_size(10):
        assert len(report.report(tmp_path)) == 2
    printed = capsys.readouterr().out
    assert "2.2500" in printed and "File too large" in printed and "sample.py" in printed
    assert (tmp_path / "sweep.csv").read_text() == "before"
