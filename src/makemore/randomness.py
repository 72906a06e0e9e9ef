"""Explicit randomness: each use has its own generator, seeded from the configuration, and disturbs no other."""

from enum import IntEnum

import numpy as np
import torch


class Use(IntEnum):
    """The uses of randomness that must not share numbers. Initial weights take the seed itself, as the lecture does."""

    minibatches = 1
    dropout = 2
    sampling = 3


def derive_seed(seed: int, use: Use) -> int:
    """A seed for one use; NumPy's SeedSequence keeps those of one seed independent."""
    state = np.random.SeedSequence([seed, int(use)]).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))  # the shift is kept so that seeds mean what they always did


def make_generator(seed: int, use: Use) -> torch.Generator:
    """A generator for one use."""
    return torch.Generator().manual_seed(derive_seed(seed, use))


class GlobalGenerator:
    """A stream of its own for code that draws from PyTorch's global generator, as nn.Dropout and initial weights do.

    Inside a `with` block the global generator of the CPU, and that of `device` if it is a GPU, continues this stream.
    Afterwards it is what it was before, so neither side disturbs the other.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        device = torch.device(device)
        self._generators = [torch.default_generator]
        if device.type == "cuda":
            self._generators.append(torch.cuda.default_generators[device.index or 0])
        elif device.type == "mps":
            self._generators.append(torch.mps._get_default_mps_generator())
        # The state on the other side: this stream's outside the block, what was there before inside it.
        self.states = [torch.Generator(each.device).manual_seed(seed).get_state() for each in self._generators]

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    def _swap(self) -> None:
        states = self.states
        self.states = [each.get_state() for each in self._generators]
        for each, state in zip(self._generators, states, strict=True):
            each.set_state(state)
