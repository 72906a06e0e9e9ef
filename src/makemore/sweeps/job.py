"""One run of a sweep: skipped if it ended before, continued if it did not; if it fails, the others go on."""

import itertools
import logging
import math
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from makemore import files
from makemore.config.compose import dump
from makemore.config.status import ENDED
from makemore.files import CONFIG, STATE
from makemore.sweeps.folder import ERROR, HYDRA, OVERRIDES, loss_of

log = logging.getLogger(__name__)

# What Hydra has put into a run's folder before the run begins.
PREPARED = (HYDRA, "train.log")


def run(
    folder: Path,
    nodes: DictConfig,
    train: Callable[[DictConfig, Path], float],
    explain: Callable[[Exception], str | None],
) -> float:
    """Trains, going on from where an earlier attempt got to, unless that has ended; leaves `error.txt` if it fails.

    Args:
        folder: the run's.
        nodes: its configuration as Hydra composed it.
        train: trains in the folder; returns the best dev loss, as this function does, infinite if the run failed.
        explain: the sentence for a mistake of the user; None for any other error, which keeps its traceback.
    """
    try:
        if (earlier := find_loss(folder, nodes)) is not None:
            return earlier
        if (folder / STATE).exists() and has_settings(folder, nodes):
            (folder / ERROR).unlink(missing_ok=True)
            nodes.resume = str(folder)
        else:
            set_aside(folder)
        return train(nodes, folder)
    except Exception as error:
        leave_error(folder, explain(error) or f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return math.inf


def find_loss(folder: Path, nodes: DictConfig) -> float | None:
    """The best dev loss of a run that has ended in this folder with the same configuration, or None."""
    metrics = files.read_metrics(folder)
    ended = metrics is not None and metrics["status"] in ENDED and has_settings(folder, nodes)
    return loss_of(metrics) if metrics is not None and ended else None


def has_settings(folder: Path, nodes: DictConfig) -> bool:
    """Whether the run in a folder has this configuration."""
    config = folder / CONFIG
    return config.exists() and config.read_text(encoding="utf-8") == dump(nodes)


def set_aside(folder: Path, prepared: Collection[str] = PREPARED) -> None:
    """Moves what an earlier attempt left into `earlier-N` inside the run's folder, so that nothing is lost or mistaken.

    What was prepared for the new attempt stays. TensorBoard's files are renamed, or it would show one more run.
    """
    left = [path for path in folder.iterdir() if path.name not in prepared and not path.name.startswith("earlier-")]
    if left:
        numbered = (folder / f"earlier-{number}" for number in itertools.count(1))
        earlier = next(path for path in numbered if not path.exists())
        earlier.mkdir()
        for path in left:
            path.rename(earlier / path.name.replace("tfevents", "tf-events"))


def leave_error(folder: Path, error: str, overrides: Sequence[str] = ()) -> None:
    """Writes why a run failed into its folder, a sentence in the first line; and the run's overrides if it was killed
    before Hydra had written them.
    """
    log.error(f"error: {error}")
    try:
        if overrides and not (folder / OVERRIDES).exists():
            (folder / OVERRIDES).parent.mkdir(parents=True, exist_ok=True)
            files.write_text(folder / OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
        files.write_text(folder / ERROR, error.strip() + "\n")
    except OSError as full:  # which may be why the run failed
        log.error(f"error: {folder / ERROR} cannot be written: {full.strerror}")
