"""Every system on the same split, with and without repeated names: the leaderboard of docs/results.md.

    python -m benchmarks.leaderboard data=text data.path=names.txt

trains each system as a process of its own, twice, with data.unique=false and true, on the data that the arguments name
(the bundled names if none), and mixtures of some of them; writes results/leaderboard.json, the table between the marks
in docs/results.md, a shorter one in README.md, and docs/quality.png: every system's dev loss against its seconds of
training, a mixture's with those of its members. It takes hours. `--systems bigram-neural gru -- data=...` trains only
these, and keeps other rows; `--seeds 1 2 3` trains each with these seeds, and `--lists all` only on the list with
repeated names; `--runs FOLDER` keeps the runs, and the same command then goes on where it was interrupted; `--table`
only writes the tables and the figure again.

Losses are means over the seeds, with the standard deviation; seconds are those of the fastest run. A row's p is a
paired test over the dev names (`python evaluate.py checkpoint=RUN against=RUN`) of its run against that of the row
above. The test split is looked at once, by the run whose row it stands in; nothing is chosen by it.
"""

import itertools
import math
import re
import shutil
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks import measuring
from makemore.config.status import ENDED
from makemore.files import read_metrics
from makemore.inference.comparison import compare
from makemore.models import model_file
from makemore.views import style

PAGE, README = measuring.ROOT / "docs" / "results.md", measuring.ROOT / "README.md"
BEGIN, END = "<!-- leaderboard: python -m benchmarks.leaderboard -->", "<!-- end of the leaderboard -->"
PARTS = ("train", "dev", "test")
LISTS = {"all": "data.unique=false", "unique": "data.unique=true"}
MOST_LETTERS = 70  # of settings in the README's table
LABEL = 0.031  # nats from one label in the figure to the next


class System(NamedTuple):
    """A row of the table.

    Attributes:
        name: as a reader knows it.
        arguments: what `train.py` is given.
        members: the systems that it mixes.
        published: train and dev loss elsewhere, with repeated names.
    """

    name: str
    arguments: str
    members: tuple[str, ...] = ()
    published: str = ""


SYSTEMS = [
    System(
        "bigram, counts (add-one)",
        "model=ngram model.smoothing=add_k data.block_size=1",
        published="2.4546, of all names on all names",
    ),
    System("bigram, neural", "model=bigram"),
    System("MLP, lecture 2", "", published="2.126 / 2.170"),
    System("MLP, the speedrun", "experiment=speedrun"),
    System("MLP, better initial weights (lecture 3)", "model.init=kaiming", published="2.036 / 2.103"),
    System("4-gram, Kneser-Ney", "model=ngram data.block_size=3", published="dev 2.061 with one discount"),
    System("deep MLP, lecture 3", "experiment=deep"),
    System("bag of words", "experiment=bow"),
    System("RNN", "experiment=rnn"),
    System("GRU", "experiment=gru"),
    System("LSTM", "experiment=lstm"),
    System("Transformer", "experiment=transformer"),
    System(
        "Transformer, makemore.py's settings",
        "model=transformer optimizer=adamw optimizer.betas=[0.9,0.99] schedule=constant schedule.lr=0.0005 "
        "data.batch_size=32 steps=20000",
    ),
    System("WaveNet, lecture 5", "model=wavenet schedule.drop_at=0.75", published="1.769 / 1.993"),
    System("5-gram, Kneser-Ney", "model=ngram data.block_size=4", published="dev 1.994"),
    System("6-gram, Kneser-Ney", "model=ngram data.block_size=5", published="dev 1.984"),
    System("MLP, shortest training to 2.00", "experiment=speedrun_wide"),
    System("MLPs, distilled and averaged", "experiment=best"),
    System(
        "mixture of these and WaveNet",
        "model=mixture",
        ("MLPs, distilled and averaged", "WaveNet, lecture 5"),
    ),
    System(
        "mixture of networks of every kind",
        "model=mixture",
        (
            "MLPs, distilled and averaged",
            "WaveNet, lecture 5",
            "deep MLP, lecture 3",
            "RNN",
            "GRU",
            "LSTM",
            "Transformer",
            "6-gram, Kneser-Ney",
        ),
    ),
]


def train(arguments: list[str], folder: Path) -> dict[str, Any]:
    """The metrics of one run in a folder; those of a run that the same command has finished there.

    What the same command left unfinished is trained again; a folder that holds anything else is left alone and refused.
    """
    arguments, kept = ["test=true", *arguments], folder.with_suffix(".command")
    command = " ".join(arguments)
    if kept.exists() and kept.read_text(encoding="utf-8") == command:
        metrics = read_metrics(folder)
        if metrics is not None and metrics["status"] in ENDED:
            return metrics
        shutil.rmtree(folder, ignore_errors=True)
    elif not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(command, encoding="utf-8")
    return measuring.train(arguments, folder)[1]


