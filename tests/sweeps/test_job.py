import math
from pathlib import Path

import pytest
from omegaconf import DictConfig

from makemore.errors import UserError
from makemore.sweeps import job
from tests.helpers import composed, limit_file_size
from tests.sweeps.made import leave


def run(folder: Path, nodes: DictConfig, outcome: float | BaseException) -> float:
    """A run of a sweep that ends so, if it begins."""

    def train(nodes: DictConfig, folder: Path) -> float:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return job.run(folder, nodes, train, lambda error: str(error) if isinstance(error, UserError) else None)


def test_a_run_that_ended_with_the_same_configuration_is_not_run_again(tmp_path: Path) -> None:
    nodes = composed("model.hidden=5")
    leave(tmp_path, nodes)
    assert run(tmp_path, nodes, AssertionError()) == 2.0
    leave(tmp_path, nodes, status="diverged", best_dev_loss=None)
    assert run(tmp_path, nodes, AssertionError()) == math.inf
    assert not (tmp_path / "error.txt").exists()


@pytest.mark.parametrize("status", ["other configuration", "no configuration"])
def test_a_run_of_another_configuration_is_run_again_and_what_it_left_is_kept(tmp_path: Path, status: str) -> None:
    nodes = composed("model.hidden=5")
    leave(tmp_path, composed("model.hidden=6") if status == "other configuration" else nodes)
    if status == "no configuration":
        (tmp_path / "config.yaml").unlink()
    (tmp_path / "last.ckpt").write_text("precious")
    (tmp_path / "events.out.tfevents.1").write_text("of TensorBoard")
    (tmp_path / ".hydra").mkdir()
    for attempt in (1, 2):
        if attempt == 2:
            (tmp_path / "last.ckpt").write_text("precious too")
        assert run(tmp_path, nodes, 1.5) == 1.5
    assert (tmp_path / "earlier-1" / "last.ckpt").read_text() == "precious"
    assert (tmp_path / "earlier-2" / "last.ckpt").read_text() == "precious too"
    assert {path.name for path in tmp_path.iterdir()} == {".hydra", "earlier-1", "earlier-2"}
    assert not [path for path in tmp_path.rglob("*") if "tfevents" in path.name]  # what TensorBoard looks for
    assert (tmp_path / "earlier-1" / "events.out.tf-events.1").read_text() == "of TensorBoard"


@pytest.mark.parametrize("status", ["interrupted", "half a file", "error"])
@pytest.mark.parametrize("has_state", [True, False])
def test_a_run_that_did_not_end_continues_from_its_state_if_it_has_one(
    tmp_path: Path, status: str, has_state: bool
) -> None:
    nodes = composed("model.hidden=5")
    leave(tmp_path, nodes, status="interrupted")
    if status == "half a file":
        (tmp_path / "metrics.json").write_text('{"status": "fini')
    elif status == "error":
        (tmp_path / "metrics.json").unlink()
        (tmp_path / "error.txt").write_text("no memory\n")
    if has_state:
        (tmp_path / "last.ckpt").write_text("precious")
    assert run(tmp_path, nodes, 1.5) == 1.5
    assert nodes.resume == (str(tmp_path) if has_state else None)
    assert (tmp_path / "earlier-1").exists() != has_state
    assert (tmp_path / "last.ckpt").exists() == has_state
    assert not (tmp_path / "error.txt").exists()


def test_a_run_that_fails_leaves_its_error_and_is_the_worst(tmp_path: Path) -> None:
    nodes = composed()
    assert run(tmp_path, nodes, UserError("steps=0 is out of range")) == math.inf
    assert (tmp_path / "error.txt").read_text() == "steps=0 is out of range\n"
    assert run(tmp_path, nodes, ZeroDivisionError("a fault")) == math.inf
    text = (tmp_path / "error.txt").read_text()
    assert text.startswith("ZeroDivisionError: a fault\n")
    assert "Traceback" in text and "test_job.py" in text
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, nodes, KeyboardInterrupt())


def test_a_run_whose_error_cannot_be_written_is_the_worst_too(tmp_path: Path) -> None:
    with limit_file_size(10):
        assert run(tmp_path, composed(), UserError("steps=0 is out of range")) == math.inf
    assert list(tmp_path.iterdir()) == []
