"""The systems on EurekaLabsAI's split of the names, whose figures others have published: a second benchmark.

    python -m benchmarks.eureka -- data.path=train.txt data.dev_path=val.txt data.test_path=test.txt

trains each on their 30,032 names of train, and measures their 1,000 of val and 1,000 of test; writes
results/eureka.json, and the table between the marks in docs/eureka.md. It takes twenty minutes, nearly
all of them for `best` and the LSTM; `--systems` and `--runs` are as in the leaderboard.
"""

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import measuring
from benchmarks.leaderboard import key, train

PAGE = measuring.ROOT / "docs" / "eureka.md"
BEGIN, END = "<!-- table: python -m benchmarks.eureka -->", "<!-- end of the table -->"


class System(NamedTuple):
    """A row: what `train.py` is given, and the figures of EurekaLabsAI for the same kind of model."""

    arguments: str
    published: str = ""


SYSTEMS = {
    "bigram, counts (add-one)": System("model=ngram model.smoothing=add_k data.block_size=1"),
    "MLP, lecture 2": System("", "their MLP: val 2.06"),
    "MLP, the speedrun": System("experiment=speedrun"),
    "MLP, better initial weights (lecture 3)": System("model.init=kaiming"),
    "4-gram, Kneser-Ney": System("model=ngram data.block_size=3", "their 4-gram, additive smoothing: 2.112 / 2.106"),
    "5-gram, Kneser-Ney": System("model=ngram data.block_size=4"),
    "6-gram, Kneser-Ney": System("model=ngram data.block_size=5"),
    "MLPs, distilled and averaged": System("experiment=best"),
    "LSTM": System("experiment=lstm"),
}


def table(rows: dict[str, Any]) -> str:
    """The rows as Markdown, the best val loss last."""
    lines = [
        "| system | parameters | seconds | train | val | test | published | command |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in sorted(set(SYSTEMS) & set(rows), key=lambda name: -rows[name]["dev_loss"]):
        system, metrics = SYSTEMS[name], rows[name]
        losses = [f"{metrics[f'{part}_loss']:.3f}" for part in ("train", "dev", "test")]
        command = "`" + " ".join(f"python train.py {system.arguments} {rows['settings']}".split()) + "`"
        sizes = [f"{metrics['parameters']:,}", f"{metrics['fit_seconds']:.1f}"]
        cells = [name, *sizes, *losses, system.published, command]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains, keeps and writes."""
    files = "data.path=train.txt data.dev_path=val.txt data.test_path=test.txt"
    arguments = measuring.table_arguments("EurekaLabsAI's split of the names", map(key, SYSTEMS), files)
    options = arguments.parse_args()
    settings = ["data=text", *options.settings]

    def measure_all(runs: Path, rows: dict[str, Any]) -> None:
        for name, system in SYSTEMS.items():
            if key(name) not in options.systems:
                continue
            rows[name] = train([*system.arguments.split(), *settings], runs / key(name))
            losses = f"val {rows[name]['dev_loss']:.4f}   test {rows[name]['test_loss']:.4f}"
            print(f"{name:45}{losses}   {rows[name]['fit_seconds']:.1f} s", flush=True)
            measuring.keep("eureka", rows)

    rows = measuring.collect("eureka", arguments, options, measure_all, settings=measuring.shown(settings))
    measuring.insert(PAGE, BEGIN, table(rows), END)
    print("written: benchmarks/results/eureka.json, docs/eureka.md")


if __name__ == "__main__":
    main()
