"""Table 1 of Bengio et al., "A Neural Probabilistic Language Model" (JMLR 3, 2003), by its protocol on NLTK's Brown.

    python -m benchmarks.bengio -- data.path=brown.zip

trains every row on the first 800,000 words, chooses by the next 200,000, and measures the rest once, for each of
`--seeds`; writes results/bengio.json, and the table between the marks in docs/words.md. The paper's own text, which had
1,181,041 words, cannot be rebuilt, so compare the ratios to Kneser-Ney of order 5.
`--systems MLP9 MLP10` measures only these, and what they are compared with, and keeps other rows; `--runs FOLDER` keeps
the runs, and the same command then goes on where it was interrupted. Arguments after -- are for every train.py, as
trainer.precision=bf16 is where the processor has it.

n, h, m and `direct` are as in the paper: words, those of the context and the one predicted; hidden units; features of a
word; direct connections. `mix` is the mean of the network's and the interpolated trigram's probabilities.
"""

import statistics
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import measuring
from benchmarks.leaderboard import train

PAGE = measuring.ROOT / "docs" / "words.md"
BEGIN, END = "<!-- table 1: python -m benchmarks.bengio -->", "<!-- end of table 1 -->"
BASE = "Kneser-Ney, n = 5"


class System(NamedTuple):
    """A row, with the test perplexity that the paper prints; a fitted model's `n` is its order.

    A network takes as many steps as its mixture needs to beat the paper, or as fit into minutes.
    """

    paper: int
    n: int
    arguments: str = ""
    h: int = 0
    m: int = 0
    direct: bool = False
    network: str = ""  # of a mixture
    steps: int = 5000

    def command(self) -> list[str]:
        """What train.py is given, but for a mixture's members."""
        if self.network:
            return ["model=mixture", "model.weights=[0.5,0.5]", "data=brown"]
        context = f"data.block_size={self.n - 1}"
        if self.arguments:
            return ["data=brown", *self.arguments.split(), context]
        direct = f"model.direct={str(self.direct).lower()}"
        sizes = [f"model.hidden={self.h}", f"model.emb_dim={self.m}", direct]
        return ["experiment=words", context, *sizes, f"steps={self.steps}", f"eval_every={self.steps // 2}"]


TRIGRAM = "interpolated trigram"
SYSTEMS = {
    TRIGRAM: System(336, 3, "model=ngram model.smoothing=jelinek_mercer"),
    "Kneser-Ney, n = 3": System(323, 3, "model=ngram"),
    "Kneser-Ney, n = 4": System(321, 4, "model=ngram"),
    BASE: System(321, 5, "model=ngram"),
    "MLP1": System(268, 5, h=50, m=60, direct=True, steps=8000),
    "MLP2": System(257, 5, h=50, m=60, direct=True, network="MLP1"),
    "MLP3": System(310, 5, h=0, m=60, direct=True),
    "MLP4": System(272, 5, h=0, m=60, direct=True, network="MLP3"),
    "MLP5": System(279, 5, h=50, m=30, direct=True),
    "MLP6": System(259, 5, h=50, m=30, direct=True, network="MLP5"),
    "MLP7": System(293, 3, h=50, m=30, direct=True),
    "MLP8": System(270, 3, h=50, m=30, direct=True, network="MLP7"),
    "MLP9": System(276, 5, h=100, m=30, steps=20_000),
    "MLP10": System(252, 5, h=100, m=30, network="MLP9"),
}


def complete(names: list[str]) -> list[str]:
    """Rows with those that they need, in the table's order."""
    needed = {TRIGRAM, BASE, *names, *(SYSTEMS[name].network for name in names)}
    return [name for name in SYSTEMS if name in needed]


def measure(names: list[str], seeds: list[int], given: list[str], runs: Path, rows: dict[str, Any]) -> None:
    """Trains rows for every seed and keeps their metrics. What does not depend on chance is fitted once."""
    for seed in seeds:
        for name in complete(names):
            system = SYSTEMS[name]
            if system.arguments and seed != seeds[0]:
                continue
            arguments = [*system.command(), f"seed={seed}", "callbacks=none", *given]
            if system.network:
                members = runs / f"{system.network}-{seed}", runs / f"trigram-{seeds[0]}"
                arguments.append(f"model.members=[{members[0]},{members[1]}]")
            folder = runs / f"{'trigram' if name == TRIGRAM else name.replace(', n = ', '-')}-{seed}"
            metrics = train(arguments, folder)
            seen = {} if system.arguments else rows.get(name, {})
            rows[name] = {**seen, str(seed): metrics}
            print(
                f"{name:22} seed {seed}   dev {metrics['dev_perplexity']:.1f}   "
                f"test {metrics['test_perplexity']:.1f}   {metrics['fit_seconds']:.0f} s",
                flush=True,
            )
            measuring.keep("bengio", rows)


def mean(rows: dict[str, Any], name: str, key: str) -> float:
    return statistics.fmean(metrics[key] for metrics in rows[name].values())


def table(rows: dict[str, Any]) -> str:
    """The rows as Markdown."""
    heads = ["", "n", "h", "m", "direct", "mix", "parameters", "steps", "seconds", "dev", "test", "seeds"]
    heads += ["to Kneser-Ney 5", "in the paper", "test, nats per word", "bits per character"]
    lines = [" | ".join(["", *heads, ""]).strip(), "|" + " --- |" * len(heads)]
    base = mean(rows, BASE, "test_perplexity")
    for name, s in SYSTEMS.items():
        if name not in rows:
            continue
        sizes = ["", "", ""] if s.arguments else [str(s.h), str(s.m), "yes" if s.direct else "no"]
        parts = [name, s.network, TRIGRAM] if s.network else [name]
        tests = [metrics["test_perplexity"] for metrics in rows[name].values()]
        spread = f" ± {statistics.stdev(tests):.1f}" if len(tests) > 1 else ""
        cells = [
            *(name, str(s.n), *sizes, "" if s.arguments else "yes" if s.network else "no"),
            f"{mean(rows, name, 'parameters'):,.0f}",
            "" if s.arguments else f"{mean(rows, s.network or name, 'steps'):,.0f}",
            f"{sum(mean(rows, each, 'fit_seconds') for each in parts):.0f}",
            f"{mean(rows, name, 'dev_perplexity'):.1f}",
            f"{mean(rows, name, 'test_perplexity'):.1f}{spread}",
            *(str(len(tests)), f"{mean(rows, name, 'test_perplexity') / base:.3f}"),
            f"{s.paper} ({s.paper / SYSTEMS[BASE].paper:.3f})",
            f"{mean(rows, name, 'test_loss'):.3f}",
            f"{mean(rows, name, 'test_bits_per_character'):.3f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains, keeps and writes."""
    settings = "data.path=brown.zip trainer.precision=bf16, or whatever else train.py takes"
    arguments = measuring.table_arguments("table 1 of Bengio et al. (2003)", SYSTEMS, settings)
    arguments.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    options = arguments.parse_args()

    def measure_all(runs: Path, rows: dict[str, Any]) -> None:
        measure(options.systems, options.seeds, options.settings, runs, rows)

    rows = measuring.collect("bengio", arguments, options, measure_all, settings=measuring.shown(options.settings))
    measuring.insert(PAGE, BEGIN, table(rows), END)
    print("written: benchmarks/results/bengio.json, docs/words.md")


if __name__ == "__main__":
    main()
