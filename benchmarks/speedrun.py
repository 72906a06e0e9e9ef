"""The shortest training to a dev loss, by rules: the records of docs/results.md.

    python -m benchmarks.speedrun data=text data.path=names.txt               (both records, on the lecture's list)
    python -m benchmarks.speedrun --record lecture data=text data.path=names.txt

    lecture   dev 2.17, what the lecture ends at, by the lecture's network: C, W1, W2 with 11,897 parameters
    any       dev 2.00, by any network of this project

The rules: 20 seeds, each a process of its own, none left out. Every seed trains for the same number of steps, fixed
beforehand, and dev is looked at once, after the last step, at the last weights. The record holds if the mean dev loss
of all seeds lies below the target with p < 0.01 by a one-sided t-test. A run without a record comes first, so that
compiled code and files are cached; training then counts from the first step to the end of the evaluation, whatever
happens in between, and the whole command counts with its imports. The test is SciPy's (`make install-dev`).
"""

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

from benchmarks import measuring

SEEDS = 20
LEVEL = 0.01


class Record(NamedTuple):
    """What is to be reached, and by which command."""

    target: float  # dev loss in nats per character
    command: str
    parameters: int | None  # that the network must have, None for any number


RECORDS = {
    "lecture": Record(2.17, "experiment=speedrun", 11_897),
    "any": Record(2.0, "experiment=speedrun_wide", None),
}


def run(record: Record, seed: int, data: list[str]) -> dict[str, Any]:
    """One run: dev loss, seconds of training, seconds of the process."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*record.command.split(), f"seed={seed}", *data]
        whole, metrics = measuring.train(arguments, Path(folder) / "run")
    if record.parameters not in (None, metrics["parameters"]):
        raise SystemExit(f"{record.command} trains {metrics['parameters']:,} parameters, not {record.parameters:,}")
    return {"seed": seed, "dev": metrics["dev_loss"], "fit": metrics["fit_seconds"], "whole": whole}


def commit() -> str:
    """The commit that is measured, with a mark if the files differ from it."""
    git = ["git", "-C", str(measuring.ROOT)]
    name = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    return name + (" with changes" if changed else "")


def measure(record: Record, data: list[str], measured: str) -> dict[str, Any]:
    """All seeds of one record, of the code of a commit; prints a line a seed, and the verdict."""
    run(record, 0, data)  # fills the caches
    rows = []
    for seed in range(SEEDS):
        rows.append(run(record, seed, data))
        print("seed {seed}   dev {dev:.4f}   training {fit:.2f} s   whole {whole:.1f} s".format(**rows[-1]), flush=True)
    dev = [row["dev"] for row in rows]
    p = float(stats.ttest_1samp(dev, record.target, alternative="less").pvalue)
    median = {name: statistics.median(row[name] for row in rows) for name in ("fit", "whole")}
    print(
        f"dev mean {statistics.mean(dev):.4f}, standard deviation {statistics.stdev(dev):.4f}, from {min(dev):.4f} to "
        f"{max(dev):.4f}: {'below' if p < LEVEL else 'NOT below'} {record.target:.2f}, p = {p:.1g}\n"
        f"training: median {median['fit']:.2f} s; whole command: median {median['whole']:.1f} s\n"
    )
    return {
        "command": f"python train.py {record.command} {measuring.shown(data)}",
        "commit": measured,
        "target": record.target,
        "mean": statistics.mean(dev),
        "standard_deviation": statistics.stdev(dev),
        "p": p,
        "training": median["fit"],
        "whole": median["whole"],
        "runs": rows,
    }


def main() -> None:
    """Measures; writes results/speedrun.json."""
    arguments = argparse.ArgumentParser(description="the shortest training to a dev loss")
    arguments.add_argument("--record", choices=RECORDS, help="only this one")
    arguments.add_argument("data", nargs="*", help="the data, as train.py takes it; the bundled names if left out")
    options = arguments.parse_args()
    if others := [argument for argument in options.data if not argument.startswith("data")]:
        arguments.error(f"{' '.join(others)}: a record takes no settings but those of the data")
    measured = commit()
    for name in [options.record] if options.record else RECORDS:
        print(f"{name}: {RECORDS[name].command}", flush=True)
        kept = measuring.kept("speedrun")
        key = f"{name}, {measuring.shown(options.data)}"
        measuring.keep("speedrun", kept | {key: measure(RECORDS[name], options.data, measured)})


if __name__ == "__main__":
    main()
