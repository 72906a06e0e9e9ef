"""The keys of `model=rnn`, and those of `model=gru` and `model=lstm`."""

from dataclasses import dataclass

from makemore.config.schema import LARGEST_SIZE, ModelConfig, number


@dataclass
class Config(ModelConfig):
    """A recurrent network."""

    emb_dim: int = number(at_least=1, at_most=LARGEST_SIZE)
    hidden: int = number(at_least=1, at_most=LARGEST_SIZE)
    layers: int = number(at_least=1, at_most=1000)
    dropout: float = number(at_least=0, below=1)
