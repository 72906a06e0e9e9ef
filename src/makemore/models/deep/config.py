"""The keys of `model=deep`."""

from dataclasses import dataclass

from omegaconf import MISSING

from makemore.config.schema import LARGEST_SIZE, ModelConfig, TrainConfig, check_batch_norm, number


@dataclass
class Config(ModelConfig):
    """Lecture 3's network: any number of hidden layers, with or without batch normalization."""

    emb_dim: int = number(at_least=1, at_most=LARGEST_SIZE)
    hidden: int = number(at_least=1, at_most=LARGEST_SIZE)
    layers: int = number(at_least=1, at_most=1000)
    batch_norm: bool = MISSING
    gain: float = number(above=0, at_most=1000)

    def check(self, run: TrainConfig) -> None:
        """Raises UserError for minibatches of which BatchNorm has no statistics."""
        if self.batch_norm:
            check_batch_norm(run, "model.batch_norm=true")
