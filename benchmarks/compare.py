"""The lecture's run four ways, side by side: a plain loop, plain Lightning, this project, and its speedrun.

    python -m benchmarks.compare          (or: make bench)

Every round runs each of them once as a process of its own, one straight after the other, on one thread. A ratio to the
plain loop is taken within a round, so that it holds when the machine's speed drifts; the table shows medians.

    plain loop        benchmarks/plain.py: the loop alone, without validation, checkpoint or log. Any other script that
                      takes --steps and prints a line of JSON with `fit_seconds` will do: --plain 'FILE ARGUMENTS'
    plain Lightning   benchmarks/plain_lightning.py, for fewer steps, because all of them take minutes
    makemore          python train.py: with validation, checkpoints, figures, samples, log and progress bar
    speedrun          python train.py experiment=speedrun: as good a model by other means

Training is `fit` without the final figures; whole is the process from start to end, with imports. Of plain Lightning
both are for all steps at the pace of the fewer. `tail` is what a process takes after training's last checkpoint: the
loss of the whole training split, figures, samples, and the end of Python.
"""

import argparse
import json
import shlex
import statistics
import tempfile
import time
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import measuring
from makemore.files import STATE
from makemore.views import style

Row = dict[str, float]


def plain(command: list[str], steps: int, measured: int) -> Row:
    """One run of a script that prints `fit_seconds`, for `measured` steps, scaled to `steps`."""
    whole, printed = measuring.run(*command, "--steps", str(measured))
    fit = json.loads(printed.strip().splitlines()[-1])["fit_seconds"]
    scaled = fit * steps / measured
    return {"fit": scaled, "whole": whole - fit + scaled, "us": fit / measured * 1e6}


def makemore(*overrides: str) -> Row:
    """One run of train.py, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        whole, metrics = measuring.train([*overrides], Path(folder) / "run")
        tail = time.time() - (Path(folder) / "run" / STATE).stat().st_mtime
    fit, steps = metrics["fit_seconds"], metrics["steps"]
    return {
        "fit": fit,
        "steps": steps,
        "whole": whole,
        "us": fit / steps * 1e6,
        "tail": tail,
        "dev": metrics["dev_loss"],
    }


def one_round(steps: int, lightning_steps: int, loop: list[str], extra: list[str]) -> dict[str, Row]:
    """Each system once."""
    return {
        "plain loop": plain(loop, steps, steps),
        "plain Lightning": plain(["-m", "benchmarks.plain_lightning"], steps, lightning_steps),
        "makemore": makemore(f"steps={steps}", *extra),
        "speedrun": makemore("experiment=speedrun", *extra),
    }


def medians(rounds: list[dict[str, Row]]) -> dict[str, Row]:
    """The median of every number, and of every ratio within a round."""
    table = {}
    for system in rounds[0]:
        rows = [
            measured[system]
            | {f"{key}_ratio": measured[system][key] / measured["plain loop"][key] for key in ("fit", "whole")}
            for measured in rounds
        ]
        table[system] = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return table


def show(table: dict[str, Row], steps: int) -> None:
    """Prints the table."""
    print(f"{steps:,} steps of 32       training     µs a step   to the loop      whole   to the loop    dev loss")
    for system, row in table.items():
        dev = f"{row['dev']:.4f}" if "dev" in row else ""
        print(
            f"{system:22}{row['fit']:8.1f} s {row['us']:13,.1f} {row['fit_ratio']:13.3f}"
            f"{row['whole']:10.1f} s {row['whole_ratio']:13.3f}   {dev:>9}"
        )


@style.styled
def draw(table: dict[str, Row], steps: int, path: Path) -> None:
    """Seconds of training as bars on a logarithmic scale."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    names = {"makemore": "makemore\n(python train.py)", "speedrun": "makemore\n(experiment=speedrun)"}
    order = ["plain Lightning", "plain loop", "makemore", "speedrun"]
    seconds = [table[system]["fit"] for system in order]
    colours = [style.GREY, style.GREY, style.BLUE, style.BLUE]
    bars = axes.barh([names.get(system, system) for system in order], seconds, color=colours)
    digits = [0 if value >= 10 else 1 if value >= 1 else 2 for value in seconds]
    axes.bar_label(bars, [f" {value:,.{some}f} s" for value, some in zip(seconds, digits, strict=True)])
    axes.invert_yaxis()
    style.set_logarithmic(axes, "x", apart=0.1)
    axes.set_xlim(min(0.1, min(seconds) / 2), max(seconds) * 3)
    axes.grid(axis="y", visible=False)
    few = round(table["speedrun"]["steps"])
    axes.set_xlabel(f"seconds of training: {steps:,} steps, in the speedrun {few}")
    style.save(figure, path)


def main() -> None:
    """Prints a line a round and the table; writes results/compare.json and docs/speed.png."""
    arguments = argparse.ArgumentParser(description="plain loop, plain Lightning and makemore side by side")
    arguments.add_argument("--steps", type=int, default=200_000)
    arguments.add_argument("--lightning-steps", type=int, default=5_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--plain", default="-m benchmarks.plain", help="what Python runs as the plain loop")
    arguments.add_argument("extra", nargs="*", help="overrides for train.py")
    options = arguments.parse_args()
    makemore("steps=20", *options.extra)  # so that the compiled steps are there
    rounds = []
    for number in range(options.rounds):
        rounds.append(one_round(options.steps, options.lightning_steps, shlex.split(options.plain), options.extra))
        print(
            f"round {number + 1} of {options.rounds}: "
            + ", ".join(f"{system} {row['us']:,.1f} µs a step" for system, row in rounds[-1].items()),
            flush=True,
        )
    table = medians(rounds)
    print()
    show(table, options.steps)
    print(f"\nmedians of {options.rounds} rounds; one thread; {measuring.machine()}")
    print(f"after training, until the process is gone: {table['makemore']['tail']:.1f} s")
    settings = {"plain": options.plain, "overrides": options.extra, "lightning_steps": options.lightning_steps}
    measuring.keep("compare", settings | {"steps": options.steps, "rounds": rounds, "medians": table})
    draw(table, options.steps, measuring.ROOT / "docs" / "speed.png")
    print("written: benchmarks/results/compare.json, docs/speed.png")


if __name__ == "__main__":
    main()
