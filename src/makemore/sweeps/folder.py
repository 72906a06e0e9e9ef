"""A sweep on disk.

Everything is read from the sweep's folder, so a report can be made at any time, on any machine that has it:

multirun.yaml           the command, as Hydra records it
model.hidden=100/ ...   one run each, named after the settings that vary, with .hydra/overrides.yaml and
    metrics.json        its results, if it ended,
    error.txt           or why it failed; the first line is a sentence
    earlier-1/ ...      what earlier attempts left
sweep.csv, seeds.csv, *.png    the report
"""

import functools
import math
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from makemore.config.status import Status

COMMAND, ERROR = "multirun.yaml", "error.txt"
# Where Hydra writes what it composed, inside a run's folder.
HYDRA = ".hydra"
OVERRIDES = Path(HYDRA, "overrides.yaml")


def run_folders(folder: Path) -> list[Path]:
    """The folders of a sweep's runs, by name; none if there is no such sweep yet."""
    return sorted(path.parent.parent for path in folder.glob(f"*/{OVERRIDES}"))


def list_texts(node: Any) -> list[str]:
    """A list in a configuration as it was written: references to other keys are not resolved."""
    return [str(each) for each in OmegaConf.to_container(node)]  # type: ignore[union-attr]


@functools.cache  # a run's stay the same, and to name another run's folder those of all are read
def read_overrides(run: Path) -> list[str]:
    """A run's overrides, `KEY=VALUE` each."""
    return list_texts(OmegaConf.load(run / OVERRIDES))


def loss_of(metrics: dict[str, Any]) -> float:
    """What a sweep minimizes: the best dev loss; infinite without one, or if the run diverged or sought a rate."""
    loss = metrics["best_dev_loss"]
    meaningless = loss is None or metrics["status"] == Status.diverged or "suggestion" in metrics
    return math.inf if meaningless else float(loss)
