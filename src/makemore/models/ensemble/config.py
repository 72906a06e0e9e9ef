"""The keys of `model=ensemble`: those of `model=mlp`, for each network, and how many there are."""

from dataclasses import dataclass

from makemore.config.schema import number
from makemore.models.mlp.config import Config as Network


@dataclass
class Config(Network):
    networks: int = number(at_least=1, at_most=10**4)
