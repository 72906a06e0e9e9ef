"""The full softmax against the adaptive one on a vocabulary of more than 100,000 words.

    python -m benchmarks.adaptive

No free text of that many words is small enough for minutes on two cores, so one is made: a Markov chain of 200 classes
of 600 words each, with Zipf's frequencies. Its own perplexity is known, and below it no model can come. Trains both
networks for the same steps; prints milliseconds a step and dev perplexities, writes results/adaptive.json, and the
table between the marks in docs/words.md.
"""

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring

PAGE = measuring.ROOT / "docs" / "words.md"
BEGIN, END = "<!-- adaptive: python -m benchmarks.adaptive -->", "<!-- end of adaptive -->"
CLASSES, WORDS = 200, 600  # words in each class
TOKENS, DEV = 600_000, 20_000
NEXT = 8  # classes that may follow one
COMMON = "data=text data.level=word data.layout=running data.block_size=2 data.batch_size=256 data.replacement=false"
COMMON += " optimizer=adamw optimizer.eps=1e-4 schedule=one_cycle schedule.lr=0.01 model.emb_dim=50 model.hidden=100"
NETWORKS = {
    "full softmax": "model=mlp model.init=kaiming model.emb_std=0.05 model.unigram_bias=true",
    "adaptive softmax": "model=adaptive",
}


def write_text(path: Path) -> float:
    """Writes the text; returns the perplexity of the chain that it is drawn from."""
    chance = np.random.default_rng(1)
    follows = np.stack([chance.choice(CLASSES, NEXT, replace=False) for _ in range(CLASSES)])  # (classes, next)
    likely = chance.dirichlet(np.full(NEXT, 0.5), CLASSES)  # (classes, next)
    frequency = 1 / (np.arange(WORDS) + 10.0)
    frequency /= frequency.sum()  # (words of a class,)
    sums, numbers = likely.cumsum(1), chance.random(TOKENS)
    classes = np.empty(TOKENS, dtype=np.int64)
    now, entropy = 0, 0.0
    for place, number in enumerate(numbers):
        which = min(int(np.searchsorted(sums[now], number)), NEXT - 1)
        entropy -= math.log(likely[now, which])
        now = follows[now, which]
        classes[place] = now
    words = chance.choice(WORDS, TOKENS, p=frequency)
    entropy = entropy / TOKENS - float((frequency * np.log(frequency)).sum())
    path.write_text(" ".join(f"{c}.{w}" for c, w in zip(classes.tolist(), words.tolist(), strict=True)), "utf-8")
    return math.exp(entropy)


def table(rows: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = [
        "| | parameters | milliseconds a step | train, nats per word | dev perplexity |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in NETWORKS:
        row = rows[name]
        step = row["fit_seconds"] / row["steps"] * 1e3
        cells = [name, f"{row['parameters']:,}", f"{step:.1f}", f"{row['train_loss']:.3f}"]
        lines.append(f"| {' | '.join(cells)} | {row['dev_perplexity']:.1f} |")
    lines.append(f"| the chain itself | | | | {rows['floor']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, keeps and writes."""
    arguments = argparse.ArgumentParser(description="full and adaptive softmax on a large vocabulary")
    arguments.add_argument("--steps", type=int, default=2000)
    arguments.add_argument("settings", nargs="*", help="for every train.py, such as trainer.precision=bf16")
    options = arguments.parse_args()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text.txt")
        rows["floor"] = write_text(text)
        print(f"the chain's own perplexity: {rows['floor']:.1f}", flush=True)
        data = (
            f"data.path={text} data.splits=[{TOKENS - 2 * DEV},{DEV}] steps={options.steps} eval_every={options.steps}"
        )
        for name, network in NETWORKS.items():
            command = [*COMMON.split(), *network.split(), *data.split(), "callbacks=none", *options.settings]
            _, rows[name] = measuring.train(command, Path(folder, name.split()[0]))
            step = rows[name]["fit_seconds"] / options.steps * 1e3
            print(f"{name:18}{step:.1f} ms a step   dev perplexity {rows[name]['dev_perplexity']:.1f}", flush=True)
    measuring.keep("adaptive", rows)
    measuring.insert(PAGE, BEGIN, table(rows), END)
    print("written: benchmarks/results/adaptive.json, docs/words.md")


if __name__ == "__main__":
    main()
