"""What more names would bring: the dev loss of some systems with an eighth, a quarter, half and all of the names.

    python -m benchmarks.learning_curve names.txt

trains each system on the first names of the lecture's train split, and measures the whole dev split. Train names are
those of one shuffle, so that each share holds the smaller ones. The steps shrink with the root of the share: fewer
names take fewer steps, but more passes over them. Shown is the best evaluation of a run. Writes
results/learning_curve.json and docs/learning_curve.png; `--runs FOLDER` keeps the runs, and the same command then goes
on where it was interrupted.
"""

import argparse
import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import measuring
from benchmarks.leaderboard import key, train
from makemore.data import corpus
from makemore.data.split import split
from makemore.views import style

SYSTEMS = {
    "MLP, lecture 2": "",
    "6-gram, Kneser-Ney": "model=ngram data.block_size=5",
    "LSTM": "experiment=lstm",
}
SHARES = (8, 4, 2, 1)  # one eighth of the names, and so on
STEPS = {"MLP, lecture 2": 200_000, "LSTM": 3_000}  # with all of the names


def measure(path: Path, runs: Path) -> dict[str, dict[str, float]]:
    """The best dev loss of each system, by the number of train names."""
    parts = split(corpus.read(path), [0.8, 0.1, 0.1], seed=42)
    for name, documents in zip(("dev", "test"), parts[1:], strict=True):
        (runs / f"{name}.txt").write_text("\n".join(documents), encoding="utf-8")
    rows: dict[str, dict[str, float]] = {}
    for share in SHARES:
        names = parts[0][: len(parts[0]) // share]
        file = runs / f"train-{len(names)}.txt"
        file.write_text("\n".join(names), encoding="utf-8")
        data = ["data=text", f"data.path={file}", f"data.dev_path={runs}/dev.txt", f"data.test_path={runs}/test.txt"]
        for system, arguments in SYSTEMS.items():
            steps = [f"steps={round(STEPS[system] / math.sqrt(share))}"] if system in STEPS else []
            metrics = train([*arguments.split(), *steps, *data], runs / f"{key(system)}-{len(names)}")
            rows.setdefault(system, {})[str(len(names))] = metrics["best_dev_loss"]
            print(f"{len(names):8,} names   {system:25}dev {metrics['best_dev_loss']:.4f}", flush=True)
    return rows


def extrapolate(losses: dict[str, float]) -> float:
    """What doubling the names once more would take off, if it took off what the last doubling did, less its decline."""
    *_, before, middle, last = losses.values()
    return (middle - last) * min(1.0, (middle - last) / (before - middle))


@style.styled
def draw(rows: dict[str, dict[str, float]], path: Path) -> None:
    """Dev loss against train names, logarithmic, with the next doubling extrapolated as a dotted line."""
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.add_subplot()
    for system, losses in rows.items():
        x, y = [int(names) for names in losses], list(losses.values())
        (line,) = axes.plot(x, y, "o-", markersize=6)
        axes.plot([x[-1], 2 * x[-1]], [y[-1], y[-1] - extrapolate(losses)], ":", color=line.get_color())
        axes.annotate(f"{system}, {y[-1]:.3f}", (x[-1], y[-1]), (8, 4), textcoords="offset points", fontsize=11)
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{names:,}" for names in x])
    axes.minorticks_off()
    axes.set_xlim(x[0] * 0.9, x[-1] * math.e)
    axes.set_xlabel("names to learn from, logarithmic; dotted: twice as many, extrapolated")
    axes.set_ylabel("dev loss, nats per character")
    style.save(figure, path)


def main() -> None:
    """Trains, keeps and draws."""
    arguments = argparse.ArgumentParser(description="the dev loss against the number of names")
    arguments.add_argument("path", type=Path, help="the names, one a line")
    arguments.add_argument("--runs", help="keep the runs in this folder, and train none again that has finished there")
    options = arguments.parse_args()
    with measuring.runs_folder(options.runs) as folder:
        runs = Path(folder).resolve()
        runs.mkdir(parents=True, exist_ok=True)
        rows: dict[str, Any] = measure(options.path, runs)
    measuring.keep("learning_curve", rows)
    draw(rows, measuring.ROOT / "docs" / "learning_curve.png")
    print("written: benchmarks/results/learning_curve.json, docs/learning_curve.png")


if __name__ == "__main__":
    main()
