"""A sweep on all cores against the same sweep one run after another, and against what this machine's cores allow.

    python -m benchmarks.sweep [--rounds 5] [--steps 200000] [--no-commands] [KEY=VALUE ...]

The sweep is that of docs/sweeps.md: 3 embedding sizes, 2 hidden widths, 3 block sizes. One after another it runs in one
process (Hydra's own launcher) and as 18 commands. What the cores allow is measured on work that shares nothing: the
compiled training step, and plain Python, each in one process and in one process a core. Where two "cores" are two
threads of one, loops that keep its arithmetic units busy gain nothing from the second. A round takes ten minutes, six
without the commands.
"""

import argparse
import functools
import itertools
import statistics
import tempfile
from collections.abc import Callable

import torch

from benchmarks import measuring
from makemore import machine
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp import numba_steps as compiled
from makemore.models.mlp.config import Init
from makemore.training import processes

GRID = {"model.emb_dim": (2, 10, 30), "model.hidden": (100, 300), "data.block_size": (3, 5, 8)}


def train(*arguments: str) -> None:
    """One command, whose runs are thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        folders = f"hydra.run.dir={folder}/run", f"hydra.sweep.dir={folder}/sweep"
        measuring.run(str(measuring.ROOT / "train.py"), *folders, *arguments)


def swept(*arguments: str) -> None:
    """The whole sweep as one command."""
    train("-m", *(f"{key}={','.join(map(str, values))}" for key, values in GRID.items()), *arguments)


def commands(*arguments: str) -> None:
    """The same runs as a command each, one after another."""
    for values in itertools.product(*GRID.values()):
        train(*(f"{key}={value}" for key, value in zip(GRID, values, strict=True)), *arguments)


def steps(count: int = 30_000) -> None:
    """Compiled steps of the lecture's network, and nothing else."""
    g = torch.Generator().manual_seed(1)
    p = mlp.hidden_innermost(mlp.initial(27, 3, 10, 200, Init.kaiming, g))
    network = compiled.Network(p, mlp.Parameters(*map(torch.zeros_like, p)))
    contexts = torch.randint(27, (1000, 32, 3), generator=g)  # (K, B, block_size)
    for _ in range(count // 1000):
        network.descend(contexts, contexts[..., 0].contiguous(), [0.01] * 1000)


def plain_python(count: int = 10_000_000) -> None:
    """Additions of Python's own."""
    total = 0
    for number in range(count):
        total += number


def gain(work: Callable[[], None]) -> float:
    """How many times as much one process a core does, in the same time, as one process."""
    cores = machine.cores()
    one = measuring.seconds(lambda: list(processes.run_all([work], 1)))
    all_ = measuring.seconds(lambda: list(processes.run_all([work] * cores, cores)))
    return cores * one / all_


def main() -> None:
    """Prints the ratios of each round and their medians; writes results/sweep.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--no-commands", action="store_true", help="leave out the 18 commands, which take longest")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    settings = (f"steps={options.steps}", *options.overrides)
    torch.set_num_threads(1)
    compiled.prepare()
    ways = {
        "all cores": functools.partial(swept, *settings),
        "one after another in a process": functools.partial(swept, "hydra/launcher=basic", *settings),
        "one command after another": functools.partial(commands, *settings),
    }
    if options.no_commands:
        del ways["one command after another"]
    rows = []
    for number in range(options.rounds):
        row = {name: round(measuring.seconds(work), 2) for name, work in ways.items()}
        row |= {
            "cores allow, compiled steps": round(gain(steps), 2),
            "cores allow, Python": round(gain(plain_python), 2),
        }
        rows.append(row)
        print(f"round {number + 1}: " + "   ".join(f"{name} {value:.2f}" for name, value in row.items()), flush=True)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    for name in list(ways)[1:]:
        ratio = statistics.median(row[name] / row["all cores"] for row in rows)
        print(f"all cores are {ratio:.2f} times as fast as {name}")
        medians[f"times as fast as {name}"] = round(ratio, 3)
    measuring.keep("sweep", {"cores": machine.cores(), "settings": list(settings), "rounds": rows, "medians": medians})


if __name__ == "__main__":
    main()
