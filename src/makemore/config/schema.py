"""The type and range of every configuration key, as the dataclasses that Hydra holds a configuration against.

Values live in the YAML files under `conf/` only, so that there is one place to look for a default.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING


class Accelerator(Enum):
    """What a run computes on; `auto` picks by the size of the network."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class Source(Enum):
    """Where documents come from."""

    names = "names"
    makemore = "makemore"
    text = "text"


class Init(Enum):
    """How the weights of an MLP are drawn."""

    normal = "normal"
    kaiming = "kaiming"


class Gradients(Enum):
    """Where the gradients of an MLP come from.

    The formulas of `mlp.formulas`, as machine code (`compiled`) or as PyTorch operations (`closed_form`); or PyTorch's
    autograd. `auto` picks by the size of the network.
    """

    auto = "auto"
    compiled = "compiled"
    closed_form = "closed_form"
    autograd = "autograd"


class Smoothing(Enum):
    """Where an n-gram model takes the probability of what was not seen from."""

    none = "none"
    add_k = "add_k"
    kneser_ney = "kneser_ney"


def number(
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A field without a default whose values are held to these limits by `checked`."""
    limits = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    return field(default=MISSING, metadata={name: limit for name, limit in limits.items() if limit is not None})


LARGEST_SEED = 2**63 - 1
LONGEST_CONTEXT = 10**6  # ids
LARGEST_RATE = 1e38  # what float32 holds


@dataclass
class DataConfig:
    """Documents, their split, and the minibatches drawn from them."""

    source: Source = MISSING
    path: str | None = MISSING
    block_size: int = number(at_least=1, at_most=LONGEST_CONTEXT)
    batch_size: int | None = number(at_least=1, at_most=10**9)
    splits: list[float] = MISSING
    split_seed: int = number(at_least=0, at_most=LARGEST_SEED)
    unique: bool = MISSING
    replacement: bool = MISSING
    overfit: int | None = number(at_least=1)


@dataclass
class MLPConfig:
    """The network of Bengio et al. (2003): C, W1, b1, W2, b2."""

    name: str = MISSING
    emb_dim: int = number(at_least=1)
    hidden: int = number(at_least=1)
    init: Init = MISSING
    dropout: float = number(at_least=0, below=1)
    distillation: float = number(at_least=0, at_most=1)
    gradients: Gradients = MISSING


@dataclass
class BigramConfig:
    """A single linear layer on one-hot input: one row of logits for each token."""

    name: str = MISSING


@dataclass
class NgramConfig:
    """Counts of n-grams, of order data.block_size + 1."""

    name: str = MISSING
    smoothing: Smoothing = MISSING
    k: float = number(at_least=0, at_most=10**6)
    discount: float | None = number(at_least=0, at_most=1)


@dataclass
class MixtureConfig:
    """The average of models that were trained before."""

    name: str = MISSING
    members: list[str] = MISSING
    weights: list[float] | None = MISSING


# Models that are fitted at once: no optimizer, no schedule, no steps.
FittedConfig = NgramConfig | MixtureConfig


@dataclass
class OptimizerConfig:
    """What every optimizer has: the class that `_target_` names, and weight decay."""

    _target_: str = MISSING
    _partial_: bool = MISSING
    weight_decay: float = number(at_least=0)


@dataclass
class SGDConfig(OptimizerConfig):
    """torch.optim.SGD."""

    momentum: float = number(at_least=0, below=1)
    nesterov: bool = MISSING


@dataclass
class AdamWConfig(OptimizerConfig):
    """torch.optim.AdamW."""

    betas: list[float] = MISSING
    eps: float = number(above=0)
    fused: bool = MISSING


@dataclass
class ScheduleConfig:
    """What every learning-rate schedule has: its function and its reference rate."""

    _target_: str = MISSING
    _partial_: bool = MISSING
    lr: float = number(above=0, at_most=LARGEST_RATE)


@dataclass
class StepConfig(ScheduleConfig):
    """makemore.training.schedule.step."""

    drop_at: float = number(above=0, at_most=1)
    factor: float = number(above=0, at_most=1)


@dataclass
class ConstantConfig(ScheduleConfig):
    """makemore.training.schedule.constant."""


@dataclass
class OneCycleConfig(ScheduleConfig):
    """makemore.training.schedule.one_cycle."""

    warmup: float = number(at_least=0, below=1)
    start_factor: float = number(above=0, at_most=1)
    end_factor: float = number(at_least=0, at_most=1)


@dataclass
class CosineConfig(ScheduleConfig):
    """makemore.training.schedule.cosine."""

    warmup: float = number(at_least=0, below=1)
    end_factor: float = number(at_least=0, at_most=1)


@dataclass
class ExponentialConfig(ScheduleConfig):
    """makemore.training.schedule.exponential."""

    end_lr: float = number(above=0, at_most=LARGEST_RATE)


@dataclass
class TrainerConfig:
    """The machine that a run uses."""

    accelerator: Accelerator = MISSING
    threads: int = number(at_least=1, at_most=1024)
    progress_bar: bool = MISSING


@dataclass
class CallbacksConfig:
    """What a run leaves to look at."""

    loss_curve: bool = MISSING
    embedding: bool = MISSING
    heat_map: bool = MISSING
    context_table: bool = MISSING
    samples: int = number(at_least=0, at_most=100_000)
    samples_seed: int = number(at_least=0, at_most=LARGEST_SEED)
    lr_range: bool = MISSING
    saturation: bool = MISSING
    update_ratio: bool = MISSING
    scales: bool = MISSING


@dataclass
class LoggerConfig:
    """TensorBoard."""

    tensorboard: bool = MISSING
    log_every: int = number(at_least=1)


@dataclass
class TrainConfig:
    """Everything that `train.py` takes."""

    name: str = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    model: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    callbacks: CallbacksConfig = field(default_factory=CallbacksConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    steps: int = number(at_least=1, at_most=10**12)
    steps_per_execution: int | None = number(at_least=1)
    eval_every: int | None = number(at_least=1)
    seed: int = number(at_least=0, at_most=LARGEST_SEED)
    test: bool = MISSING


@dataclass
class SampleConfig:
    """Everything that `sample.py` takes."""

    checkpoint: str | None = MISSING
    n: int = number(at_least=1)
    prefix: str = MISSING
    # Below, a difference of logits divided by it no longer fits into float32.
    temperature: float = number(at_least=1e-6)
    top_k: int | None = number(at_least=1)
    seed: int | None = number(at_least=0, at_most=LARGEST_SEED)
    novel: bool = MISSING
    mark_known: bool = MISSING
    max_length: int = number(at_least=1)


SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "sample": SampleConfig,
    "mlp": MLPConfig,
    "bigram": BigramConfig,
    "ngram": NgramConfig,
    "mixture": MixtureConfig,
    "sgd": SGDConfig,
    "adamw": AdamWConfig,
    "step": StepConfig,
    "constant": ConstantConfig,
    "one_cycle": OneCycleConfig,
    "cosine": CosineConfig,
    "exponential": ExponentialConfig,
}
