"""One explicit generator for each use of chance, all from the configuration's seed."""

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """The uses of chance that must not share numbers. The weights take the seed itself, as the lecture does."""

    minibatches = 1
    dropout = 2
    sampling = 3


def generator(seed: int, stream: Stream, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one use of chance; NumPy's SeedSequence keeps the streams of one seed independent."""
    state = np.random.SeedSequence([seed, int(stream)]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def fresh_seed() -> int:
    """A seed that nobody chose, short enough to type."""
    return int(np.random.SeedSequence().generate_state(1)[0])
