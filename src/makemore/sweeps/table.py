"""A sweep as a table: a row for each run, read from the sweep's folder, and the runs of a setting over their seeds."""

import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from makemore.config.status import Status
from makemore.errors import UserError
from makemore.files import read_metrics
from makemore.sweeps import command
from makemore.sweeps.folder import ERROR, loss_of, read_overrides, run_folders

ADVICE = "suggestion"  # the column that says how to go on


@dataclass(frozen=True)
class Run:
    """One row of the table; losses and counts that are not known are nan."""

    overrides: dict[str, str]  # by key
    status: Status
    asked: bool = True  # whether the sweep's latest command asks for it
    folder: str = ""  # its name
    error: str = ""  # why it failed, in a sentence
    dev: float = math.inf  # the best
    last_dev: float = math.nan  # at the end, like train
    train: float = math.nan
    perplexity: float = math.nan  # of a model of words, like dev the best
    bits: float = math.nan  # per character, of a model of words
    parameters: float = math.nan
    steps: float = math.nan  # taken; fewer than asked for if a callback ended the run
    seconds: float = math.nan  # of training
    suggestion: str = ""  # the result of a search for a learning rate, whose losses say nothing


def gather(folder: Path, before: Collection[str] = ()) -> list[Run]:
    """Every run of a sweep: those that finished, from the lowest dev loss to the highest, and then all others.

    `before` are the names of the runs that were there before the latest command.

    Raises:
        UserError: the folder holds no sweep.
    """
    planned = [_by_key(overrides) for overrides in command.plan(folder)]
    runs, begun = [], []
    for run in run_folders(folder):
        begun.append(overrides := _by_key(read_overrides(run)))
        asked = overrides in planned if planned else run.name not in before
        runs.append(Run(overrides, asked=asked, folder=run.name, **_read_results(run)))
    runs += [Run(overrides, Status.missing) for overrides in planned if overrides not in begun]
    if not runs:
        raise UserError(f"{folder} holds no runs of a sweep; name one such as outputs/multirun/DATE/TIME-mlp")
    order = list(Status)
    # A run that was cut short is no result, however low its loss.
    return sorted(runs, key=lambda run: (run.status != Status.finished, run.dev, order.index(run.status)))


def _read_results(run: Path) -> dict[str, Any]:
    if metrics := read_metrics(run):
        names = {"last_dev": "dev_loss", "train": "train_loss", "seconds": "fit_seconds"}
        names |= {name: name for name in ("parameters", "steps")}
        numbers = {name: metrics[key] for name, key in names.items() if metrics.get(key) is not None}
        if suggestion := metrics.get("suggestion"):
            numbers = {name: numbers[name] for name in ("parameters", "steps", "seconds") if name in numbers}
            return {"status": Status(metrics["status"]), "suggestion": suggestion, **numbers}
        dev = loss_of(metrics)
        if math.isfinite(dev):
            units = {"perplexity": "best_dev_perplexity", "bits": "best_dev_bits_per_character"}  # of models of words
            numbers |= {name: metrics[key] for name, key in units.items() if metrics.get(key) is not None}
        return {"status": Status(metrics["status"]), "dev": dev, **numbers}
    if (run / ERROR).exists():
        error = (run / ERROR).read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        return {"status": Status.failed, "error": error}
    return {"status": Status.unfinished}


def _by_key(overrides: Iterable[str]) -> dict[str, str]:
    return {key.lstrip("+"): value for key, _, value in (each.partition("=") for each in overrides)}


def list_varied_keys(runs: Sequence[Run]) -> list[str]:
    """The keys that differ between runs, in the order in which they were typed."""
    keys = dict.fromkeys(key for run in runs for key in run.overrides)
    return [key for key in keys if len({run.overrides.get(key) for run in runs}) > 1]


def select_results(runs: Iterable[Run]) -> list[Run]:
    """The runs that finished with a dev loss."""
    return [run for run in runs if run.status == Status.finished and math.isfinite(run.dev)]


def group_by_setting(runs: Sequence[Run]) -> list[list[Run]]:
    """Groups of runs that differ in nothing but the seed, from the lowest mean dev loss to the highest."""
    keys = [key for key in list_varied_keys(runs) if key != "seed"]
    groups: dict[tuple[str | None, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.overrides.get(key) for key in keys), []).append(run)
    return sorted(groups.values(), key=mean_dev)


def mean_dev(runs: Iterable[Run]) -> float:
    """The mean of runs' best dev losses."""
    return statistics.fmean(run.dev for run in runs)


def tabulate(runs: Sequence[Run], keys: Sequence[str], digits: int) -> list[list[str]]:
    """The cells of the table of runs, the first row the head, the last column the folders' names."""
    columns: dict[str, list[str]] = {key: [run.overrides.get(key, "") for run in runs] for key in keys}
    columns["dev"] = [_format(run.dev, digits) for run in runs]
    if any(run.last_dev > run.dev + 5e-5 for run in runs):
        columns["last dev"] = [_format(run.last_dev, digits) for run in runs]
    if any(math.isfinite(run.bits) for run in runs):
        columns["perplexity"] = [_format(run.perplexity, 1) for run in runs]
        columns["bits per character"] = [_format(run.bits, digits) for run in runs]
    columns["train"] = [_format(run.train, digits) for run in runs]
    columns["parameters"] = [_format(run.parameters, 0) for run in runs]
    taken = {(run.overrides.get("steps"), run.steps) for run in runs if math.isfinite(run.steps)}
    if len(taken) > len({asked for asked, _ in taken}):  # some diverged, or a callback ended them early
        columns["steps taken"] = [_format(run.steps, 0) for run in runs]
    columns["seconds"] = [_format(run.seconds, 1) for run in runs]
    columns["status"] = [run.status for run in runs]
    columns["error"] = [run.error for run in runs]
    columns[ADVICE] = [run.suggestion for run in runs]
    columns["folder"] = [run.folder for run in runs]
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def tabulate_seeds(runs: Sequence[Run]) -> list[list[str]]:
    """The cells of the table of settings with their spread over seeds; no rows if no seed varies."""
    keys = list_varied_keys(runs)
    if "seed" not in keys:
        return []
    keys.remove("seed")
    words = any(math.isfinite(run.bits) for run in runs)
    units = ["mean perplexity", "mean bits per character"] if words else []
    rows = [[*keys, "seeds", "mean dev", "+-", "lowest", "highest", "mean train", *units]]
    for group in group_by_setting(select_results(runs)):
        losses = [run.dev for run in group]
        spread = statistics.stdev(losses) if len(losses) > 1 else math.nan
        train = statistics.fmean(run.train for run in group)
        numbers = (mean_dev(group), spread, min(losses), max(losses), train)
        settings = (group[0].overrides.get(key, "") for key in keys)
        cells = [_format(number, 4) for number in numbers]
        if words:
            cells += [_format(statistics.fmean(run.perplexity for run in group), 1)]
            cells += [_format(statistics.fmean(run.bits for run in group), 4)]
        rows.append([*settings, str(len(group)), *cells])
    return rows if len(rows) > 1 else []


def _format(number: float, digits: int) -> str:
    if not math.isfinite(number):
        return ""
    return f"{number:.{digits}f}" if digits == 0 or abs(number) < 1e5 else f"{number:.3g}"


def shorten(text: str, widest: int) -> str:
    """A cell that fits: long fractions get four digits, and long texts are cut."""
    if len(text) > 9 and is_number(text) and not text.lstrip("-").isdigit():
        return f"{float(text):.4g}"
    return text if len(text) <= widest else text[: widest - 3] + "..."


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
