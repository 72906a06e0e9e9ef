"""The keys of `model=bow`."""

from dataclasses import dataclass

from makemore.config.schema import LARGEST_SIZE, ModelConfig, number


@dataclass
class Config(ModelConfig):
    """A causal bag of words, as in makemore.py."""

    emb_dim: int = number(at_least=1, at_most=LARGEST_SIZE)
    hidden: int = number(at_least=1, at_most=LARGEST_SIZE)
