"""What a sweep says at its end, from the folder alone: the table, the spread over seeds, and figures."""

import csv
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from makemore import files, standard_streams
from makemore.config.status import ENDED, Status
from makemore.errors import UserError
from makemore.sweeps import table
from makemore.sweeps.table import Run

# Rows of the printed table, and failures named below it; the files have all.
MOST_ROWS, MOST_NAMED = 40, 5


def report(folder: Path, before: Collection[str] = ()) -> list[Run]:
    """Prints the table of a sweep, and writes it and its figures into the sweep's folder; returns the rows.

    A search does not try again the runs that were there `before` the latest command, given by their names.
    """
    runs = table.gather(folder, before)
    keys = table.list_varied_keys(runs)
    tables = {"sweep.csv": table.tabulate(runs, keys, digits=6)}
    # The last column is the folder's name, which repeats the settings.
    text = format_table([row[:-1] for row in table.tabulate(runs[:MOST_ROWS], keys, digits=4)])
    if len(runs) > MOST_ROWS:
        text += f"\n... and {len(runs) - MOST_ROWS} more in sweep.csv"
    if seeds := table.tabulate_seeds(runs):
        tables["seeds.csv"] = seeds
        text += "\n\n" + format_table(seeds[: MOST_ROWS + 1])
    # Before anything is written or drawn, which may fail or take a while.
    print(f"\n{text}\n", flush=True)
    try:
        written = ", ".join(_write(folder, runs, tables))
    except OSError as error:
        written = f"cannot be written: {error.strerror}"
    print(_summarize(folder, runs, written), flush=True)
    return runs


def describe_failures(runs: Sequence[Run]) -> str:
    """A sentence about the runs of a sweep's latest command that did not end, and why; nothing if all did."""
    asked = [run for run in runs if run.asked]
    failed = [run for run in asked if run.status not in ENDED]
    if not failed:
        return ""
    keys = table.list_varied_keys(runs)
    named = []
    for run in failed[:MOST_NAMED]:
        settings = ",".join(f"{key}={run.overrides[key]}" for key in keys if key in run.overrides)
        named.append(f"{settings or run.folder}: {run.error or run.status}")
    more = f"; and {len(failed) - MOST_NAMED} more" if len(failed) > MOST_NAMED else ""
    return f"{len(failed)} of {len(asked)} runs did not end: {'; '.join(named)}{more}"


def _write(folder: Path, runs: Sequence[Run], tables: dict[str, list[list[str]]]) -> list[str]:
    """Writes tables and figures; returns their names."""
    for name, rows in tables.items():
        with files.replace(folder / name) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    names = list(tables)
    if results := table.select_results(runs):
        from makemore.sweeps import figures

        names += figures.draw(folder, results)
    return names


def _summarize(folder: Path, runs: Sequence[Run], written: str) -> str:
    folder = files.shorten(folder)
    counts = Counter(run.status for run in runs)
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    rows = [
        ("sweep", f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}: {statuses}"),
        ("folder", str(folder)),
        ("files", written),
    ]
    if table.select_results(runs[:1]):
        rows.append(("best", f"python sample.py checkpoint={shlex.quote(str(folder / runs[0].folder))}"))
    elif Status.diverged in counts:
        rows.append(("hint", "no run finished with a finite dev loss; try a smaller schedule.lr"))
    rows.append(("look", f"tensorboard --host localhost --logdir {shlex.quote(str(folder))}"))
    if any(run.asked and run.status not in ENDED for run in runs):
        rows.append(("resume", f"python train.py -m resume_sweep={shlex.quote(str(folder))}"))
    return "\n".join(f"{name:<8}{text}" for name, text in rows) + "\n"


def format_table(rows: Sequence[Sequence[str]], widest: int = 60) -> str:
    """Rows of cells, the first the head, in columns; empty columns are left out, and long cells but advice are cut."""
    used = (column for column in zip(*rows, strict=True) if any(column[1:]))
    columns = [
        [cell if column[0] == table.ADVICE else table.shorten(cell, widest) for cell in column] for column in used
    ]
    for column in columns:
        width = max(map(len, column))
        right = all(table.is_number(cell) for cell in column[1:] if cell)
        column[:] = [cell.rjust(width) if right else cell.ljust(width) for cell in column]
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m makemore.sweeps.report FOLDER      the report of a sweep, made again")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback
    standard_streams.prepare(output_needed=False)
    try:
        report(Path(sys.argv[1]))
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
