"""Kill runs at random moments, resume them, and compare them with runs that nobody killed.

    python -m benchmarks.soak [--kills 200] [--seed 1] [--together 2]

Each of the settings below is trained once in peace. Then the same command is killed (SIGKILL) at a random moment,
resumed with `resume=FOLDER`, killed again, and so on until it ends. Everything that both leave must be equal: the model
file, weights and optimizer of the last state, metrics but for times, `loss.png`, samples, and TensorBoard's charts.
"""

import argparse
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks import measuring

TRAIN = Path(__file__).parent.parent / "train.py"
SETTINGS = {
    "lecture": ("steps=60000",),
    "dropout": ("steps=6000", "optimizer=adamw", "schedule=one_cycle", "model.init=kaiming", "model.dropout=0.2"),
    "epochs": ("steps=40000", "data.replacement=false", "steps_per_execution=37", "eval_every=1000"),
    "momentum": ("steps=8000", "optimizer.momentum=0.9", "schedule=cosine", "model.gradients=closed_form"),
    "distilled": ("steps=1500", "distillation=0.5", "optimizer=adamw", "data.block_size=5"),
    "wavenet": ("steps=1500", "model=wavenet", "data.block_size=8"),
    "diagnosed": ("steps=2500", "callbacks=[default,saturation,scales,update_ratio]"),
}
# Files that must be equal, byte for byte.
SAME_BYTES = ("best.safetensors", "samples.txt", "loss.png")
# Metrics and charts that a clock has a part in.
TIMES = ("fit_seconds", "examples_per_second", "examples_per_s")


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A run in the background; it saves its state every tenth of a second."""
    command = [sys.executable, str(TRAIN), *arguments, "trainer.save_every=0.1"]
    output = (folder.parent / f"{folder.name}.log").open("a")
    return subprocess.Popen(command, cwd=folder.parent, stdout=output, stderr=output, text=True)


def compare(one: Path, other: Path) -> list[str]:
    """What differs between two runs."""
    different = [name for name in SAME_BYTES if read(one / name) != read(other / name)]
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (one, other)]
    different += [f"metrics.{key}" for key in metrics[0] if key not in TIMES and metrics[0][key] != metrics[1].get(key)]
    states = [torch.load(run / "last.ckpt", weights_only=True) for run in (one, other)]
    for part in ("state_dict", "optimizer_states"):
        if not equal(states[0][part], states[1][part]):
            different.append(f"last.ckpt: {part}")
    charts = [read_charts(run) for run in (one, other)]
    return different + [f"chart {tag}" for tag in charts[0] if charts[0][tag] != charts[1].get(tag)]


def read(path: Path) -> bytes | None:
    """What a file holds; None without one, as `samples.txt` of a run that draws none."""
    return path.read_bytes() if path.exists() else None


def equal(one: Any, other: Any) -> bool:
    """Whether two nested states are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def read_charts(run: Path) -> dict[str, list[tuple[int, str]]]:
    """The points of TensorBoard's charts, as texts, so that NaN equals NaN."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.endswith(TIMES)]
    return {tag: [(each.step, repr(each.value)) for each in events.Scalars(tag)] for tag in tags}


def soak(folder: Path, overrides: tuple[str, ...], whole: float, chance: random.Random) -> int:
    """Runs, kills and resumes until the run ends; returns how often it was killed."""
    arguments = [*overrides, f"hydra.run.dir={folder}"]
    for kills in range(1000):
        process = start(folder, *arguments)
        try:
            code = process.wait(chance.uniform(0.3 * whole, whole))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        else:
            if code != 0:
                raise SystemExit(folder.with_name(f"{folder.name}.log").read_text()[-3000:])
            return kills
        if (folder / "config.yaml").exists():
            arguments = [f"resume={folder}"]
    raise SystemExit(f"{folder}: never ended")


def train_in_peace(place: Path, name: str) -> float:
    """A run that nobody kills; returns its seconds."""
    began = time.monotonic()
    if start(place / name, *SETTINGS[name], f"hydra.run.dir={place / name}").wait() != 0:
        raise SystemExit((place / f"{name}.log").read_text())
    return time.monotonic() - began


def main() -> None:
    """Prints a line for each run; writes results/soak.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--together", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    kills, rows = 0, list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.together) as pool:
        place = Path(temporary)
        seconds = dict(zip(SETTINGS, pool.map(partial(train_in_peace, place), SETTINGS), strict=True))
        for number in itertools.count():
            if kills >= options.kills:
                break
            # Moments that do not depend on which run comes first.
            chances = [random.Random(f"{options.seed} {number} {name}") for name in SETTINGS]
            folders = [place / f"{name}-{number}" for name in SETTINGS]
            killed = pool.map(soak, folders, SETTINGS.values(), seconds.values(), chances)
            for name, folder, times in zip(SETTINGS, folders, killed, strict=True):
                different = compare(place / name, folder)
                kills += times
                rows.append({"settings": name, "kills": times, "different": different})
                result = ", ".join(different) or "equal"
                print(f"{name:<10} killed {times:>2} times   {result}   ({kills} kills)", flush=True)
                shutil.rmtree(folder)
    wrong = sum(bool(row["different"]) for row in rows)
    print(f"{len(rows)} runs, {kills} kills, {wrong} different")
    measuring.keep("soak", {"kills": kills, "runs": len(rows), "different": wrong, "rows": rows})


if __name__ == "__main__":
    main()
