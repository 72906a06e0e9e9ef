"""Cost against size: one step of training, and the memory it takes, along each axis by itself.

    python -m benchmarks.scale

starts from the lecture's run (emb 10, hidden 200, block 3, minibatches of 32, 27 characters, 32 thousand names) and
changes one size at a time. Every point is a process of its own: it reads a made-up text, builds what `train.py` would
build, in the form that `auto` picks, and times steps as the module takes them, without Lightning: the median of calls,
and of three processes (one where the text is long). Memory is the peak after all imports, less what they had taken.

The grey line in a panel rises in proportion to the work and goes through its largest point: where the points leave the
line, cost is not linear.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import measuring
from makemore.views import style

ROOT = measuring.ROOT
EMB_DIM = 10  # conf/model/mlp.yaml's
START = {"hidden": 200, "block_size": 3, "batch_size": 32, "vocabulary": 27, "documents": 32_000}
AXES = {
    "hidden": [50, 100, 200, 400, 800, 1600, 3200],
    "block_size": [2, 3, 4, 8, 16, 32],
    "batch_size": [32, 128, 512, 2048, 8192],
    "vocabulary": [27, 100, 1000, 10_000, 50_000],
    "documents": [10_000, 100_000, 1_000_000, 10_000_000],
}
LABELS = {
    "hidden": "hidden units",
    "block_size": "block size",
    "batch_size": "minibatch",
    "vocabulary": "vocabulary",
    "documents": "documents of text",
}
# Documents are this long; a document ends with a boundary.
LENGTH = 6
FIRST_CHARACTER = 0x20000  # from here on Unicode has more than 50,000 characters in a row
SECONDS = 2.0  # of steps at a point, at least


def write_text(path: Path, vocabulary: int, documents: int) -> None:
    """Random documents that use every character but the boundary."""
    chance = np.random.default_rng(0)
    first = ord("a") if vocabulary <= 27 else FIRST_CHARACTER
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, documents, 10**6):
            count = min(10**6, documents - start)
            codes = chance.integers(0, vocabulary - 1, (count, LENGTH)).astype(np.uint32)
            if start == 0:
                codes.reshape(-1)[: vocabulary - 1] = np.arange(vocabulary - 1)
            lines = np.full((count, LENGTH + 1), ord("\n"), dtype="<u4")
            lines[:, :LENGTH] = codes + first
            file.write(lines.tobytes().decode("utf-32-le"))


def forget_peak() -> None:
    """Lets the peak begin again from what is held now, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Bytes of memory that this process has held at most."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(point: dict[str, int], text: Path) -> dict[str, Any]:
    """Times one point; to be called in a process of its own."""
    import torch
    from hydra import compose, initialize_config_dir

    from makemore.config import compose as configuration
    from makemore.models import registry
    from makemore.models.mlp import numba_steps as compiled
    from makemore.training import execution
    from makemore.training import run as training
    from makemore.training.steps import take_steps

    configuration.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        nodes = compose(
            "train",
            [
                "data=text",
                f"data.path={text}",
                f"data.block_size={point['block_size']}",
                f"data.batch_size={point['batch_size']}",
                f"model.hidden={point['hidden']}",
                "model.init=kaiming",
                "schedule.lr=0.01",
            ],
        )
    config = configuration.check_run(nodes, registry.config_of)
    compiled.prepare()
    forget_peak()
    before = peak()
    started = time.perf_counter()
    data = training.read_data(config)
    reading = time.perf_counter() - started
    model = training.make_model(config, data.dataset, data.block_size)
    chosen = execution.choose(config, model, point["batch_size"])
    torch.set_num_threads(chosen.threads)
    data.deal(execution.plan_calls(config, chosen.steps_per_execution), "cpu")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    items = iter(data.train_dataloader())
    paces: list[float] = []  # seconds a step, of every call but the first, which warms up
    until, batch = time.perf_counter() + SECONDS, next(items)
    while len(paces) < 4 or time.perf_counter() < until:
        rates = [0.01] * len(batch.targets)
        started = time.perf_counter()
        losses = take_steps(model, optimizer, batch, rates)
        batch = next(items)
        paces.append((time.perf_counter() - started) / len(losses))
        assert torch.isfinite(losses).all()
    return {
        **point,
        "us": statistics.median(paces[1:]) * 1e6,
        "bytes": peak() - before,
        "reading": reading,
        "examples": sum(map(len, (data.dataset.train, data.dataset.dev, data.dataset.test))),
        "parameters": model.size(),
        "picked": str(chosen),
    }


