"""The other side of every comparison: the lecture's recipe in plain PyTorch, with no framework and no tricks.

    python -m benchmarks.plain --steps 20000

trains the lecture's network on the bundled names on one thread and prints one line of JSON: seconds and microseconds
a step of the training loop alone.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.data import corpus
from makemore.data.split import split

Parameters = list[Tensor]


def double_loop(names: list[str], id_of: dict[str, int], block_size: int) -> tuple[Tensor, Tensor]:
    """Contexts (N, block_size) and targets (N,), one character after the other."""
    contexts, targets = [], []
    for name in names:
        context = [0] * block_size
        for character in [*name, "."]:
            target = id_of[character]
            contexts.append(context)
            targets.append(target)
            context = [*context[1:], target]
    return torch.tensor(contexts), torch.tensor(targets)


def id_of(names: list[str]) -> dict[str, int]:
    """The lecture's vocabulary: the boundary is 0, letters follow in order."""
    return {"." if i == 0 else character: i for i, character in enumerate(["", *sorted(set("".join(names)))])}


def logits(p: Parameters, contexts: Tensor) -> Tensor:
    """(B, block_size) -> (B, vocabulary)."""
    C, W1, b1, W2, b2 = p
    return torch.tanh(C[contexts].view(len(contexts), -1) @ W1 + b1) @ W2 + b2


def parameters(vocabulary: int, block_size: int = 3, emb_dim: int = 10, hidden: int = 200) -> Parameters:
    """The lecture's initial weights."""
    g = torch.Generator().manual_seed(2147483647)
    shapes = [(vocabulary, emb_dim), (block_size * emb_dim, hidden), (hidden,), (hidden, vocabulary), (vocabulary,)]
    return [torch.randn(shape, generator=g).requires_grad_() for shape in shapes]


def train(p: Parameters, contexts: Tensor, targets: Tensor, steps: int, batch_size: int = 32) -> list[float]:
    """The lecture's loop: minibatches with replacement, 0.1 and then 0.01; returns each step's log10 loss."""
    history = []
    for step in range(steps):
        rows = torch.randint(len(targets), (batch_size,))
        loss = F.cross_entropy(logits(p, contexts[rows]), targets[rows])
        for parameter in p:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in p:
            assert parameter.grad is not None
            parameter.data -= (0.1 if step < steps // 2 else 0.01) * parameter.grad
        history.append(loss.log10().item())
    return history


@torch.no_grad()
def sample(p: Parameters, block_size: int, generator: torch.Generator) -> list[int]:
    """One name's ids, drawn one character after the other."""
    context, name = [0] * block_size, list[int]()
    while True:
        probabilities = F.softmax(logits(p, torch.tensor([context])), dim=1)
        drawn = int(torch.multinomial(probabilities, 1, generator=generator).item())
        if drawn == 0:
            return name
        context = [*context[1:], drawn]
        name.append(drawn)


def main() -> None:
    """Times the training loop."""
    arguments = argparse.ArgumentParser(description="the lecture's training loop in plain PyTorch, on one thread")
    arguments.add_argument("--steps", type=int, default=200_000)
    steps = arguments.parse_args().steps
    torch.set_num_threads(1)
    train_names, _, _ = split(corpus.read(corpus.BUNDLED), [0.8, 0.1, 0.1], seed=42)
    ids = id_of(train_names)
    contexts, targets = double_loop(train_names, ids, 3)
    p = parameters(len(ids))
    started = time.perf_counter()
    train(p, contexts, targets, steps)
    seconds = time.perf_counter() - started
    print(json.dumps({"steps": steps, "fit_seconds": seconds, "us_per_step": seconds / steps * 1e6}))


if __name__ == "__main__":
    main()
