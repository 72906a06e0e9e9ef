"""The keys of `model=ngram`."""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from omegaconf import MISSING

from makemore.config.schema import ModelConfig, TrainConfig, number
from makemore.errors import UserError


class Smoothing(Enum):
    """Where the probability of unseen n-grams comes from."""

    none = "none"
    add_k = "add_k"
    kneser_ney = "kneser_ney"
    jelinek_mercer = "jelinek_mercer"


@dataclass
class Config(ModelConfig):
    """Counts of n-grams, of order data.block_size + 1."""

    smoothing: Smoothing = MISSING
    k: float = number(at_least=0, at_most=10**6)
    discount: float | None = number(at_least=0, at_most=1)

    fitted: ClassVar[bool] = True

    def check(self, run: TrainConfig) -> None:
        """Raises UserError for a discount where nothing is discounted."""
        if self.discount is not None and self.smoothing is not Smoothing.kneser_ney:
            given = f"model.discount={self.discount} with model.smoothing={self.smoothing.value}"
            raise UserError(f"{given}: only kneser_ney has a discount; leave it out")
