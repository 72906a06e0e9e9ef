"""The keys of `model=wavenet`."""

from dataclasses import dataclass

from makemore.config.schema import LARGEST_SIZE, ModelConfig, TrainConfig, check_batch_norm, number
from makemore.errors import UserError


@dataclass
class Config(ModelConfig):
    """Lecture 5's network, which joins neighbouring pairs level by level."""

    emb_dim: int = number(at_least=1, at_most=LARGEST_SIZE)
    hidden: int = number(at_least=1, at_most=LARGEST_SIZE)

    def check(self, run: TrainConfig) -> None:
        """Raises UserError unless the context can be halved down to a single vector."""
        length = run.data.block_size
        if length < 2 or length & (length - 1):
            raise UserError(
                f"data.block_size={length} is not for model={self.name}, which joins pairs: it must be 2, 4, 8, 16, ..."
            )
        check_batch_norm(run, f"model={self.name}")
