"""The keys of `model=mlp`."""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from makemore.config.schema import LARGEST_SIZE, ModelConfig, number


class Init(Enum):
    """How the initial weights are drawn."""

    normal = "normal"
    kaiming = "kaiming"


class Gradients(Enum):
    """How gradients are computed: by `formulas.py` as machine code or as PyTorch operations, or by autograd."""

    auto = "auto"  # by the size of the network
    compiled = "compiled"
    closed_form = "closed_form"
    autograd = "autograd"


@dataclass
class Config(ModelConfig):
    """The network of Bengio et al. (2003): C, W1, b1, W2, b2."""

    emb_dim: int = number(at_least=1, at_most=LARGEST_SIZE)
    hidden: int = number(at_least=1, at_most=LARGEST_SIZE)
    init: Init = MISSING
    dropout: float = number(at_least=0, below=1)
    gradients: Gradients = MISSING
    # With a default, because runs and checkpoints from before this key lack it.
    recency: float = field(default=1.0, metadata={"above": 0, "at_most": 1})
