import math

import pytest

from makemore.sweeps.progress import Progress


def test_the_line_counts_runs_and_shares_of_runs_and_names_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    with progress.over(4):
        assert "sweep 0/4 runs:   0%" in capsys.readouterr().err
        progress.under_way([0.5, 0.1])
        assert progress.share == 0.15
        progress.ended(1, 2.5)
        progress.under_way([0.6])
        assert progress.share == pytest.approx(0.4)
        progress.ended(0, math.inf)
        progress.ended(3, 2.1)
    with progress.over(4):  # a search asks for a few runs at a time
        progress.ended(2, 2.2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.splitlines()[-1].startswith("sweep 4/4 runs, best dev 2.1000 (run 3), 1 without a loss: 100%")
    assert progress.share == 1


def test_a_sweep_that_is_broken_off_leaves_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    with pytest.raises(KeyboardInterrupt), progress.over(2):
        progress.ended(0, 2.0)
        progress.under_way([])
        raise KeyboardInterrupt
    assert "sweep 1/2 runs, best dev 2.0000 (run 0):  50%" in capsys.readouterr().err
