"""The keys of `model=adaptive`."""

import math
from dataclasses import dataclass

from makemore.config.schema import LARGEST_SIZE, ModelConfig, TrainConfig, number
from makemore.errors import UserError

# The clusters begin after these shares of the tokens, by frequency, if the keys do not say.
SHARES = (0.05, 0.25)


@dataclass
class Config(ModelConfig):
    """The network of Bengio et al. (2003) with an adaptive softmax, for large vocabularies."""

    emb_dim: int = number(at_least=1, at_most=LARGEST_SIZE)
    hidden: int = number(at_least=1, at_most=LARGEST_SIZE)
    dropout: float = number(at_least=0, below=1)
    emb_std: float = number(above=0, at_most=1000)
    cutoffs: list[int] | None = None
    div_value: float = number(at_least=1, at_most=1000)

    def check(self, run: TrainConfig) -> None:
        """Raises UserError for cutoffs that do not rise, or so many of them that the last vectors have no entries."""
        cutoffs = self.cutoffs
        if cutoffs is not None and (not cutoffs or cutoffs[0] < 1 or sorted(set(cutoffs)) != cutoffs):
            given = f"model.cutoffs={cutoffs}".replace(" ", "")
            raise UserError(f"{given} is out of range: it must be rising whole numbers of at least 1, as [2000,10000]")
        clusters = len(cutoffs or SHARES)
        if math.log(self.hidden) < clusters * math.log(self.div_value):
            given = f"model.hidden={self.hidden} with model.div_value={self.div_value} and {clusters} clusters"
            raise UserError(f"{given} leaves the last one vectors without numbers; take a larger model.hidden")
