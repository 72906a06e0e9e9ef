"""The search behind `experiment=best`: settings of the network tried on dev, and what they gave.

    python -m benchmarks.search data=text data.path=names.txt -- model.hidden=4096 model.dropout=0.4

runs `experiment=best` with the settings after `--` and adds a row to results/search.json: settings, dev and train loss,
seconds. The test split is never looked at here.

The rows that are there were made on the lecture's list, each with the settings named and otherwise those
of the first row; the minutes that a run takes decided how many there are. `noise` (each character of a context replaced
by a random one with this probability) and `cut` (a context cut to a random length with this probability) were tried in
the same loop with these settings added, made things worse, and are not part of the project.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import measuring

ROOT = Path(__file__).parent.parent
RESULTS = measuring.RESULTS / "search.json"


def main() -> None:
    """Trains once and adds a row."""
    data, _, tried = " ".join(sys.argv[1:]).partition("--")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), "experiment=best", f"hydra.run.dir={folder}/run"]
        subprocess.run([*command, *data.split(), *tried.split()], check=True)
        metrics = json.loads((Path(folder) / "run" / "metrics.json").read_text())
    row = {
        "settings": dict(setting.split("=", 1) for setting in tried.split()),
        "dev": round(metrics["dev_loss"], 4),
        "train": round(metrics["train_loss"], 4),
        "seconds": metrics["fit_seconds"],
    }
    print(row)
    measuring.keep("search", [*json.loads(RESULTS.read_text())["rows"], row])


if __name__ == "__main__":
    main()
