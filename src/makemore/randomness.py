"""Explicit randomness: each use has its own generator, seeded from the configuration, and disturbs no other."""

from enum import IntEnum
from types import TracebackType

import numpy as np
import torch


class Stream(IntEnum):
    """The uses of randomness that must not share numbers. Initial weights take the seed itself, as the lecture does."""

    minibatches = 1
    dropout = 2
    sampling = 3


def derive_seed(seed: int, stream: Stream) -> int:
    """A seed for one use; NumPy's SeedSequence keeps the streams of one seed independent."""
    state = np.random.SeedSequence([seed, int(stream)]).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def generator(seed: int, stream: Stream, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one use."""
    return torch.Generator(device).manual_seed(derive_seed(seed, stream))


def fresh_seed() -> int:
    """A random seed, short enough to type."""
    return int(np.random.SeedSequence().generate_state(1)[0])


class GlobalGenerator:
    """A stream of its own for code that draws from PyTorch's global generator, as nn.Dropout and initial weights do.

    Inside a `with` block the global generator of the CPU, and of the GPU if there is one, continues this stream.
    Afterwards it is what it was before, so neither side disturbs the other.

    Args:
        seed: where the stream begins.
        device: the device that the code computes on.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self._seed = seed
        self._device = torch.device(device)
        self._state: list[torch.Tensor] | None = None

    def __enter__(self) -> None:
        """Puts this stream into the global generator."""
        self._outside = self._get()
        if self._state is None:
            torch.manual_seed(self._seed)
        else:
            self._set(self._state)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Puts back what was there before."""
        self._state = self._get()
        self._set(self._outside)

    def _get(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        return [*states, torch.cuda.get_rng_state(self._device)] if self._device.type == "cuda" else states

    def _set(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)
