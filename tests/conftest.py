"""What several test modules need: the reference data, tiny documents, a run of train.py in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Runs train.py or sample.py as a user would, in an empty folder: script("train.py", "steps=10")."""

    def run(name: str, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        return subprocess.run(
            [sys.executable, str(ROOT / name), *arguments],
            cwd=cwd or tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
