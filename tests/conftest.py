"""What several test modules need: the reference data, tiny documents, a run of train.py in a folder of its own."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

from makemore.config import check as config

ROOT = Path(__file__).parent.parent
REFERENCE = Path(os.environ.get("MAKEMORE_DATA", ROOT.parent / "shared" / "data"))

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def lecture_names() -> Path:
    """The lecture's names.txt, which is not part of the project."""
    path = REFERENCE / "names.txt"
    if not path.is_file():
        pytest.skip(
            f"the lecture's names.txt is neither in ../shared/data nor where MAKEMORE_DATA points ({REFERENCE})"
        )
    return path


def script_in(folder: Path) -> Script:
    """Runs train.py or sample.py as a user would, in a folder: script_in(folder)("train.py", "steps=10")."""

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        return subprocess.run(
            [sys.executable, str(ROOT / name), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Runs the scripts in an empty folder."""
    return script_in(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `python train.py` has been run, for a moment."""
    folder = tmp_path_factory.mktemp("trained")
    assert script_in(folder)("train.py", "experiment=smoke", "steps=20", "model.hidden=20").returncode == 0
    return folder


class Run:
    """A finished run: its metrics, its folder and its model."""

    def __init__(self, folder: Path, metrics: dict[str, Any]) -> None:
        self.folder = folder
        self.metrics = metrics

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The last checkpoint's parameters."""
        content = torch.load(self.folder / "last.ckpt", weights_only=True)
        state: dict[str, Tensor] = content["state_dict"]
        return state


Train = Callable[..., Run]


def composed(*overrides: str) -> DictConfig:
    """The configuration of train.py with overrides, as Hydra hands it to the job."""
    config.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(overrides))


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Trains in this process: train("steps=10"); no progress bar."""
    folders = (tmp_path / str(number) for number in itertools.count())

    def run(*overrides: str) -> Run:
        from makemore.training import run as training

        nodes = composed("trainer.progress_bar=false", *overrides)
        folder = next(folders)
        folder.mkdir()
        return Run(folder, training.run(config.checked(nodes), nodes, folder))

    return run
