import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.models.test_model_file import saved as saved_model

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")

# Prints twice, as a run that goes on does, and tells in a file that it has ended.
PRINTS = """
import sys
from pathlib import Path
from makemore import standard_streams
standard_streams.prepare(output_needed="needed" in sys.argv)
for stream in (sys.stdout, sys.stderr, sys.stdout):
    print("a line", file=stream, flush=True)
Path("end").touch()
"""
REDIRECTIONS = [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">&- 2>&- <&-", "2>&1 | true"]


def shell(folder: Path, command: str, redirection: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command of Python; a pipe after it does not change its exit code."""
    line = f'set -o pipefail; exec "$0" {command} {redirection}'
    return subprocess.run(["bash", "-c", line, sys.executable], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("redirection", REDIRECTIONS)
def test_a_command_goes_on_without_its_streams(tmp_path: Path, redirection: str) -> None:
    (tmp_path / "prints.py").write_text(PRINTS)
    done = shell(tmp_path, "prints.py", redirection)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert (tmp_path / "end").exists()


@pytest.mark.parametrize("redirection", REDIRECTIONS[:-1])
def test_an_error_of_output_that_is_needed_is_raised(tmp_path: Path, redirection: str) -> None:
    (tmp_path / "prints.py").write_text(PRINTS)
    done = shell(tmp_path, "prints.py needed", redirection)
    failed = redirection == ">/dev/full"
    assert ("UserError" in done.stderr) == failed
    assert (tmp_path / "end").exists() != failed


@pytest.mark.parametrize(("script", "asked"), [("sample.py", "n=3 seed=1"), ("evaluate.py", "words=[a,b]")])
def test_output_that_cannot_be_written_is_an_error_of_a_command_that_only_prints(
    tmp_path: Path, script: str, asked: str
) -> None:
    model = saved_model(tmp_path / "model")
    done = shell(tmp_path, f"{ROOT / script} {asked} checkpoint={model}", ">/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_run_without_streams_is_complete(tmp_path: Path) -> None:
    command = f"{ROOT / 'train.py'} steps=20 logger=none callbacks=none hydra.run.dir=run"
    assert shell(tmp_path, command, ">/dev/full 2>&-").returncode == 0
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_deleted_working_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = ["bash", "-c", f'rmdir "$PWD"; exec "$0" {ROOT / "train.py"} steps=1', sys.executable]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path / "gone", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "folder" in done.stderr
