"""The keys of `model=lstm`."""

from dataclasses import dataclass

from makemore.models.rnn.config import Config as RNNConfig


@dataclass
class Config(RNNConfig):
    """A recurrent network with memory cells."""
