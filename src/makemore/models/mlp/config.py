"""The keys of `model=mlp`."""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from makemore.config.schema import LARGEST_SIZE, ModelConfig, TrainConfig, number
from makemore.errors import UserError


class Init(Enum):
    """How the initial weights are drawn."""

    normal = "normal"
    kaiming = "kaiming"


class Gradients(Enum):
    """How gradients are computed: by `formulas.py` as machine code or as PyTorch operations, or by autograd."""

    auto = "auto"  # by where it runs and what it has
    compiled = "compiled"
    closed_form = "closed_form"
    autograd = "autograd"


@dataclass
class Config(ModelConfig):
    """The network of Bengio et al. (2003): C, W1, b1, W2, b2."""

    emb_dim: int = number(at_least=1, at_most=LARGEST_SIZE)
    hidden: int = number(at_least=0, at_most=LARGEST_SIZE)
    init: Init = MISSING
    dropout: float = number(at_least=0, below=1)
    gradients: Gradients = MISSING
    # With defaults, because runs and checkpoints from before these keys lack them.
    recency: float = field(default=1.0, metadata={"above": 0, "at_most": 1})
    emb_std: float = field(default=1.0, metadata={"above": 0, "at_most": 1000})
    direct: bool = False
    unigram_bias: bool = False

    def check(self, run: TrainConfig) -> None:
        """Raises UserError for a network without any connections, and for forms of its gradients that do not exist."""
        if self.hidden == 0 and not self.direct:
            raise UserError("model.hidden=0 leaves nothing between input and output; add model.direct=true")
        if self.direct and self.gradients is Gradients.compiled:
            raise UserError("model.direct=true does not go with model.gradients=compiled; use model.gradients=auto")
