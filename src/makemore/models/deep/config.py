"""The keys of `model=deep`."""

from dataclasses import dataclass

from omegaconf import MISSING

from makemore.config.schema import LARGEST_SIZE, ModelConfig, TrainConfig, number
from makemore.errors import UserError


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
        rows, processes = run.data.batch_size, run.trainer.processes
        if self.batch_norm and rows is not None and rows // processes < 2:
            given = f"data.batch_size={rows}" + (f" in trainer.processes={processes}" if processes > 1 else "")
            raise UserError(f"{given} is too small for model.batch_norm=true; give each process at least 2 examples")
