"""`python train.py`, with everything that a run does, against the lecture's plain loop.

    python -m benchmarks.training --steps 200000 --pairs 5

Every pair is two processes on one thread, one straight after the other; a ratio is taken within a pair, so that it
holds when the machine's speed drifts. The plain loop is `benchmarks/plain.py`, or any script that prints a line of
JSON with `fit_seconds`: --plain 'FILE ARGUMENTS'.

Fit: training with validation, checkpoints, logging and progress bar, without the final figures. Whole: the process
from start to end, imports, data, and figures included.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import measuring

ROOT = Path(__file__).parent.parent


def timed(command: list[str], folder: str) -> tuple[float, str]:
    """Wall seconds of a process, and what it printed."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, done.stdout


def pair(steps: int, plain: list[str], extra: list[str]) -> dict[str, Any]:
    """One run of each kind, in a folder that is thrown away."""
    plain_whole, printed = timed([*plain, "--steps", str(steps)], str(ROOT))
    plain_fit = json.loads(printed)["fit_seconds"]
    with tempfile.TemporaryDirectory() as folder:
        whole, _ = timed([str(ROOT / "train.py"), f"steps={steps}", *extra], folder)
        metrics = json.loads(next(Path(folder).rglob("metrics.json")).read_text())
    fit = metrics["fit_seconds"]
    return {
        "plain_fit": plain_fit,
        "fit": fit,
        "fit_ratio": fit / plain_fit,
        "plain_whole": plain_whole,
        "whole": whole,
        "whole_ratio": whole / plain_whole,
        "dev_loss": metrics["dev_loss"],
    }


def main() -> None:
    """Prints a line a pair, and the medians."""
    arguments = argparse.ArgumentParser(description="train.py against a plain loop")
    arguments.add_argument("--steps", type=int, default=200_000)
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--plain", default="-m benchmarks.plain", help="what Python runs as the plain loop")
    arguments.add_argument("extra", nargs="*", help="overrides for train.py")
    options = arguments.parse_args()
    rows = []
    print("            plain loop            train.py         ratio")
    print("           fit    whole        fit    whole     fit   whole")
    for number in range(options.pairs):
        row = pair(options.steps, shlex.split(options.plain), options.extra)
        rows.append(row)
        line(f"pair {number + 1}", row)
    line("median", {key: statistics.median(row[key] for row in rows) for key in rows[0]})
    print(f"{options.steps:,} steps; seconds; {measuring.machine()}")
    measuring.keep("training", {"steps": options.steps, "pairs": rows})


def line(name: str, row: dict[str, Any]) -> None:
    """One row of the table."""
    print(
        f"{name:8}{row['plain_fit']:6.1f}   {row['plain_whole']:6.1f}     {row['fit']:6.1f}   {row['whole']:6.1f}"
        f"   {row['fit_ratio']:5.2f}   {row['whole_ratio']:5.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
