import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from makemore import machine
from makemore.cli import main as cli
from makemore.cli.main import read_arguments
from makemore.cli.run_folder import ClaimRunFolder, OpenSweep
from tests.helpers import ROOT
from tests.sweeps.made import ended_run


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["seed=1", "-m", "steps=1,2"], ["-m", "seed=1", "steps=1,2"]),
        (["seed=1", "--config-dir", "a=b", "steps=1"], ["--config-dir", "a=b", "seed=1", "steps=1"]),
        (["~callbacks.loss", "--cfg", "job", "+x=-1"], ["--cfg", "job", "~callbacks.loss", "+x=-1"]),
    ],
)
def test_flags_may_stand_anywhere(typed: list[str], read: list[str]) -> None:
    assert read_arguments(typed, "train", sweeps=True) == read


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_file_system_that_takes_no_more_is_named_with_the_file(number: int) -> None:
    sentence = cli.explain_full_disk(OSError(number, "why", "a/file"))
    assert sentence is not None and "a/file" in sentence and "why" in sentence
    assert cli.explain_full_disk(OSError(errno.ENOENT, "why", "a/file")) is None


def test_a_sweep_whose_folder_was_deleted_says_so_and_reports_what_came_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gone"
    monkeypatch.setattr(ClaimRunFolder, "sweep", OpenSweep(folder, frozenset(), None, io.StringIO()))
    assert str(folder) in cli.report_sweep()
    ended_run(folder, "steps=5", best_dev_loss=2.5)  # a later run has made it anew
    assert str(folder) in cli.report_sweep()
    assert "2.5" in capsys.readouterr().out


def test_how_threads_wait_is_said_before_torch_is_imported() -> None:
    script = (
        "import os, sys, train; train.cli.main(lambda: print(os.environ[{!r}], 'torch' in sys.modules), train.CONF, '')"
    )
    environment = {name: value for name, value in os.environ.items() if name not in (machine.TURNS, machine.WAITING)}
    command = [sys.executable, "-c", script.format(machine.TURNS)]
    process = subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    turns, torch_is_there = process.stdout.split()
    assert int(turns) > 0 and torch_is_there == "False"


def test_sigterm_while_libraries_are_loaded_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "train.py")]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "torch." in line:
            break
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == cli.TERMINATED and "\nterminated\n" in errors and "Traceback" not in errors
    assert not list(tmp_path.iterdir())
