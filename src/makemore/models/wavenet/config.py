"""The keys of `model=wavenet`."""

from dataclasses import dataclass

from makemore.config.schema import LARGEST_SIZE, ModelConfig, TrainConfig, number
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
        rows, processes = run.data.batch_size, run.trainer.processes
        if rows is not None and rows // processes < 2:
            given = f"data.batch_size={rows}" + (f" in trainer.processes={processes}" if processes > 1 else "")
            raise UserError(
                f"{given} is not for model={self.name}: BatchNorm needs at least 2 examples in each process"
            )
