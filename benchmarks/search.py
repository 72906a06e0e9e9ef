"""The search behind `experiment=best`: settings of the network tried on dev, and what they gave.

    python -m benchmarks.search data=text data.path=names.txt -- model.hidden=4096 model.dropout=0.4

runs `experiment=best` with the settings after `--` and adds a row to results/search.json: settings, dev and train loss,
seconds. The test split is never looked at here.

The rows of the first search, on the lecture's list, name what differs from the first of them; one seed each, as many
as there was time for. `epochs` are steps * batch_size / examples. `noise` (each character of a context replaced by a
random one with this probability), `cut` (a context cut to a random length with this probability) and another rate for C
were tried in a loop of their own, made things worse, and are no settings of the project. Rows with an `experiment` name
what differs from it as it was then.

Rows with `model.distillation` were tried in a loop of their own, most while the machine was busy, before it became a
setting: half of the target from an n-gram model is worth 0.016 at 1,024 hidden units with dropout 0.1, where without it
0.25 is needed; a token drawn from the mixed distribution in place of the distribution itself is worth nothing; a higher
rate 0.003 to 0.004; width from 1,024 to 2,048 units 0.008, and beyond that little. `experiment=best` is the widest of
these for as many steps as ten minutes allow: dev 1.9188, and 1.9394 on unique names.
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
        "settings": {"experiment": "best"} | dict(setting.split("=", 1) for setting in tried.split()),
        "dev": round(metrics["dev_loss"], 4),
        "train": round(metrics["train_loss"], 4),
        "seconds": metrics["fit_seconds"],
    }
    print(row)
    measuring.keep("search", [*json.loads(RESULTS.read_text())["rows"], row])


if __name__ == "__main__":
    main()
