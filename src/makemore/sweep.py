"""Many runs of one command: what becomes of each, and which are left to do.

Everything is read from the sweep's folder, so that a report can be made at any time, by any machine that has it:

    multirun.yaml           the command, as Hydra has it
    N_overrides/            one run each, with .hydra/overrides.yaml, and
        metrics.json        its results, if it came to an end,
        error.txt           or why it failed; the first line says it in a sentence
        earlier-1/ ...      what an attempt before this one left
    sweep.csv, seeds.csv, *.png    the report (`sweep_report`)
"""

import functools
import io
import json
import logging
import math
import tarfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from makemore import pool
from makemore.config import replayable
from makemore.errors import UserError

log = logging.getLogger(__name__)

COMMAND, METRICS, ERROR, CONFIG = "multirun.yaml", "metrics.json", "error.txt", "config.yaml"
OVERRIDES = Path(".hydra", "overrides.yaml")
# Where a sweep writes, and what its runs are not named for.
DIR, NAMES = "hydra.sweep.dir", "hydra.job.config.override_dirname.exclude_keys"
# What reading a file of Hydra's may end in that is not there, not whole, or another's.
UNREADABLE = (OSError, ValueError, YAMLError, OmegaConfBaseException, AttributeError, TypeError)
# What a folder has when Hydra has prepared a run in it and nothing has happened yet.
PREPARED = (".hydra", "train.log")
# What a run may have come to.
FINISHED, DIVERGED, INTERRUPTED, FAILED, UNFINISHED, MISSING = (
    "finished",
    "diverged",
    "interrupted",
    "failed",
    "unfinished",
    "missing",
)
# These would come out the same again.
ENDED = (FINISHED, DIVERGED)


def register() -> None:
    """Makes known what the configurations of sweeps use: the number of cores, and of the runs that a sweep has had.

    A search that goes on must not draw the same settings again.
    """
    OmegaConf.register_new_resolver("cores", pool.cores, replace=True)
    OmegaConf.register_new_resolver("runs_in", lambda folder: len(run_folders(Path(folder))), replace=True)


def member(folder: Path, nodes: DictConfig, run: Callable[[], float]) -> float:
    """One run of a sweep: not again if it has ended before, and never a reason for the others to stop.

    Args:
        folder: the run's own.
        nodes: its configuration as Hydra composed it.
        run: trains, and returns the best dev loss.

    Returns:
        what `run` does; infinite if it failed. Then `error.txt` says why.
    """
    if (earlier := ended(folder, nodes)) is not None:
        return earlier
    set_aside(folder)
    try:
        return run()
    except UserError as error:
        leave_error(folder, str(error))
    except Exception as error:
        leave_error(folder, f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return math.inf


def ended(folder: Path, nodes: DictConfig) -> float | None:
    """The best dev loss of a run that has come to its end in this folder with the same configuration, or None."""
    metrics = read_metrics(folder)
    if metrics is None or metrics["status"] not in ENDED:
        return None
    if (folder / CONFIG).read_text(encoding="utf-8") != replayable(nodes):
        return None
    return loss_of(metrics)


def set_aside(folder: Path) -> None:
    """Moves what an earlier attempt left into a folder inside, so that nothing is lost or taken for this one's."""
    left = [path for path in folder.iterdir() if path.name not in PREPARED and not path.name.startswith("earlier-")]
    if left:
        count = 1
        while (earlier := folder / f"earlier-{count}").exists():
            count += 1
        earlier.mkdir()
        for path in left:
            path.rename(earlier / path.name)


def leave_error(folder: Path, error: str, overrides: Sequence[str] = ()) -> None:
    """Writes why a run failed into its folder.

    Args:
        folder: the run's; a run that was killed may not have made it.
        error: why, the first line a sentence.
        overrides: what was typed for the run, if Hydra may not have come to write it.
    """
    typed = folder / OVERRIDES
    if overrides and not typed.exists():
        typed.parent.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(list(overrides)), typed)
    (folder / ERROR).write_text(error.strip() + "\n", encoding="utf-8")
    log.error(f"error: {error}")


class Place(NamedTuple):
    """Where a job of a sweep runs.

    Attributes:
        number: its number in the sweep.
        folder: the name of the folder that it has had; None if it has had none.
    """

    number: int
    folder: str | None


