"""Every network that PyTorch differentiates, against a plain loop around the same network, in the same sitting.

    python -m benchmarks.networks_speed

For each network, in every round, one after the other and on one thread: a plain loop, as in makemore.py, with the rows
drawn from tensors that were prepared before, padded to the longest name; and train.py with the same sizes, optimizer,
minibatches and steps, with a validation, a checkpoint and the log. Shows the medians, and writes
results/networks_speed.json and the table between the marks in docs/networks.md. `--systems gru` measures only these,
and keeps other rows.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks import measuring

PAGE = measuring.ROOT / "docs" / "networks.md"
BEGIN, END = "<!-- speed: python -m benchmarks.networks_speed -->", "<!-- end of speed -->"
# The rows of a minibatch, and the steps that are timed.
SYSTEMS = {
    "deep": (32, 4000),
    "wavenet": (32, 1000),
    "bow": (32, 2000),
    "rnn": (32, 2000),
    "gru": (32, 1000),
    "lstm": (32, 1000),
    "transformer": (32, 300),
}
RATE = 0.001


def configure(name: str, rows: int, steps: int) -> list[str]:
    """What train.py is given."""
    return [
        f"model={name}",
        f"data.batch_size={rows}",
        f"steps={steps}",
        f"eval_every={steps}",
        "optimizer=adamw",
        "schedule=constant",
        f"schedule.lr={RATE}",
        "trainer.threads=1",
        "callbacks=none",
    ]


def plain(name: str) -> dict[str, float]:
    """The plain loop."""
    from hydra import compose, initialize_config_dir

    from makemore.config import compose as configuration
    from makemore.data.cache import read_documents
    from makemore.data.spans import PADDING, Spans
    from makemore.data.windows import Windows
    from makemore.models import registry

    torch.set_num_threads(1)
    rows, steps = SYSTEMS[name]
    configuration.register()
    with initialize_config_dir(str(measuring.ROOT / "conf"), version_base="1.3"):
        config = configuration.check_run(compose("train", configure(name, rows, steps)), registry.config_of)
    documents = read_documents(config.data)
    windows = Windows(documents.parts[0], config.data.block_size)
    model: Any = registry.build(config.model, len(documents.vocabulary), config.data.block_size)
    examples = Spans.from_windows(windows) if model.by_document else windows
    inputs, targets = examples.gather(torch.arange(len(examples)))  # (N, block_size), (N,) or (N, block_size)
    forward = (lambda x: model.read(x)[0]) if model.by_document else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    started = time.perf_counter()
    for _ in range(steps):
        which = torch.randint(len(inputs), (rows,))
        logits = forward(inputs[which])
        loss = F.cross_entropy(logits.flatten(0, -2), targets[which].flatten(), ignore_index=PADDING)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {"fit_seconds": time.perf_counter() - started}


def measure(name: str, rounds: int) -> dict[str, float]:
    """Milliseconds a step of both, and the ratio of train.py's time to the loop's: medians over the rounds."""
    rows, steps = SYSTEMS[name]
    found = []
    for _ in range(rounds):
        _, printed = measuring.run("-m", "benchmarks.networks_speed", "--plain", name)
        loop = json.loads(printed.strip().splitlines()[-1])["fit_seconds"]
        with tempfile.TemporaryDirectory() as folder:
            _, metrics = measuring.train(configure(name, rows, steps), Path(folder) / "run")
        found.append((loop / steps * 1e3, metrics["fit_seconds"] / steps * 1e3, metrics["fit_seconds"] / loop))
    return dict(zip(("plain", "makemore", "ratio"), map(statistics.median, zip(*found, strict=True)), strict=True))


def table(rows: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = ["| network | plain loop, ms a step | `train.py` | ratio |", "| --- | --- | --- | --- |"]
    for name, row in rows.items():
        if name in SYSTEMS:
            lines.append(f"| `{name}` | {row['plain']:.2f} | {row['makemore']:.2f} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, keeps and writes."""
    arguments = argparse.ArgumentParser(description="networks against plain loops around them")
    arguments.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), help="all if left out")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--plain", choices=list(SYSTEMS), help="only the plain loop of this one; prints JSON")
    options = arguments.parse_args()
    if options.plain:
        print(json.dumps(plain(options.plain)))
        return
    rows: dict[str, Any] = measuring.kept("networks_speed")
    for name in options.systems:
        rows[name] = measure(name, options.rounds)
        print(f"{name:12} " + "   ".join(f"{key} {value:.2f}" for key, value in rows[name].items()), flush=True)
        measuring.keep("networks_speed", {each: rows[each] for each in SYSTEMS if each in rows})
    measuring.insert(PAGE, BEGIN, table(rows), END)
    print("written: benchmarks/results/networks_speed.json, docs/networks.md")


if __name__ == "__main__":
    main()
