import math

import pytest

from makemore.sweeps.progress import Progress


def test_the_line_counts_runs_and_names_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(4)
    progress.count("model.hidden=5", 2.5)
    progress.tick()
    progress.count("model.hidden=0", math.inf)
    progress.count("model.hidden=9", 2.1)
    progress.count("model.hidden=7", 2.2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    last = said.splitlines()[-1]
    assert "4/4" in last and "2.1000 (model.hidden=9)" in last and "100%" in last and "1 without" in last


def test_a_sweep_that_is_broken_off_leaves_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(2)
    progress.count("model.hidden=5", 2.0)
    progress.close()
    said = capsys.readouterr().err
    assert "1/2" in said and "50%" in said and said.endswith("\n")
