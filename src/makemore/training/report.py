"""The last lines of a run: losses, time, where things are, and what to do next."""

import math
import shlex
from pathlib import Path
from typing import Any

from makemore import files
from makemore.config.schema import Level
from makemore.config.status import Status

HOW = {
    Status.finished: "finished",
    Status.interrupted: "stopped early by Ctrl-C or SIGTERM",
    Status.diverged: "stopped early because the loss was no longer a number; try a smaller schedule.lr",
}

# TensorBoard shows nothing of more runs until some of them are ticked.
MOST_RUNS = 40


def report(metrics: dict[str, Any], level: Level, run_folder: Path, seconds: float, saving: float) -> str:
    """The closing lines of a run. `seconds` is its wall time, `saving` the seconds of training spent on saving states.

    The model of a run that ends with a suggestion, as a search for a learning rate does, is not worth sampling.
    """
    useful = "suggestion" not in metrics
    keys = [key.removesuffix("_loss") for key in metrics if key.endswith("_loss")]  # train, dev, best_dev, test
    how = HOW[Status(metrics["status"])]
    if metrics["status"] == Status.finished and metrics["dev_loss"] == math.inf:
        how += "; dev contains tokens that the model considers impossible, as counts without smoothing do"
    run_folder = files.shorten(run_folder)
    steps, parameters = metrics["steps"], f"{metrics['parameters']:,} parameters"
    fit_seconds = max(metrics["fit_seconds"], 0.001)
    rate = f" ({fit_seconds / steps * 1e6:.0f} µs a step, {saving / fit_seconds:.0%} for saving)" if steps else ""
    shown, more = [], []
    for key in keys:
        name = key.replace("_", " ")
        shown.append(f"{name} {metrics[f'{key}_loss']:.4f}")
        if (bits := f"{key}_bits_per_character") in metrics:
            units = f"perplexity {metrics[f'{key}_perplexity']:.1f}, {metrics[bits]:.4f} bits per character"
            more.append(("", f"{name} {units}"))
    rows = [
        ("run", how),
        *([("loss", "   ".join(shown) + f"   (nats per {level})"), *more] if useful else []),
        ("model", f"{parameters} after {steps:,} steps" if steps else f"{parameters}, fitted at once"),
        ("time", f"{fit_seconds:.1f} s training{rate}, {seconds:.1f} s with data and figures"),
        ("folder", str(run_folder)),
    ]
    next_commands = list[str]()
    if any(run_folder.glob(files.EVENTS)):
        next_commands.append(f"tensorboard --host localhost --logdir {shlex.quote(str(choose_logs(run_folder)))}")
    if useful and math.isfinite(metrics["best_dev_loss"]):
        next_commands.insert(0, f"python sample.py {shlex.quote(f'checkpoint={run_folder}')}")
    rows += zip(("next", ""), next_commands, strict=False)
    return "\n" + "\n".join(f"{name:<8}{text}" for name, text in rows) + "\n"


def choose_logs(run_folder: Path) -> Path:
    """What TensorBoard should show: all of `outputs`, or the part of it around a run that has few enough runs."""
    # From `outputs` inward.
    around = list(run_folder.parents)[-2::-1] if run_folder.parts[:1] == ("outputs",) else []
    return next((folder for folder in around if has_few_runs(folder)), run_folder)


def has_few_runs(folder: Path) -> bool:
    """Whether TensorBoard shows all runs of a folder by itself."""
    runs: set[Path] = set()
    for path in folder.rglob(files.EVENTS):
        runs.add(path.parent)
        if len(runs) > MOST_RUNS:
            return False
    return True
