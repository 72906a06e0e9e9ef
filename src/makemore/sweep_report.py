"""What the runs of a sweep say together: a table, its file, spreads over seeds, figures. All from the folder alone."""

import csv
import math
import shlex
import statistics
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from makemore import console, sweep
from makemore.errors import UserError
from makemore.sweep import DIVERGED, ENDED, ERROR, FAILED, FINISHED, INTERRUPTED, MISSING, UNFINISHED

# Rows of the printed table, and failures named below it; the files have all.
MOST_ROWS, MOST_NAMED = 40, 5


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
        Run(None, overrides, MISSING) for overrides in map(_by_key, sweep.planned(folder)) if overrides not in begun
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
    overrides, metrics = _by_key(sweep.overrides_of(run)), sweep.read_metrics(run)
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
        error = (run / ERROR).read_text(encoding="utf-8").partition("\n")[0]
        return row._replace(status=FAILED, error=error)
    return row


def _by_key(overrides: Iterable[str]) -> dict[str, str]:
    return {key.lstrip("+"): value for key, _, value in (each.partition("=") for each in overrides)}


def without_result(folder: Path, runs: Sequence[Run], before: Container[str] = ()) -> str:
    """A sentence about the runs that did not come to an end, with why; nothing if all did.

    Of a sweep that has gone on, those count that were asked for last.

    Args:
        folder: the sweep's.
        runs: from `gather`.
        before: the names of the runs' folders that were there before; a search does not try them again.
    """
    asked = [_by_key(overrides) for overrides in sweep.planned(folder)]
    runs = [run for run in runs if (run.overrides in asked if asked else run.folder not in before)]
    without = [run for run in runs if run.status not in ENDED]
    if not without:
        return ""
    named = (("one" if run.number is None else f"run {run.number}", run) for run in without[:MOST_NAMED])
    why = "; ".join(f"{name}: {run.error or run.status}" for name, run in named)
    more = f"; and {len(without) - MOST_NAMED} more" if len(without) > MOST_NAMED else ""
    return f"{len(without)} of {len(runs)} runs did not come to an end: {why}{more}"


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
    for group in by_setting(run for run in runs if run.status == FINISHED):
        common = {key: group[0].overrides.get(key, "") for key in setting_keys(keys)}
        losses = [run.dev for run in group]
        spread = statistics.stdev(losses) if len(losses) > 1 else math.nan
        mean = statistics.fmean(losses)
        train = statistics.fmean(run.train for run in group)
        settings.append(Setting(common, len(group), (mean, spread, min(losses), max(losses)), train))
    return sorted(settings, key=lambda setting: setting.dev[0])


def report(folder: Path) -> list[Run]:
    """Prints the table of a sweep, and writes it and its figures into the sweep's folder; returns the rows."""
    runs = gather(folder)
    keys = varied(runs)
    settings = over_seeds(runs)
    _write(folder / "sweep.csv", _table(runs, keys, digits=6))
    lines = [as_text(_table(runs[:MOST_ROWS], keys, digits=4))]
    if len(runs) > MOST_ROWS:
        lines.append(f"... and {len(runs) - MOST_ROWS} more in sweep.csv")
    files = ["sweep.csv"]
    if settings:
        rows = _seeds_table(settings)
        _write(folder / "seeds.csv", rows)
        files.append("seeds.csv")
        lines.append("\n" + as_text(rows[: MOST_ROWS + 1]))
    # Before anything is drawn, which takes a while.
    print("\n" + "\n".join(lines) + "\n", flush=True)
    if any(math.isfinite(run.dev) for run in runs):
        from makemore import sweep_plots

        files += sweep_plots.draw(folder, runs, keys)
    print(_words(folder, runs, files), flush=True)
    return runs


def _words(folder: Path, runs: Sequence[Run], files: Sequence[str]) -> str:
    """What is said below the table."""
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    counts = {status: sum(run.status == status for run in runs) for status in dict.fromkeys(run.status for run in runs)}
    word = "run" if len(runs) == 1 else "runs"
    rows = [
        ("sweep", f"{len(runs)} {word}: " + ", ".join(f"{count} {status}" for status, count in counts.items())),
        ("folder", str(folder)),
        ("files", ", ".join(files)),
    ]
    best = runs[0]
    if math.isfinite(best.dev):
        rows.append(("best", f"python sample.py checkpoint={shlex.quote(str(folder / best.folder))}"))
    elif DIVERGED in counts:
        rows.append(("hint", "no run ended with a dev loss that is a number; try a smaller schedule.lr"))
    rows.append(("look", f"tensorboard --logdir {shlex.quote(str(folder))}"))
    again = [run for run in runs if run.status not in ENDED]
    if again:
        rows.append(("go on", f"python train.py -m resume_sweep={shlex.quote(str(folder))}"))
    return "\n".join(f"{name:<8}{text}" for name, text in rows) + "\n"


def _table(runs: Sequence[Run], keys: Sequence[str], digits: int) -> list[list[str]]:
    moved = any(math.isfinite(run.last_dev) and run.last_dev > run.dev + 5e-5 for run in runs)
    head = ["run", *keys, "dev", *(["last dev"] if moved else []), "train", "parameters", "seconds", "status", "error"]

    def loss(value: float) -> str:
        if not math.isfinite(value):
            return ""
        return f"{value:.{digits}f}" if abs(value) < 1e5 else f"{value:.3g}"

    rows = [
        [
            "" if run.number is None else str(run.number),
            *(run.overrides.get(key, "") for key in keys),
            loss(run.dev),
            *([loss(run.last_dev)] if moved else []),
            loss(run.train),
            "" if run.parameters is None else str(run.parameters),
            "" if run.seconds is None else f"{run.seconds:.1f}",
            run.status,
            run.error,
        ]
        for run in runs
    ]
    return [head, *rows]


def _seeds_table(settings: Sequence[Setting]) -> list[list[str]]:
    rows = [[*settings[0].overrides, "seeds", "mean dev", "+-", "lowest", "highest", "mean train"]]
    for setting in settings:
        mean, spread, low, high = setting.dev
        losses = ("" if math.isnan(value) else f"{value:.4f}" for value in (mean, spread, low, high, setting.train))
        rows.append([*setting.overrides.values(), str(setting.runs), *losses])
    return rows


def as_text(table: Sequence[Sequence[str]], widest: int = 60) -> str:
    """Rows of cells, the first the head, in columns; empty columns are left out, and long cells are cut."""
    used = [at for at in range(len(table[0])) if any(row[at] for row in table[1:])]
    cells = [[short(row[at], widest) for at in used] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(is_number(cell) for cell in column[1:] if cell) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def short(text: str, widest: int) -> str:
    """A cell that fits: numbers with four digits where they have many more, and long texts cut."""
    if len(text) > 9 and is_number(text):
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


def _write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m makemore.sweep_report FOLDER      the report of a sweep, made again")
    try:
        report(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(console.INTERRUPTED)
    except BrokenPipeError:
        console.hush()
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
