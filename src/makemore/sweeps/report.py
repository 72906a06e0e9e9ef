"""What a sweep says at its end, all of it from the folder alone: its table, printed and as a file, spreads, figures."""

import csv
import math
import shlex
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from makemore.cli import console
from makemore.errors import UserError
from makemore.sweeps import sweep
from makemore.sweeps.sweep import DIVERGED, ENDED
from makemore.sweeps.table import Run, Setting, by_key, gather, is_number, over_seeds, short, varied

# Rows of the printed table, and failures named below it; the files have all.
MOST_ROWS, MOST_NAMED = 40, 5
# What a report may consist of.
FILES = {"sweep.csv", "seeds.csv", "sweep_keys.png", "sweep_pairs.png", "sweep_fit.png"}


def without_result(folder: Path, runs: Sequence[Run], before: Container[str] = ()) -> str:
    """A sentence about the runs that did not come to an end, with why; nothing if all did.

    Of a sweep that has gone on, those count that were asked for last.

    Args:
        folder: the sweep's.
        runs: from `gather`.
        before: the names of the runs' folders that were there before; a search does not try them again.
    """
    asked = _asked_for(folder)
    runs = [run for run in runs if (run.overrides in asked if asked else run.folder not in before)]
    without = _to_do(runs)
    if not without:
        return ""
    named = (("one" if run.number is None else f"run {run.number}", run) for run in without[:MOST_NAMED])
    why = "; ".join(f"{name}: {run.error or run.status}" for name, run in named)
    more = f"; and {len(without) - MOST_NAMED} more" if len(without) > MOST_NAMED else ""
    return f"{len(without)} of {len(runs)} runs did not come to an end: {why}{more}"


def _asked_for(folder: Path) -> list[dict[str, str]]:
    return [by_key(overrides) for overrides in sweep.planned(folder)]


def _to_do(runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run.status not in ENDED]


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
        from makemore.sweeps import figures as sweep_plots

        files += sweep_plots.draw(folder, runs, keys)
    for name in FILES - set(files):
        (folder / name).unlink(missing_ok=True)  # of a report on other runs
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
    asked = _asked_for(folder)
    if any(run.overrides in asked or not asked for run in _to_do(runs)):
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


def _write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m makemore.sweeps.report FOLDER      the report of a sweep, made again")
    try:
        report(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(console.INTERRUPTED)
    except BrokenPipeError:
        console.hush()
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
