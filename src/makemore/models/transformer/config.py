"""The keys of `model=transformer`."""

from dataclasses import dataclass

from makemore.config.schema import LARGEST_SIZE, ModelConfig, TrainConfig, number
from makemore.errors import UserError


@dataclass
class Config(ModelConfig):
    """A causal Transformer, as in makemore.py."""

    width: int = number(at_least=1, at_most=LARGEST_SIZE)
    layers: int = number(at_least=1, at_most=1000)
    heads: int = number(at_least=1, at_most=LARGEST_SIZE)
    dropout: float = number(at_least=0, below=1)

    def check(self, run: TrainConfig) -> None:
        """Raises UserError unless the heads can share the width."""
        if self.width % self.heads:
            raise UserError(f"model.width={self.width} must be a multiple of model.heads={self.heads}")
