"""The keys of `model=bigram`."""

from dataclasses import dataclass

from makemore.config.schema import ModelConfig, TrainConfig
from makemore.errors import UserError


@dataclass
class Config(ModelConfig):
    """A single linear layer on one-hot input: one row of logits for each token."""

    def check(self, run: TrainConfig) -> None:
        """Raises UserError for a context longer than the one character that the model sees."""
        if run.data.block_size != 1:
            raise UserError(
                f"data.block_size={run.data.block_size} is not for model={self.name}, which sees one character: "
                "it must be 1"
            )