def in_a_process(point: dict[str, int], folder: Path) -> dict[str, Any]:
    """`measure`, where its memory is its own."""
    text = folder / f"{point['vocabulary']}-{point['documents']}.txt"
    if not text.exists():
        write_text(text, point["vocabulary"], point["documents"])
    command = [sys.executable, "-m", "benchmarks.scale", "--point", json.dumps(point), "--text", str(text)]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def median_of(point: dict[str, int], folder: Path, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Three processes' measurements of a point, the one of median pace; the start of every axis is measured once."""
    name = json.dumps(point)
    if name not in known:
        repeats = 3 if point["documents"] < 10**6 else 1
        rows = [in_a_process(point, folder) for _ in range(repeats)]
        known[name] = sorted(rows, key=lambda row: float(row["us"]))[repeats // 2]
    return known[name]


def proportional(axis: str, row: dict[str, Any]) -> float:
    """The work of a point, to which time would be proportional."""
    if axis == "documents":
        return float(row["examples"])
    return float(row["batch_size"] * row["hidden"] * (row["block_size"] * EMB_DIM + row["vocabulary"]))


@style.styled
def draw(table: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel an axis: time above, memory below."""
    figure = Figure(figsize=(15, 7), layout="constrained")
    panels = figure.subplots(2, len(table), sharex="col")
    for column, (axis, rows) in enumerate(table.items()):
        sizes = [row[axis] for row in rows]
        work = np.array([proportional(axis, row) for row in rows])
        above, below = panels[0, column], panels[1, column]
        reads = axis == "documents"
        times = [row["reading"] * 1e3 if reads else row["us"] for row in rows]
        above.plot(sizes, work / work[-1] * times[-1], color=style.LIGHT_GREY, linewidth=4, zorder=1)
        above.plot(sizes, times, color=style.BLUE, marker="o", zorder=2)
        above.set_title("reading the text, ms" if reads else "one step, µs")
        # Whole decades and a little more, so that every panel has numbers to read.
        above.set_ylim(0.8 * 10 ** np.floor(np.log10(min(times))), 1.25 * 10 ** np.ceil(np.log10(max(times))))
        below.plot(sizes, [max(row["bytes"], 2**20) / 1e6 for row in rows], color=style.ORANGE, marker="o")
        below.set_title("peak memory, MB")
        below.set_xlabel(LABELS[axis])
        for axes in (above, below):
            style.set_logarithmic(axes, "x")
            style.set_logarithmic(axes, "y", apart=0.12)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        below.set_ylim(1, 5000)
        ticks = sizes if len(sizes) <= 5 else sizes[::-2]  # the last one is named
        below.set_xticks(ticks, [short(size) for size in ticks])
    style.save(figure, path)


def short(size: int) -> str:
    """10000 as 10k, 1000000 as 1M."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if size >= 10 * unit or (size >= unit and size % unit == 0):
            return f"{size / unit:g}{name}"
    return str(size)


def main() -> None:
    """Prints a line a point; writes results/scale.json and docs/scale.png."""
    arguments = argparse.ArgumentParser(description="cost against size")
    arguments.add_argument("--axes", nargs="*", choices=AXES, default=list(AXES))
    arguments.add_argument("--point", help="measure this point here and print it as JSON")
    arguments.add_argument("--text", type=Path)
    options = arguments.parse_args()
    if options.point:
        print(json.dumps(measure(json.loads(options.point), options.text)))
        return
    table: dict[str, list[dict[str, Any]]] = {}
    known: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for axis in options.axes:
            for size in AXES[axis]:
                row = median_of(START | {axis: size}, Path(folder), known)
                table.setdefault(axis, []).append(row)
                print(
                    f"{LABELS[axis]:18}{size:>10,}  {row['us']:12,.1f} µs a step  {row['bytes'] / 1e6:9,.0f} MB  "
                    f"read in {row['reading']:6.2f} s   {row['picked']}",
                    flush=True,
                )
    print(measuring.machine())
    measuring.keep("scale", table)
    draw(table, ROOT / "docs" / "scale.png")
    print("written: benchmarks/results/scale.json, docs/scale.png")


if __name__ == "__main__":
    main()