def key(system: str) -> str:
    """A system's name as it is typed, and as its folder is called: mlp-lecture-2."""
    return "-".join(re.findall("[a-z0-9]+", system.lower()))


def name_folder(system: str, which: str, seed: int | str) -> str:
    return f"{key(system)}-{which}-{seed}"


def measure(
    systems: list[System], seeds: list[int], lists: list[str], data: list[str], runs: Path, rows: dict[str, Any]
) -> None:
    """Trains systems and fills in their rows, by the list and the seed."""
    for seed in seeds:
        for which in lists:
            for system in systems:
                arguments = [*system.arguments.split(), *data, LISTS[which], f"seed={seed}"]
                if system.members:
                    members = ",".join(str(runs / name_folder(name, which, seed)) for name in system.members)
                    arguments.append(f"model.members=[{members}]")
                metrics = train(arguments, runs / name_folder(system.name, which, seed))
                rows.setdefault(system.name, {}).setdefault(which, {})[str(seed)] = metrics
                forget_comparisons(system.name, rows)
                print(
                    f"{system.name:45}{which:8}seed {seed:<12}dev {metrics['dev_loss']:.4f}   "
                    f"test {metrics['test_loss']:.4f}   {metrics['fit_seconds']:.1f} s",
                    flush=True,
                )
                measuring.keep("leaderboard", rows)


def forget_comparisons(name: str, rows: dict[str, Any]) -> None:
    """Drops the paired tests that a system's new run makes out of date."""
    for row in (each for each in rows.values() if isinstance(each, dict)):
        if row is rows[name] or row.get("paired", {}).get("against") == name:
            row.pop("paired", None)


def compare_neighbours(runs: Path, rows: dict[str, Any]) -> None:
    """Compares each system with the one above it in the table, where the runs of both are there."""

    def find(system: System) -> Path | None:
        folders = (runs / name_folder(system.name, "all", seed) for seed in rows[system.name]["all"])
        return next((folder for folder in folders if folder.exists()), None)

    systems = measured(rows)
    for above, system in pairwise(systems):
        first, second = find(system), find(above)
        if first and second:
            p = compare(model_file.load(first), model_file.load(second), None)["p"]
            rows[system.name]["paired"] = {"against": above.name, "p": p}
    measuring.keep("leaderboard", rows)


def table(rows: dict[str, Any]) -> str:
    """Every loss of every system as Markdown, the best dev loss last."""
    unique = [f"{part}, unique" for part in PARTS]
    columns = ["system", "parameters", "seconds", *PARTS, *unique, "seeds", "p", "command"]
    lines, above = [], ""
    for system in measured(rows):
        name = system.name + (f" (published {system.published})" if system.published else "")
        losses = [loss(system, rows, part, which) for which in LISTS for part in PARTS]
        paired = rows[system.name].get("paired", {})
        p = format_p(paired["p"]) if paired.get("against") == above else ""
        there = [rows[system.name][which] for which in LISTS if which in rows[system.name]]
        seeds = ", ".join(dict.fromkeys(str(len(each)) for each in there))
        lines.append([name, *cost(system, rows), *losses, seeds, p, command(system, rows["data"])])
        above = system.name
    return markdown(columns, lines)


def short_table(rows: dict[str, Any]) -> str:
    """Dev and test loss of the systems whose settings fit; the data, which all commands share, is left out."""
    lines = [
        [
            system.name,
            *cost(system, rows),
            *(loss(system, rows, part).partition(" ")[0] for part in ("dev", "test")),
            settings(system),
        ]
        for system in measured(rows)
        if len(settings(system)) <= MOST_LETTERS
    ]
    return markdown(["system", "parameters", "seconds", "dev", "test", "`python train.py` with"], lines)


def markdown(columns: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, ["---"] * len(columns), *lines])


def values(name: str, rows: dict[str, Any], metric: str, which: str = "all") -> list[float]:
    """A metric of a system, one value a seed."""
    return [metrics[metric] for metrics in rows[name][which].values()]


def cost(system: System, rows: dict[str, Any]) -> list[str]:
    spent = seconds(system, rows)
    return [f"{values(system.name, rows, 'parameters')[0]:,}", f"{spent:.1f}" if spent >= 1 else f"{spent:.2f}"]


