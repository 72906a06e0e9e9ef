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
from typing import Any
from urllib.parse import quote

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from makemore.config.check import file_name, replayable
from makemore.errors import UserError
from makemore.sweeps import pool

log = logging.getLogger(__name__)

COMMAND, METRICS, ERROR, CONFIG = "multirun.yaml", "metrics.json", "error.txt", "config.yaml"
OVERRIDES = Path(".hydra", "overrides.yaml")
# Where a sweep writes, and what its runs are not named for.
DIR, NAMES = "hydra.sweep.dir", "hydra.job.config.override_dirname.exclude_keys"
# What names the runs' folders, and what that says in the configuration of a new sweep.
SUBDIR, NEW = "hydra.sweep.subdir", "${run_name:0,[]}"
STUDY = "study.db"
# What reading a file of Hydra's may end in that is not there, not whole, or another's.
UNREADABLE = (OSError, ValueError, YAMLError, OmegaConfBaseException, AttributeError, TypeError)
# What a folder has when Hydra has prepared a run in it and nothing has happened yet.
PREPARED = (".hydra", "train.log")
# What a report reads of a run's results, beside how it ended.
NUMBERS = ("best_dev_loss", "dev_loss", "train_loss", "parameters", "fit_seconds")
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
    """Makes known what the configurations of sweeps use."""
    for resolver in (run_name, study_url, runs_in):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
    OmegaConf.register_new_resolver("cores", pool.cores, replace=True)


def run_name(first: int, taken: Sequence[int], *, _root_: DictConfig) -> str:
    """The name of a run's folder, `N_overrides`, by any launcher on any machine.

    A run that the sweep has had keeps its folder; any other has a number that none has had, its place in the command
    if that is free.

    Args:
        first: a number that no run has had, above all places in the command.
        taken: the numbers of the runs that were there before the command.
        _root_: the run's configuration with Hydra's part, from OmegaConf.
    """
    hydra = _root_.hydra
    number, typed = int(hydra.job.num), sorted(texts(hydra.overrides.task))
    before = [run for run in run_folders(Path(hydra.sweep.dir)) if number_of(run) in taken] if taken else []
    same = [run for run in before if sorted(overrides_of(run)) == typed]
    if same:
        return min(same, key=lambda run: (number_of(run) != number, number_of(run))).name
    return f"{first + number if number in taken else number}_{file_name(hydra.job.override_dirname)}"


def study_url(folder: str) -> str:
    """Where a search keeps what it has found, as SQLAlchemy takes it, whatever characters the path has."""
    return f"sqlite:///file:{quote(str(Path(folder).absolute() / STUDY))}?uri=true"


def runs_in(folder: str) -> int:
    """How many runs a sweep has had: a search that goes on must not draw the same settings again."""
    return len(run_folders(Path(folder)))


def texts(node: Any) -> list[str]:
    """A list of a configuration as it is written: what refers to other keys goes on referring to them."""
    return [str(each) for each in OmegaConf.to_container(node)]  # type: ignore[union-attr]


def member(folder: Path, nodes: DictConfig, run: Callable[[], float]) -> float:
    """One run of a sweep: not again if it has ended before, and never a reason for the others to stop.

    Args:
        folder: the run's own.
        nodes: its configuration as Hydra composed it.
        run: trains, and returns the best dev loss.

    Returns:
        what `run` does; infinite if it failed. Then `error.txt` says why.
    """
    try:
        if (earlier := ended(folder, nodes)) is not None:
            return earlier
        set_aside(folder)
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
    try:
        same = (folder / CONFIG).read_text(encoding="utf-8") == replayable(nodes)
    except (OSError, ValueError):
        return None
    return loss_of(metrics) if same else None


def set_aside(folder: Path, prepared: Sequence[str] = PREPARED) -> None:
    """Moves what an earlier attempt left into a folder inside, so that nothing is lost or taken for this one's.

    Of TensorBoard's files the name changes, or it would show the attempt as one more run.

    Args:
        folder: the run's.
        prepared: what is of the new attempt already.
    """
    left = [path for path in folder.iterdir() if path.name not in prepared and not path.name.startswith("earlier-")]
    if left:
        count = 1
        while (earlier := folder / f"earlier-{count}").exists():
            count += 1
        earlier.mkdir()
        for path in left:
            path.rename(earlier / path.name.replace("tfevents", "tf-events"))


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
    return tuple(texts(OmegaConf.load(path)))


