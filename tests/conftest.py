"""Fixtures: the reference data, and runs of the scripts in folders of their own."""

import itertools
from pathlib import Path

import pytest

from makemore.config import compose as configuration
from tests.helpers import FEW_NAMES, REFERENCE, Run, Script, Train, check, composed, script_in


@pytest.fixture(scope="session")
def lecture_names() -> Path:
    """The lecture's names.txt, which is not part of the project."""
    path = REFERENCE / "names.txt"
    if not path.is_file():
        pytest.skip(
            f"the lecture's names.txt is neither in ../shared/data nor where MAKEMORE_DATA points ({REFERENCE})"
        )
    return path


@pytest.fixture
def few_names(tmp_path: Path) -> Path:
    """A file of thirty names, on which training and evaluating take no time."""
    path = tmp_path / "few_names.txt"
    path.write_text("\n".join(FEW_NAMES))
    return path


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


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Trains in this process: train("steps=10"); no progress bar. `resume` continues the run in a folder."""
    folders = (tmp_path / str(number) for number in itertools.count())

    def run(*overrides: str, resume: Path | None = None) -> Run:
        from makemore.training import run as training

        nodes = composed("trainer.progress_bar=false", *overrides)
        folder = next(folders) if resume is None else resume
        if resume is None:
            folder.mkdir()
            (folder / "config.yaml").write_text(configuration.dump(nodes))
        else:
            nodes.resume = str(resume)
        return Run(folder, training.run(check(nodes), folder))

    return run