def places(folder: Path, jobs: Sequence[Sequence[str]], first: int) -> list[Place]:
    """The places of jobs in a sweep: those that they have had, or from `first` on numbers that no other job has.

    Args:
        folder: the sweep's.
        jobs: the overrides of each.
        first: Hydra's number of the first.
    """
    taken = {number_of(run): run for run in run_folders(folder)}
    typed = {at: sorted(overrides_of(run)) for at, run in taken.items()}
    result: list[Place] = []
    for index, overrides in enumerate(jobs, start=first):
        used = [place.number for place in result]
        same = [at for at, others in typed.items() if others == sorted(overrides) and at not in used]
        if same:
            number = index if index in same else min(same)
            result.append(Place(number, taken[number].name))
            continue
        free = index
        while free in taken or free in used:
            free += 1
        result.append(Place(free, None))
    return result


def run_folders(folder: Path) -> list[Path]:
    """The folders of a sweep's runs, by number; none where there is no such folder yet."""
    there = folder.iterdir() if folder.is_dir() else ()
    runs = [path for path in there if path.is_dir() and path.name.split("_")[0].isdigit()]
    return sorted(runs, key=number_of)


def number_of(run: Path) -> int:
    """A run's number in its sweep, with which its folder's name begins."""
    return int(run.name.split("_")[0])


def overrides_of(run: Path) -> list[str]:
    """What was typed for one run: `KEY=VALUE`, in order; nothing where Hydra did not come to write it."""
    try:
        return list(_overrides(run / OVERRIDES, (run / OVERRIDES).stat().st_mtime_ns))
    except UNREADABLE:
        return []


@functools.cache
def _overrides(path: Path, _modified: int) -> tuple[str, ...]:
    # A search asks for those of all its runs before each next one; to read a file of YAML takes a millisecond.
    return tuple(str(each) for each in OmegaConf.load(path))


def read_metrics(run: Path) -> dict[str, Any] | None:
    """What `metrics.json` holds; None without one, or with half of one."""
    try:
        metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return metrics if isinstance(metrics, dict) and {"status", "best_dev_loss"} <= metrics.keys() else None


def loss_of(metrics: dict[str, Any]) -> float:
    """What a sweep minimizes: the best dev loss; infinite if there is none, for which JSON has no word, or the run
    diverged, whatever it was before.
    """
    loss = metrics["best_dev_loss"]
    return math.inf if loss is None or metrics["status"] == DIVERGED else float(loss)


def planned(folder: Path) -> list[list[str]]:
    """The overrides of every run that a sweep's command asks for; nothing where these were found on the way."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        hydra = OmegaConf.load(folder / COMMAND).hydra
        if not hydra.sweeper["_target_"].endswith(".BasicSweeper"):
            return []
        parsed = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
        return [list(each) for each in BasicSweeper.split_arguments(parsed, None)[0]]
    except (*UNREADABLE, HydraException):
        return []


def constant_keys(overrides: Sequence[str]) -> list[str]:
    """The keys that a sweep's command gives a single value, if there are others."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    constant = [each.key_or_group for each in parsed if not each.is_sweep_override()]
    return constant if len(constant) < len(parsed) or "sweep" in constant else []


def command(folder: Path) -> tuple[list[str], list[str]]:
    """What was typed for a sweep, but for its folder: the flags that name another configuration, and the overrides.

    Raises:
        UserError: the folder is not a sweep's.
    """
    try:
        hydra = OmegaConf.load(folder / COMMAND).hydra
        typed = [*hydra.overrides.hydra, *hydra.overrides.task]
        folders = [each.path for each in hydra.runtime.config_sources if each.provider == "command-line"]
        flags = [*(flag for path in folders for flag in ("--config-dir", path)), "--config-name", hydra.job.config_name]
    except UNREADABLE:
        raise UserError(
            f"resume_sweep={folder} is not a sweep's folder: it has no multirun.yaml; name one such as "
            "outputs/multirun/DATE/TIME-mlp"
        ) from None
    left_out = (f"{DIR}=", f"{NAMES}=", "hydra.mode=")
    return flags, [str(each) for each in typed if not str(each).startswith(left_out)]


def pack(run: Path) -> bytes:
    """Everything that a run left, to be sent home from another machine."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        archive.add(run, run.name)
    return packed.getvalue()


def unpack(packed: bytes, folder: Path) -> None:
    """Puts a run into its sweep's folder; what is there already stays."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        for item in archive:
            if not (folder / item.name).exists():
                archive.extract(item, folder, filter="data")
