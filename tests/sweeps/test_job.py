import math
from pathlib import Path
from typing import Any

import pytest

from makemore.errors import UserError
from makemore.sweeps import job
from makemore.sweeps.folder import read_metrics
from tests.helpers import composed
from tests.sweeps.made import leave


def fails(error: Exception) -> float:
    raise error


def test_a_run_that_ended_with_the_same_configuration_is_not_run_again(tmp_path: Path) -> None:
    nodes = composed("model.hidden=5")
    leave(tmp_path, nodes)
    assert job.run(tmp_path, nodes, lambda: fails(AssertionError())) == 2.0
    leave(tmp_path, nodes, status="diverged", best_dev_loss=None)
    assert job.run(tmp_path, nodes, lambda: fails(AssertionError())) == math.inf


@pytest.mark.parametrize(
    "metrics",
    [
        {"best_dev_loss": "low"},
        {"train_loss": "low"},
        {"status": "splendid"},
        {"status": ["finished"]},
        {"parameters": True},
    ],
)
def test_results_that_no_run_writes_are_none(tmp_path: Path, metrics: dict[str, Any]) -> None:
    nodes = composed()
    leave(tmp_path, nodes)
    assert read_metrics(tmp_path) is not None
    leave(tmp_path, nodes, **metrics)
    assert read_metrics(tmp_path) is None


@pytest.mark.parametrize("status", ["interrupted", "other configuration", "no configuration", "half a file", "error"])
def test_any_other_run_is_run_again_and_what_it_left_is_kept(tmp_path: Path, status: str) -> None:
    nodes = composed("model.hidden=5")
    leave(tmp_path, composed("model.hidden=6") if status == "other configuration" else nodes)
    if status == "interrupted":
        leave(tmp_path, nodes, status="interrupted")
    elif status == "no configuration":
        (tmp_path / "config.yaml").unlink()
    elif status == "half a file":
        (tmp_path / "metrics.json").write_text('{"status": "fini')
    elif status == "error":
        (tmp_path / "metrics.json").unlink()
        (tmp_path / "error.txt").write_text("no memory\n")
    (tmp_path / "last.ckpt").write_text("precious")
    (tmp_path / "events.out.tfevents.1").write_text("of TensorBoard")
    (tmp_path / ".hydra").mkdir()
    for attempt in (1, 2):
        if attempt == 2:
            (tmp_path / "last.ckpt").write_text("precious too")
        assert job.run(tmp_path, nodes, lambda: 1.5) == 1.5
    assert (tmp_path / "earlier-1" / "last.ckpt").read_text() == "precious"
    assert (tmp_path / "earlier-2" / "last.ckpt").read_text() == "precious too"
    assert {path.name for path in tmp_path.iterdir()} == {".hydra", "earlier-1", "earlier-2"}
    assert not [path for path in tmp_path.rglob("*") if "tfevents" in path.name]  # what TensorBoard looks for
    assert (tmp_path / "earlier-1" / "events.out.tf-events.1").read_text() == "of TensorBoard"


def test_a_run_that_fails_leaves_its_error_and_is_the_worst(tmp_path: Path) -> None:
    nodes = composed()
    assert job.run(tmp_path, nodes, lambda: fails(UserError("steps=0 is out of range"))) == math.inf
    assert (tmp_path / "error.txt").read_text() == "steps=0 is out of range\n"
    assert job.run(tmp_path, nodes, lambda: fails(ZeroDivisionError("a fault"))) == math.inf
    text = (tmp_path / "error.txt").read_text()
    assert text.startswith("ZeroDivisionError: a fault\n")
    assert "Traceback" in text and "test_job.py" in text
    with pytest.raises(KeyboardInterrupt):
        job.run(tmp_path, nodes, lambda: fails(KeyboardInterrupt()))  # type: ignore[arg-type]
