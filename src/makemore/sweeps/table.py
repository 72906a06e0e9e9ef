"""A sweep as a table: a row for each run, read from the sweep's folder, and the runs of a setting over their seeds."""

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from makemore.errors import UserError
from makemore.sweeps import sweep
from makemore.sweeps.sweep import DIVERGED, ERROR, FAILED, FINISHED, INTERRUPTED, MISSING, UNFINISHED


class Run(NamedTuple):
    """One row of the table.

    Attributes:
        number: its number in the sweep; None if it has not begun.
        overrides: what was typed for it, by key.
        status: `finished`, `diverged`, `interrupted`, `failed`, `unfinished` or `missing`.
        dev: its best dev loss, infinite without one.
        train: its train loss at the end, nan without one.
        last_dev: its dev loss at the end, nan without one.
        parameters: how many; None if that is not known.
        seconds: of training; None if that is not known.
        error: why it failed, in a sentence, or nothing.
        folder: its folder's name, or nothing.
    """

    number: int | None
    overrides: dict[str, str]
    status: str
    dev: float = math.inf
    train: float = math.nan
    last_dev: float = math.nan
    parameters: int | None = None
    seconds: float | None = None
    error: str = ""
    folder: str = ""


def gather(folder: Path) -> list[Run]:
    """Every run of a sweep: those that finished, from the lowest dev loss to the highest, and then all others.

    Raises:
        UserError: the folder is not there, or not a sweep's.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name a sweep's, such as outputs/multirun/DATE/TIME-mlp")
    runs = [_row(run) for run in sweep.run_folders(folder)]
    begun = [run.overrides for run in runs]
    runs += [
        Run(None, overrides, MISSING) for overrides in map(by_key, sweep.planned(folder)) if overrides not in begun
    ]
    if not runs:
        raise UserError(
            f"{folder} holds no runs of a sweep; name a sweep's folder, such as outputs/multirun/DATE/TIME-mlp"
        )
    order = [FINISHED, INTERRUPTED, DIVERGED, FAILED, UNFINISHED, MISSING]

    def place(run: Run) -> tuple[bool, float, int, float]:
        # What was cut short is no result, however low its loss.
        number = math.inf if run.number is None else run.number
        return run.status != FINISHED, run.dev, order.index(run.status), number

    return sorted(runs, key=place)


def _row(run: Path) -> Run:
    overrides, metrics = by_key(sweep.overrides_of(run)), sweep.read_metrics(run)
    row = Run(sweep.number_of(run), overrides, UNFINISHED, folder=run.name)
    if metrics is not None:
        return row._replace(
            status=str(metrics["status"]),
            dev=sweep.loss_of(metrics),
            train=math.nan if metrics.get("train_loss") is None else metrics["train_loss"],
            last_dev=math.nan if metrics.get("dev_loss") is None else metrics["dev_loss"],
            parameters=metrics.get("parameters"),
            seconds=metrics.get("fit_seconds"),
        )
    if (run / ERROR).exists():
        error = (run / ERROR).read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        return row._replace(status=FAILED, error=error)
    return row


def by_key(overrides: Iterable[str]) -> dict[str, str]:
    return {key.lstrip("+"): value for key, _, value in (each.partition("=") for each in overrides)}


def varied(runs: Iterable[Run]) -> list[str]:
    """The keys that not all runs have the same value for, in the order in which they were typed."""
    runs = list(runs)
    keys = dict.fromkeys(key for run in runs for key in run.overrides)
    return [key for key in keys if len({run.overrides.get(key) for run in runs}) > 1]


def setting_keys(keys: Iterable[str]) -> list[str]:
    """Those that say what a run is, without the one that only says where its chance begins."""
    return [key for key in keys if key != "seed"]


def by_setting(runs: Iterable[Run]) -> list[list[Run]]:
    """Groups of runs that differ in nothing but the seed."""
    runs = list(runs)
    keys = setting_keys(varied(runs))
    groups: dict[tuple[str | None, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.overrides.get(key) for key in keys), []).append(run)
    return list(groups.values())


class Setting(NamedTuple):
    """The runs that differ in nothing but the seed.

    Attributes:
        overrides: what they have in common, of the keys that vary.
        runs: how many have a dev loss.
        dev: (mean, standard deviation, lowest, highest) of their best dev losses.
        train: the mean of their train losses.
    """

    overrides: dict[str, str]
    runs: int
    dev: tuple[float, float, float, float]
    train: float


def over_seeds(runs: Sequence[Run]) -> list[Setting]:
    """Each setting with its spread over seeds, from the lowest mean to the highest; nothing if no seed varies."""
    keys = varied(runs)
    if "seed" not in keys:
        return []
    settings = []
    for group in by_setting(run for run in runs if run.status == FINISHED and math.isfinite(run.dev)):
        common = {key: group[0].overrides.get(key, "") for key in setting_keys(keys)}
        losses = [run.dev for run in group]
        spread = statistics.stdev(losses) if len(losses) > 1 else math.nan
        mean = statistics.fmean(losses)
        train = statistics.fmean(run.train for run in group)
        settings.append(Setting(common, len(group), (mean, spread, min(losses), max(losses)), train))
    return sorted(settings, key=lambda setting: setting.dev[0])


def short(text: str, widest: int) -> str:
    """A cell that fits: fractions with four digits where they have many more, and long texts cut."""
    if len(text) > 9 and is_number(text) and not text.lstrip("-").isdigit():
        return f"{float(text):.4g}"
    return text if len(text) <= widest else text[: widest - 3] + "..."


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    return not math.isnan(as_number(text))


def as_number(text: str) -> float:
    """The number that a text is; nan if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
