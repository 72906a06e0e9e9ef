"""Every network of the lectures and of makemore.py, by the experiment of its name: the mean and spread over seeds.

    python -m benchmarks.networks -- data=text data.path=names.txt

trains each with every seed, with and without repeated names; writes results/networks.json, and the table between the
marks in docs/networks.md. The last column is a paired test over the dev names, of the first seed's run against that in
the row above (`python evaluate.py checkpoint=RUN against=RUN`). `--systems gru --seeds 1 2` measures only these, and
keeps other rows; `--runs FOLDER` keeps the runs, and the same command then goes on where it was interrupted.
"""

import statistics
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.leaderboard import train
from makemore.inference.comparison import compare
from makemore.models import model_file

PAGE = measuring.ROOT / "docs" / "networks.md"
BEGIN, END = "<!-- losses: python -m benchmarks.networks -->", "<!-- end of losses -->"
SYSTEMS = ("mlp", "deep", "wavenet", "bow", "rnn", "gru", "lstm", "transformer")
# What no experiment of its name has: the lecture's own recipes.
COMMANDS = {"mlp": "model=mlp", "wavenet": "model=wavenet schedule.drop_at=0.75"}
LISTS = {"all": "data.unique=false", "unique": "data.unique=true"}


def command(name: str) -> str:
    return COMMANDS.get(name, f"experiment={name}")


def measure(names: list[str], seeds: list[int], given: list[str], runs: Path, rows: dict[str, Any]) -> None:
    """Trains each network with every seed on both lists, and keeps the metrics."""
    for seed in seeds:
        for kind, repeated in LISTS.items():
            for name in names:
                arguments = [*command(name).split(), *given, repeated, f"seed={seed}", "callbacks=none"]
                metrics = train(arguments, runs / f"{name}-{kind}-{seed}")
                rows.setdefault(name, {}).setdefault(kind, {})[str(seed)] = metrics
                print(f"{name:12}{kind:8}seed {seed}   dev {metrics['dev_loss']:.4f}", flush=True)
                measuring.keep("networks", rows)


def order(rows: dict[str, Any]) -> list[str]:
    """The networks that were measured, the best dev loss last."""
    measured = [name for name in SYSTEMS if name in rows]
    return sorted(measured, key=lambda name: -mean(rows, name, "all", "dev_loss"))


def compare_neighbours(seed: int, runs: Path, rows: dict[str, Any]) -> None:
    """Compares each network's run with that of the network before it."""
    names = order(rows)
    folders = [runs / f"{name}-all-{seed}" for name in names]
    for name, folder, before in zip(names[1:], folders[1:], folders, strict=False):
        if folder.exists() and before.exists():
            rows[name]["p"] = compare(model_file.load(folder), model_file.load(before), None)["p"]
    measuring.keep("networks", rows)


def values(rows: dict[str, Any], name: str, kind: str, key: str) -> list[float]:
    return [metrics[key] for metrics in rows[name].get(kind, {}).values()]


def mean(rows: dict[str, Any], name: str, kind: str, key: str) -> float:
    return statistics.fmean(values(rows, name, kind, key))


def describe(found: list[float]) -> str:
    """A mean, and the standard deviation if there are several."""
    if not found:
        return ""
    spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
    return f"{statistics.fmean(found):.3f}{spread}"


def table(rows: dict[str, Any]) -> str:
    """The rows as Markdown."""
    heads = ["network", "parameters", "seconds", "train", "dev", "test", "dev, unique", "test, unique", "seeds"]
    heads += ["paired p", "command"]
    lines = [" | ".join(["", *heads, ""]).strip(), "|" + " --- |" * len(heads)]
    for name in order(rows):
        cells = [f"`{name}`", f"{mean(rows, name, 'all', 'parameters'):,.0f}"]
        cells.append(f"{mean(rows, name, 'all', 'fit_seconds'):.0f}")
        cells += [describe(values(rows, name, "all", f"{part}_loss")) for part in ("train", "dev", "test")]
        cells += [describe(values(rows, name, "unique", f"{part}_loss")) for part in ("dev", "test")]
        p = rows[name].get("p")
        cells += [str(len(rows[name]["all"])), "" if p is None else f"{p:.2g}"]
        lines.append("| " + " | ".join([*cells, f"`python train.py {command(name)}`"]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains, keeps and writes."""
    arguments = measuring.table_arguments("every network, over seeds", SYSTEMS, "the data, as train.py takes it")
    arguments.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    options = arguments.parse_args()

    def measure_all(runs: Path, rows: dict[str, Any]) -> None:
        measure(options.systems, options.seeds, options.settings, runs, rows)
        compare_neighbours(options.seeds[0], runs, rows)

    rows = measuring.collect("networks", arguments, options, measure_all, settings=measuring.shown(options.settings))
    measuring.insert(PAGE, BEGIN, table(rows), END)
    print("written: benchmarks/results/networks.json, docs/networks.md")


if __name__ == "__main__":
    main()