def loss(system: System, rows: dict[str, Any], part: str, which: str = "all") -> str:
    """The mean over the seeds, and the standard deviation if there are several; empty if the list was not measured."""
    if which not in rows[system.name]:
        return ""
    losses = values(system.name, rows, f"{part}_loss", which)
    spread = f" ± {statistics.stdev(losses):.3f}" if len(losses) > 1 else ""
    return f"{statistics.fmean(losses):.3f}{spread}"


def dev(system: System, rows: dict[str, Any]) -> float:
    return statistics.fmean(values(system.name, rows, "dev_loss"))


def format_p(p: float) -> str:
    return "< 1e-9" if p < 1e-9 else f"{p:.1g}"


def command(system: System, data: str) -> str:
    return "`" + " ".join(f"python train.py {settings(system).strip('`')} {data}".split()) + "`"


def settings(system: System) -> str:
    members = f" model.members=[{','.join(['RUN'] * len(system.members))}]" if system.members else ""
    return f"`{system.arguments}{members}`" if system.arguments else ""


def measured(rows: dict[str, Any]) -> list[System]:
    """The systems that have been measured with repeated names, the best dev loss last."""
    there = [system for system in SYSTEMS if "all" in rows.get(system.name, {})]
    return sorted(there, key=lambda system: -dev(system, rows))


def seconds(system: System, rows: dict[str, Any]) -> float:
    """Seconds of training of the fastest run, which other work delayed least; those of a mixture's members included."""
    return sum(min(values(name, rows, "fit_seconds")) for name in (system.name, *system.members))


@style.styled
def draw(rows: dict[str, Any], path: Path) -> None:
    """The dev loss of every system against its seconds of training; a line joins those that none beats in both."""
    points = [(seconds(s, rows), dev(s, rows), s.name) for s in measured(rows)]
    points.sort(key=lambda point: point[1])
    best, fastest = list[tuple[float, float]](), math.inf
    for x, y, _ in points:  # from the best loss to the worst
        if x < fastest:
            best.append((x, y))
            fastest = x
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.add_subplot()
    axes.step(*zip(*reversed(best), strict=True), where="post", color=style.LIGHT_GREY, linewidth=2, zorder=0)
    style.set_logarithmic(axes, "x", apart=0.15)
    height = -math.inf
    for (x, y, name), color in zip(points, itertools.cycle(style.COLORS), strict=False):
        # Beside the axes, each above those of better systems, and joined to its point by a line of the same colour.
        height = max(y, height + LABEL)
        axes.plot(x, y, "o", color=color, markersize=6, zorder=5)
        line = {"arrowstyle": "-", "color": color, "alpha": 0.5, "linewidth": 0.9, "shrinkB": 4, "relpos": (0, 0.5)}
        axes.annotate(
            f"{y:.3f}  {name}",
            (x, y),
            (1.05, height),
            textcoords=axes.get_yaxis_transform(),
            arrowprops=line,
            fontsize=11,
            va="center",
            zorder=0,
        )
    axes.set_xlabel("seconds of training, logarithmic")
    axes.set_ylabel("dev loss, nats per character")
    style.save(figure, path)


def main() -> None:
    """Trains, keeps and writes."""
    choices = {key(system.name): system for system in SYSTEMS}
    arguments = measuring.table_arguments("every system on the same split", choices, "the data, as train.py takes it")
    arguments.add_argument("--seeds", nargs="+", type=int, default=[2147483647], help="if left out, that of train.py")
    arguments.add_argument("--lists", nargs="+", choices=list(LISTS), default=list(LISTS), help="both if left out")
    options = arguments.parse_args()
    chosen = [system for name, system in choices.items() if name in options.systems]
    missing = {member for system in chosen for member in system.members} - {system.name for system in chosen}
    if missing:
        arguments.error(f"a mixture needs its members in --systems, too: {' '.join(map(key, sorted(missing)))}")

    def measure_all(runs: Path, rows: dict[str, Any]) -> None:
        measure(chosen, options.seeds, options.lists, options.settings, runs, rows)
        compare_neighbours(runs, rows)

    rows = measuring.collect("leaderboard", arguments, options, measure_all, data=measuring.shown(options.settings))
    measuring.insert(PAGE, BEGIN, table(rows), END)
    measuring.insert(README, BEGIN, short_table(rows), END)
    draw(rows, measuring.ROOT / "docs" / "quality.png")
    print("written: benchmarks/results/leaderboard.json, docs/results.md, README.md, docs/quality.png")


if __name__ == "__main__":
    main()
