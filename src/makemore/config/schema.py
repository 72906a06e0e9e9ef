"""The type and range of every configuration key, except for the keys of models: those are in `models/NAME/config.py`.

Values live in the YAML files under `conf/` only, so that there is one place to look for a default.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from omegaconf import MISSING

from makemore.errors import UserError


class Accelerator(Enum):
    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"
    mps = "mps"


class Profiler(Enum):
    """What is timed: hooks and callbacks, or every function of Python's."""

    simple = "simple"
    advanced = "advanced"


class Precision(Enum):
    """The type of numbers in matrix products; weights, sums, loss and optimizer are always in float32."""

    float32 = "float32"
    bf16 = "bf16"


class Picture(Enum):
    """The format of figures."""

    png = "png"
    svg = "svg"
    pdf = "pdf"


class Source(Enum):
    names = "names"
    makemore = "makemore"
    brown = "brown"
    text = "text"


class Level(Enum):
    """What a token is."""

    char = "char"
    word = "word"

    def __str__(self) -> str:
        """What a person calls it."""
        return "character" if self is Level.char else "word"


class Layout(Enum):
    """How a text is laid out: a document on each line, or one document that runs over all lines."""

    lines = "lines"
    running = "running"


def number(**limits: float) -> Any:
    """A field without a default whose values must stay within these limits: at_least, above, at_most, below."""
    return field(default=MISSING, metadata=limits)


LARGEST_SEED = 2**63 - 1
LONGEST_CONTEXT = 10**6  # ids
LARGEST_SIZE = 10**12  # of a layer: beyond any memory, and its square is still far below infinity
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
    # With defaults, because runs from before these keys lack them.
    dev_path: str | None = None
    test_path: str | None = None
    level: Level = Level.char
    layout: Layout = Layout.lines
    min_count: int = field(default=1, metadata={"at_least": 1})


@dataclass
class ModelConfig:
    """The keys of a model. Each model extends this class as `Config` in `models/NAME/config.py`."""

    name: str = MISSING

    # Whether the model is fitted to whole splits at once, without an optimizer, a schedule or steps.
    fitted: ClassVar[bool] = False

    def check(self, run: "TrainConfig") -> None:
        """Checks what the range of a single key cannot say.

        Raises:
            UserError: the keys do not go together.
        """

    def context_length(self, data: DataConfig) -> int:
        """How many ids the model sees; `data.block_size` unless the model knows better."""
        return data.block_size


@dataclass
class OptimizerConfig:
    """What every optimizer has: the class that `_target_` names, and weight decay."""

    _target_: str = MISSING
    _partial_: bool = MISSING
    weight_decay: float = number(at_least=0)


@dataclass
class SGDConfig(OptimizerConfig):
    momentum: float = number(at_least=0, below=1)
    nesterov: bool = MISSING


@dataclass
class AdamWConfig(OptimizerConfig):
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
    drop_at: float = number(above=0, at_most=1)
    factor: float = number(above=0, at_most=1)


@dataclass
class CosineConfig(ScheduleConfig):
    warmup: float = number(at_least=0, below=1)
    end_factor: float = number(at_least=0, at_most=1)


@dataclass
class OneCycleConfig(CosineConfig):
    start_factor: float = number(above=0, at_most=1)


@dataclass
class InverseConfig(ScheduleConfig):
    decay: float = number(at_least=0, at_most=1)


@dataclass
class ExponentialConfig(ScheduleConfig):
    end_lr: float = number(above=0, at_most=LARGEST_RATE)


# Types and ranges of the keys of these optimizers and schedules. The keys of any other `_target_` are not checked here.
TARGETS: dict[str, type] = {
    "torch.optim.SGD": SGDConfig,
    "torch.optim.AdamW": AdamWConfig,
    "makemore.training.schedule.constant": ScheduleConfig,
    "makemore.training.schedule.step": StepConfig,
    "makemore.training.schedule.one_cycle": OneCycleConfig,
    "makemore.training.schedule.cosine": CosineConfig,
    "makemore.training.schedule.exponential": ExponentialConfig,
    "makemore.training.schedule.inverse": InverseConfig,
}


@dataclass
class TrainerConfig:
    """The machine that a run uses."""

    accelerator: Accelerator = MISSING
    threads: int | None = number(at_least=1, at_most=1024)
    progress_bar: bool = MISSING
    save_every: float = number(at_least=0)
    # With defaults, because runs from before these keys lack them.
    precision: Precision = Precision.float32
    processes: int = field(default=1, metadata={"at_least": 1, "at_most": 1024})
    profiler: Profiler | None = None


@dataclass
class TrainConfig:
    """Everything that `train.py` takes.

    After `compose.check_run`, `model` is the `Config` of the model that it names, `optimizer` and `schedule` are one of
    `TARGETS` or a plain dict, and `callbacks` and `logger` hold a dict with `_target_`, or None, under each name.
    """

    name: str = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    model: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    steps: int = number(at_least=1, at_most=10**12)
    steps_per_execution: int | None = number(at_least=1)
    eval_every: int | None = number(at_least=1)
    log_every: int = number(at_least=1)
    distillation: float = number(at_least=0, at_most=1)
    seed: int = number(at_least=0, at_most=LARGEST_SEED)
    figures: Picture = Picture.png  # with a default, because runs from before this key lack it
    test: bool = MISSING
    resume: str | None = MISSING
    start_from: str | None = MISSING
    # With defaults, because runs from before these keys lack them.
    gradient_clip: float | None = field(default=None, metadata={"above": 0})
    tags: list[str] = field(default_factory=list)


def check_batch_norm(run: TrainConfig, needed_by: str) -> None:
    """Raises UserError for minibatches that are too small for batch normalization."""
    rows, processes = run.data.batch_size, run.trainer.processes
    if rows is not None and rows // processes < 2:
        given = f"data.batch_size={rows}" + (f" in trainer.processes={processes}" if processes > 1 else "")
        raise UserError(f"{given} is too small for {needed_by}: BatchNorm needs at least 2 examples in each process")


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


@dataclass
class EvaluateConfig:
    """Everything that `evaluate.py` takes; of `data`, `source`, `path` and `unique` count."""

    checkpoint: str | None = MISSING
    against: str | None = MISSING
    data: DataConfig | None = None
    words: list[str] = MISSING
    neighbours: list[str] = MISSING
    explore: bool = MISSING
    json: bool = MISSING