def read_metrics(run: Path) -> dict[str, Any] | None:
    """What `metrics.json` holds; None without one, or with one that no run has written whole."""
    try:
        metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(metrics, dict) or metrics.get("status") not in (FINISHED, DIVERGED, INTERRUPTED):
        return None
    numbers = [metrics.get(key) for key in NUMBERS]
    whole = "best_dev_loss" in metrics and all(each is None or type(each) in (int, float) for each in numbers)
    return metrics if whole else None


def loss_of(metrics: dict[str, Any]) -> float:
    """What a sweep minimizes: the best dev loss; infinite if there is none, for which JSON has no word, or the run
    diverged, whatever it was before.
    """
    loss = metrics["best_dev_loss"]
    return math.inf if loss is None or metrics["status"] == DIVERGED else float(loss)


def planned(folder: Path) -> list[list[str]]:
    """The overrides of every run that a sweep's command asks for; nothing where these were found on the way."""
    try:
        return asked(OmegaConf.load(folder / COMMAND).hydra)
    except UNREADABLE:
        return []


def asked(hydra: DictConfig) -> list[list[str]]:
    """The same, from Hydra's part of the sweep's configuration; no run twice."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if not hydra.sweeper["_target_"].endswith(".BasicSweeper"):
        return []
    try:
        parsed = OverridesParser.create().parse_overrides(texts(hydra.overrides.task))
        jobs = BasicSweeper.split_arguments(parsed, None)[0]
    except HydraException:
        return []
    return [list(job) for job in dict.fromkeys(map(tuple, jobs))]


def size(hydra: DictConfig) -> int:
    """How many runs a sweep's command asks for, from Hydra's part of its configuration; 0 if that is not known."""
    return int(hydra.sweeper.get("n_trials") or len(asked(hydra)))


def constant_keys(overrides: Sequence[str], before: Sequence[Sequence[str]] = ()) -> list[str]:
    """The keys that a sweep's command gives a single value, if there are others.

    Args:
        overrides: what was typed.
        before: the overrides of runs that were there before; a key that has another value there tells runs apart.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    single = [each for each in parsed if not each.is_sweep_override()]
    texts_of = {each.key_or_group: f"{each.get_key_element()}={each.get_value_element_as_str()}" for each in single}
    constant = [key for key, text in texts_of.items() if all(text in run for run in before)]
    return constant if len(constant) < len(parsed) or "sweep" in constant else []


def command(folder: Path, conf: Path) -> tuple[list[str], list[str]]:
    """What was typed for a sweep, but for its folder: the flags that name another configuration, and the overrides.

    Args:
        folder: the sweep's.
        conf: the configuration folder that is taken where no flag names another.

    Raises:
        UserError: the folder is not a sweep's.
    """
    try:
        hydra = OmegaConf.load(folder / COMMAND).hydra
        typed = [*texts(hydra.overrides.hydra), *texts(hydra.overrides.task)]
        folders = [each.path for each in hydra.runtime.config_sources if each.provider == "command-line"]
        (main,) = [each.path for each in hydra.runtime.config_sources if each.provider == "main"]
        flags = [*(flag for path in folders for flag in ("--config-dir", path)), "--config-name", hydra.job.config_name]
        if Path(main) != conf and Path(main).is_dir():
            flags += ["--config-path", main]
    except UNREADABLE:
        raise UserError(
            f"resume_sweep={folder} is not a sweep's folder: it has no multirun.yaml that can be read; name one such "
            "as outputs/multirun/DATE/TIME-mlp"
        ) from None
    left_out = (f"{DIR}=", f"{NAMES}=", f"{SUBDIR}=", "hydra.mode=")
    return flags, [each for each in typed if not each.startswith(left_out)]


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
