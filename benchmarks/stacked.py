"""Sixteen networks that differ in seed and rate, trained as one batched computation: is that worth having?

    python -m benchmarks.stacked [--networks 16] [--steps 1000] [--rounds 5]

At each size four ways take the same steps of plain gradient descent, on one thread: one network by the compiled steps
that every run uses; the networks one after another by those; all in one computation with stacked parameters, as
PyTorch's batched products in closed form; and by `torch.func` (vmap of grad). The losses of all ways are compared.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad_and_value, vmap

from benchmarks import measuring
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp import numba_steps as compiled
from makemore.models.mlp.config import Init

VOCABULARY, BATCH = 27, 32
SIZES = {
    "emb 2, hidden 50, block 3": (2, 50, 3),
    "the lecture's": (10, 200, 3),
    "emb 32, hidden 512, block 8": (32, 512, 8),
}


def stacked_step(p: mlp.Parameters, contexts: Tensor, targets: Tensor, rates: Tensor) -> Tensor:
    """One step of N networks at once, each with its minibatch and its rate: the N losses before it.

    Args:
        p: every parameter with a first dimension of N, b1 and b2 as (N, 1, ...); changed in place.
        contexts: (N, B, block_size).
        targets: (N, B).
        rates: (N, 1, 1).
    """
    n, rows, block_size = contexts.shape
    which = torch.arange(n).view(n, 1, 1)
    e = p.C[which, contexts].view(n, rows, -1)  # (N, B, block_size * emb_dim)
    h = mlp.tanh(torch.baddbmm(p.b1, e, p.W1))  # (N, B, hidden)
    log_p = torch.baddbmm(p.b2, h, p.W2).log_softmax(2)  # (N, B, vocabulary)
    losses = log_p.gather(2, targets.unsqueeze(2)).mean((1, 2)).neg()  # (N,)
    dz = log_p.exp_()
    dz.scatter_add_(2, targets.unsqueeze(2), dz.new_full((n, rows, 1), -1.0)).mul_(-rates / rows)  # (N, B, vocabulary)
    da = torch.bmm(dz, p.W2.mT)  # (N, B, hidden)
    da.addcmul_(da * h, h, value=-1)
    de = torch.bmm(da, p.W1.mT).view(n * rows * block_size, -1)
    p.W2.baddbmm_(h.mT, dz)
    p.b2.add_(dz.sum(1, keepdim=True))
    p.W1.baddbmm_(e.mT, da)
    p.b1.add_(da.sum(1, keepdim=True))
    p.C.view(n * VOCABULARY, -1).index_add_(0, (contexts + VOCABULARY * which).view(-1), de)
    return losses


class Case:
    """N networks of one size, with the minibatches of their runs.

    Args:
        emb_dim: numbers that describe a character.
        hidden: hidden units.
        block_size: characters of context.
        networks: N.
        steps: K.
    """

    def __init__(self, emb_dim: int, hidden: int, block_size: int, networks: int, steps: int) -> None:
        self.drawn = [
            mlp.initial(VOCABULARY, block_size, emb_dim, hidden, Init.kaiming, torch.Generator().manual_seed(seed))
            for seed in range(networks)
        ]
        g = torch.Generator().manual_seed(0)
        self.contexts = torch.randint(VOCABULARY, (steps, networks, BATCH, block_size), generator=g)
        self.targets = torch.randint(VOCABULARY, (steps, networks, BATCH), generator=g)
        self.rates = [0.05 + 0.01 * number for number in range(networks)]

    def one_after_another(self, networks: int) -> Tensor:
        """The last losses of the first so many networks, by compiled steps. (networks,)"""
        losses = []
        for number in range(networks):
            p = mlp.hidden_innermost(mlp.Parameters(*(part.clone() for part in self.drawn[number])))
            network = compiled.Network(p, mlp.Parameters(*map(torch.zeros_like, p)))
            contexts, targets = self.contexts[:, number].contiguous(), self.targets[:, number].contiguous()
            losses.append(network.descend(contexts, targets, [self.rates[number]] * len(contexts))[-1])
        return torch.stack(losses)

    def _stack(self, rows: bool) -> mlp.Parameters:
        p = mlp.Parameters(*map(torch.stack, zip(*self.drawn, strict=True)))
        return p._replace(b1=p.b1.unsqueeze(1), b2=p.b2.unsqueeze(1)) if rows else p

    @torch.inference_mode()
    def by_batched_products(self) -> Tensor:
        """The last losses of all networks. (N,)"""
        p, rates = self._stack(rows=True), torch.tensor(self.rates).view(-1, 1, 1)
        for contexts, targets in zip(self.contexts, self.targets, strict=True):
            losses = stacked_step(p, contexts, targets, rates)
        return losses

    def by_vmap(self) -> Tensor:
        """The last losses of all networks. (N,)"""

        def loss(p: mlp.Parameters, contexts: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(torch.tanh(p.C[contexts].flatten(1) @ p.W1 + p.b1) @ p.W2 + p.b2, targets)

        p, step = self._stack(rows=False), vmap(grad_and_value(loss))
        rates, losses = torch.tensor(self.rates), torch.empty(0)
        with torch.no_grad():
            for contexts, targets in zip(self.contexts, self.targets, strict=True):
                gradients, losses = step(p, contexts, targets)
                for part, gradient in zip(p, gradients, strict=True):
                    part.sub_(gradient * rates.view(-1, *[1] * (part.dim() - 1)))
        return losses


def main() -> None:
    """Prints microseconds a step and ratios for each size; writes results/stacked.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    compiled.prepare()
    rows: dict[str, Any] = {}
    for size, shape in SIZES.items():
        case = Case(*shape, options.networks, options.steps)
        singly = case.one_after_another(options.networks)
        for losses in (case.by_batched_products(), case.by_vmap()):
            torch.testing.assert_close(losses, singly, atol=1e-3, rtol=0)
        ways: dict[str, Callable[[], Tensor]] = {
            "one": functools.partial(case.one_after_another, 1),
            "one after another": functools.partial(case.one_after_another, options.networks),
            "batched products": case.by_batched_products,
            "vmap": case.by_vmap,
        }
        rounds = [{name: measuring.seconds(work) for name, work in ways.items()} for _ in range(options.rounds)]
        row = {
            f"{name}, us a step": round(statistics.median(each[name] for each in rounds) / options.steps * 1e6, 1)
            for name in ways
        }
        for name in list(ways)[1:]:
            row[f"{name} / one"] = round(statistics.median(each[name] / each["one"] for each in rounds), 2)
        rows[size] = row
        print(f"{size}: " + "   ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    measuring.keep("stacked", {"networks": options.networks, "sizes": rows})


if __name__ == "__main__":
    main()
