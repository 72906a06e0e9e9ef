"""The keys of `model=mixture`."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from makemore.config.schema import DataConfig, ModelConfig, TrainConfig
from makemore.errors import UserError


@dataclass
class Config(ModelConfig):
    """The average of trained models.

    Attributes:
        members: run folders or checkpoints. In a mixture's own checkpoint each entry is a dict that describes a member,
            so that the mixture stands by itself.
        weights: the weight of each member, or None to fit the weights to dev.
    """

    members: list[Any] = MISSING
    weights: list[float] | None = MISSING

    fitted: ClassVar[bool] = True

    def check(self, run: TrainConfig) -> None:
        """Raises UserError for members that are not paths, and for weights that do not fit them."""
        if not self.members:
            raise UserError(
                "model.members is empty; name runs to mix: model.members=[outputs/DATE/RUN,outputs/DATE/RUN]"
            )
        if not all(isinstance(member, str) and member for member in self.members):
            raise UserError(f"model.members={self.members} must name runs: model.members=[RUN,RUN]".replace("'", ""))
        if self.weights is None:
            return
        weights = f"model.weights={self.weights}".replace(" ", "")
        if len(self.weights) != len(self.members):
            raise UserError(f"{weights} has {len(self.weights)} weights for {len(self.members)} members; give one each")
        if not all(0 <= weight < math.inf for weight in self.weights) or not 0 < sum(self.weights) < math.inf:
            raise UserError(
                f"{weights} is out of range: weights must be at least 0, one of them above, their sum finite"
            )

    def context_length(self, data: DataConfig) -> int:
        """The longest context of a member, whatever `data.block_size` is."""
        from makemore.models.mixture.members import load

        return max(member.block_size for member in load(tuple(self.members)))
