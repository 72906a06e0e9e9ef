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
import json
import math
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from makemore.config.status import Status

COMMAND, METRICS, ERROR = "multirun.yaml", "metrics.json", "error.txt"
OVERRIDES = Path(".hydra", "overrides.yaml")
# What reading one of Hydra's files may raise if it is missing, incomplete or not Hydra's.
UNREADABLE = (OSError, ValueError, YAMLError, OmegaConfBaseException, AttributeError, TypeError)
# The results that a report reads, besides the status.
NUMBERS = ("best_dev_loss", "dev_loss", "train_loss", "parameters", "fit_seconds")


def run_folders(folder: Path) -> list[Path]:
    """The folders of a sweep's runs, by name; none if there is no such sweep yet."""
    return sorted(hydra.parent for hydra in folder.glob("*/.hydra"))


def list_texts(node: Any) -> list[str]:
    """A list in a configuration as it was written: references to other keys are not resolved."""
    return [str(each) for each in OmegaConf.to_container(node)]  # type: ignore[union-attr]


def read_overrides(run: Path) -> list[str]:
    """A run's overrides, `KEY=VALUE` each; none if Hydra has not written them."""
    try:
        return list(_load_overrides(run / OVERRIDES))
    except UNREADABLE:
        return []


@functools.cache  # a run's stay the same, and to name another run's folder those of all are read
def _load_overrides(path: Path) -> tuple[str, ...]:
    return tuple(list_texts(OmegaConf.load(path)))


def read_metrics(run: Path) -> dict[str, Any] | None:
    """What a run's `metrics.json` holds; None without one, or if no run has written it or not all of it."""
    try:
        metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
        known = metrics["status"] in (Status.finished, Status.diverged, Status.interrupted)
        numbers = [metrics["best_dev_loss"], *map(metrics.get, NUMBERS)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return metrics if known and all(each is None or type(each) in (int, float) for each in numbers) else None


def loss_of(metrics: dict[str, Any]) -> float:
    """What a sweep minimizes: the best dev loss; infinite if there is none or the run diverged."""
    loss = metrics["best_dev_loss"]
    return math.inf if loss is None or metrics["status"] == Status.diverged else float(loss)
