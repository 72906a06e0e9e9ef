"""Every picture in docs/ that a program draws, made again.

    make figures                                  # all of them: about five minutes on two cores
    python -m benchmarks.figures loss.png speed.png

Runs are trained for theirs, as the text beside each says; what a benchmark measured is drawn from its kept results.
docs/hparams.png and docs/explore.png are screenshots of a browser: of TensorBoard after the sweep beside it in
docs/sweeps.md, and of the page that experiment=lecture_2d writes.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import compare, forms, leaderboard, learning_curve, measuring, scale

DOCS = measuring.ROOT / "docs"
# What train.py is given.
RUNS = {
    "embedding.png": "experiment=lecture_2d",
    "loss.png": "",
    "bigram.png": "model=ngram data.block_size=1",
    "context_table.png": "experiment=context_table",
}
SWEEPS = {"sweep_keys.png": "steps=20000 model.emb_dim=2,10,30 model.hidden=100,300 data.block_size=3,5,8"}
RESULTS: dict[str, Callable[[Path], None]] = {
    "speed.png": lambda path: compare.draw((kept := measuring.kept("compare"))["medians"], kept["steps"], path),
    "forms.png": lambda path: forms.draw(measuring.kept("forms")["axes"], measuring.kept("forms")["cores"], path),
    "scale.png": lambda path: scale.draw(measuring.kept("scale"), path),
    "learning_curve.png": lambda path: learning_curve.draw(measuring.kept("learning_curve"), path),
    "quality.png": lambda path: leaderboard.draw(measuring.kept("leaderboard"), path),
}
ALL = (*RESULTS, *RUNS, *SWEEPS)


def make(name: str, folder: Path) -> None:
    """Writes one picture; a run or a sweep has its folder below `folder`."""
    path, run = DOCS / name, folder / name.removesuffix(".png")
    if name in RESULTS:
        RESULTS[name](path)
        return
    if name in RUNS:
        measuring.train([*RUNS[name].split(), "logger=none"], run)
    else:
        sweep = [f"hydra.sweep.dir={run}", "callbacks=none", "logger=none"]
        measuring.run(str(measuring.ROOT / "train.py"), "-m", *sweep, *SWEEPS[name].split())
    shutil.copyfile(run / name, path)


def main() -> None:
    """Makes all pictures, or those that are named."""
    arguments = argparse.ArgumentParser(description="the pictures in docs/")
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"all if left out: {', '.join(ALL)}")
    options = arguments.parse_args()
    if unknown := [name for name in options.names if name not in ALL]:
        arguments.error(f"{unknown[0]} is not one of the pictures {', '.join(ALL)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or ALL:
            make(name, Path(folder))
            print(f"written: docs/{name}", flush=True)


if __name__ == "__main__":
    main()
