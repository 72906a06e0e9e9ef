import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "from makemore.cli.console import main; main()"


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_it_trains_and_samples_in_the_folder_where_it_is_called(tmp_path: Path) -> None:
    done = run(tmp_path, "train", "steps=20", "model.hidden=20", "logger=none", "callbacks=none")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("outputs/*/*/best.safetensors"))
    assert len(run(tmp_path, "sample", "n=3").stdout.splitlines()) == 3


@pytest.mark.parametrize("arguments", [("tarin",), ("train", "model.hiden=3")])
def test_a_mistake_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert arguments[-1].partition("=")[0] in done.stderr


def test_without_a_command_it_says_which_there_are(tmp_path: Path) -> None:
    for arguments in ((), ("--help",)):
        done = run(tmp_path, *arguments)
        assert done.returncode == 0
        assert "evaluate" in done.stdout
