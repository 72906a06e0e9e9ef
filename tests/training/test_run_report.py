from pathlib import Path

import pytest

from makemore.training.report import MOST_RUNS, choose_logs


@pytest.mark.parametrize(
    ("days", "expected"), [((20, 20), "outputs"), ((20, 21), "outputs/1"), ((5, 41), "outputs/1/0")]
)
def test_tensorboard_is_pointed_to_as_many_runs_as_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: tuple[int, int], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for day, runs in enumerate(days):
        for number in range(runs):
            run = Path("outputs", str(day), str(number))
            run.mkdir(parents=True)
            for part in range(2):  # a run that was resumed has several files
                (run / f"events.out.tfevents.{part}").touch()
    assert MOST_RUNS == 40  # tensorboard/webapp/runs/store/runs_reducers.ts
    assert choose_logs(Path("outputs/1/0")) == Path(expected)


def test_tensorboard_is_pointed_to_a_run_elsewhere_itself(tmp_path: Path) -> None:
    assert choose_logs(tmp_path / "mine") == tmp_path / "mine"
