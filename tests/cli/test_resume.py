"""`resume=RUN` as a user types it; that the bits are the same is tested in tests/training/test_saving.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from makemore.cli.resume import expand
from tests.helpers import QUIET, ROOT, Script, refused, wait_for


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed after its first evaluation."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(ROOT / "train.py"), "steps=60000", "eval_every=1000", *QUIET, "hydra.run.dir=run"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(folder.rglob("last.ckpt")))
    process.kill()
    process.wait()
    return folder / "run"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("schedule.lr=0.5", ["schedule.lr=0.5", "schedule.lr=0.1"]),
        ("test=true", ["test=true", "test=false"]),
        ("eval_every=null", ["eval_every=null", "eval_every=1000"]),
        ("model=bigram", ["model"]),
        ("hydra.run.dir=elsewhere", ["hydra.run.dir=elsewhere"]),
        ("++hydra.run.dir=elsewhere", ["hydra.run.dir=elsewhere"]),
        ("hydra.output_subdir=elsewhere", ["hydra.output_subdir=elsewhere"]),
    ],
)
def test_what_would_make_it_a_different_run_is_refused(
    script: Script, killed: Path, override: str, said: list[str]
) -> None:
    before = sorted(killed.iterdir())
    done = script("train.py", f"resume={killed}", override)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert all(part in done.stderr for part in said), done.stderr
    assert sorted(killed.iterdir()) == before


def test_a_run_continues_with_another_trainer_and_logger_and_then_has_ended(script: Script, killed: Path) -> None:
    done = script("train.py", f"resume={killed}", "trainer=cpu", "logger=tensorboard")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((killed / "metrics.json").read_text())
    assert (metrics["status"], metrics["steps"]) == ("finished", 60000)
    assert list(killed.rglob("*tfevents*"))
    again = script("train.py", f"resume={killed}")
    assert again.returncode == 0 and "finished" in again.stdout
    assert json.loads((killed / "metrics.json").read_text()) == metrics


@pytest.mark.parametrize("name", ["run", 'say "hi"', "it's", "a b", "a=b,c"])
@pytest.mark.parametrize("quotes", ["", "'", '"'])
def test_a_folder_of_any_name_is_found_with_or_without_quotes(tmp_path: Path, name: str, quotes: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.yaml").touch()
    arguments = expand([f"resume={quotes}{tmp_path / name}{quotes}"])
    assert f"--config-dir={tmp_path / name}" in arguments


def test_a_folder_without_a_run_and_a_sweep_are_refused(tmp_path: Path) -> None:
    with refused(f"resume={tmp_path}", "config.yaml"):
        expand([f"resume={tmp_path}"])
    with refused("resume_sweep="):
        expand(["-m", f"resume={tmp_path}"])
