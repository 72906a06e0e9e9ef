"""`experiment=speedrun` from ten seeds: does the lecture's dev loss of 2.17 hold, and in what time?

    python -m benchmarks.speedrun                                    (the bundled names)
    python -m benchmarks.speedrun data=text data.path=names.txt      (the lecture's)

Every run is a process of its own; the time of a whole command includes its imports.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import measuring

ROOT = Path(__file__).parent.parent
SEEDS = 10
TARGET = 2.17


def run(seed: int, overrides: list[str]) -> dict[str, float]:
    """One run: dev loss, seconds of training, seconds of the process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), "experiment=speedrun", f"seed={seed}", *overrides]
        whole = measuring.seconds(lambda: subprocess.run(command, cwd=folder, capture_output=True, check=True))
        metrics = json.loads(next(Path(folder).rglob("metrics.json")).read_text())
    print(f"seed {seed}   dev {metrics['dev_loss']:.4f}   fit {metrics['fit_seconds']:.2f} s   whole {whole:.1f} s")
    return {"seed": seed, "dev": metrics["dev_loss"], "fit": metrics["fit_seconds"], "whole": whole}


def main() -> None:
    """Prints a line a seed, mean, median and spread; writes results/speedrun.json."""
    rows = [run(seed, sys.argv[1:]) for seed in range(SEEDS)]
    dev = [row["dev"] for row in rows]
    print(
        f"dev mean {statistics.mean(dev):.4f}, median {statistics.median(dev):.4f}, from {min(dev):.4f} to "
        f"{max(dev):.4f}, standard deviation {statistics.stdev(dev):.4f}: "
        f"the mean {'holds' if statistics.mean(dev) <= TARGET else 'misses'} {TARGET}"
    )
    for name in ("fit", "whole"):
        print(f"{name}: median {statistics.median(row[name] for row in rows):.2f} s")
    kept = measuring.RESULTS / "speedrun.json"
    both = json.loads(kept.read_text())["rows"] if kept.exists() else {}
    measuring.keep("speedrun", both | {" ".join(Path(argument).name for argument in sys.argv[1:]) or "bundled": rows})


if __name__ == "__main__":
    main()
