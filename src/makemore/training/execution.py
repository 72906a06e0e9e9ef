"""How a run computes: CPU or GPU, threads, how many steps in one call.

What the configuration leaves open (`trainer=auto`, `steps_per_execution=null`) is picked here by the size of one step.
Except for rounding, it does not change what is learned.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from makemore import machine
from makemore.config.schema import Accelerator, Precision, SGDConfig, TrainConfig, TrainerConfig
from makemore.data.minibatches import CHUNK_BUDGET
from makemore.errors import UserError
from makemore.models import registry
from makemore.models.base import LanguageModel

# Operations in a step above which a GPU should pay for launching 20 kernels. An estimate: it was not measured.
GPU_FROM = 5 * 10**7
# Operations in a step that make a thread worth waiting for. With half as many a second one would save up to a third of
# a step on an idle machine (`python -m benchmarks.forms`), and cost a tenth where another program uses a core.
PER_THREAD = 5 * 10**7
# Operations in one call, a tenth of a second: long beside Lightning's two milliseconds, short for a Ctrl-C. Where every
# step is an own call of Python's, it takes longer than its operations, so that fewer belong together.
CALL, MOST_STEPS = 4 * 10**9, 1000
CALL_AT_ONCE, MOST_STEPS_AT_ONCE = 8 * 10**9, 5000


@dataclass(frozen=True)
class Execution:
    """How a run computes its steps."""

    accelerator: Accelerator  # anything but `auto`
    threads: int  # of PyTorch
    form: str  # how the model computes its steps, in words; empty for a model that is fitted at once
    steps_per_execution: int  # the most optimizer steps in one call
    processes: int = 1
    why: str = field(default="", compare=False)  # the size that decided, in words

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        processes = f"{self.processes} processes, each with " if self.processes > 1 else ""
        where = f"{self.accelerator.value.upper()}, {processes}{threads}"
        steps = "1 step" if self.steps_per_execution == 1 else f"{self.steps_per_execution:,} steps"
        return f"{where}, {self.form}, {steps} in a call ({self.why})" if self.form else where


@dataclass(frozen=True)
class Calls:
    """How many optimizer steps each call of a run takes: all alike, but none reaches over an evaluation or the end."""

    start: int  # steps taken before, by a run that is resumed
    steps: int  # in the whole run
    eval_every: int  # steps between two evaluations
    steps_per_execution: int  # the most steps in a call

    @property
    def per_evaluation(self) -> int:
        return math.ceil(self.eval_every / self.steps_per_execution)

    @property
    def before(self) -> int:
        """Calls that a resumed run counts as taken, so that it evaluates after as many steps as it would have."""
        steps = self.eval_every - self.start % self.eval_every
        return self.per_evaluation - math.ceil(steps / self.steps_per_execution)

    def __len__(self) -> int:
        first = min(self.eval_every - self.start % self.eval_every, self.steps - self.start)  # steps
        whole, rest = divmod(self.steps - self.start - first, self.eval_every)
        calls = whole * self.per_evaluation
        return calls + math.ceil(first / self.steps_per_execution) + math.ceil(rest / self.steps_per_execution)

    def __iter__(self) -> Iterator[int]:
        step = self.start
        while step < self.steps:
            evaluation = step - step % self.eval_every + self.eval_every
            count = min(self.steps_per_execution, evaluation - step, self.steps - step)
            yield count
            step += count


def evaluation_interval(config: TrainConfig) -> int:
    """Steps from one evaluation to the next; by default a run has about 20."""
    return config.eval_every or max(1, config.steps // 20)


def plan_calls(config: TrainConfig, steps_per_execution: int, start: int = 0) -> Calls:
    """The calls of a run from a step on; a fitted model takes a single one."""
    return Calls(start, 1 if config.model.fitted else config.steps, evaluation_interval(config), steps_per_execution)


def has_gpus(trainer: TrainerConfig) -> bool:
    """Whether there is a CUDA GPU for each process."""
    return torch.cuda.is_available() and (trainer.processes == 1 or torch.cuda.device_count() >= trainer.processes)


def require_gpu(trainer: TrainerConfig) -> None:
    """Raises UserError if GPUs are asked for, and are not there."""
    if trainer.accelerator is Accelerator.mps:
        if not torch.backends.mps.is_available():
            raise UserError("trainer=mps: PyTorch finds no Apple GPU on this machine; use trainer=cpu")
        if trainer.processes > 1:
            raise UserError(f"trainer.processes={trainer.processes} with trainer=mps: it has one GPU; use trainer=cpu")
    if trainer.accelerator is Accelerator.gpu and not has_gpus(trainer):
        if trainer.processes == 1:
            raise UserError("trainer=gpu: PyTorch finds no CUDA GPU on this machine; use trainer=cpu")
        given = f"trainer.processes={trainer.processes} with trainer.accelerator=gpu"
        raise UserError(f"{given}: PyTorch finds fewer GPUs on this machine; use trainer.accelerator=cpu")


def has_bfloat16(*, on_gpu: bool) -> bool:
    """Whether the GPU, or PyTorch's library of products on this processor, multiplies numbers in bfloat16."""
    return bool(
        torch.cuda.is_bf16_supported(including_emulation=False)
        if on_gpu
        else torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def choose_threads(operations: int, cores: int) -> int:
    """Threads for steps of so many operations: each must have enough to do, since all wait for the slowest."""
    return max(1, min(cores, operations // PER_THREAD))


def choose(config: TrainConfig, model: LanguageModel, rows: int, single_steps: bool = False) -> Execution:
    """What the configuration says, and for the rest what is fastest for minibatches of this many rows.

    Prepares the model for it: its `product_dtype`, and its form by `choose_form`. `single_steps` asks for one step in a
    call unless the configuration says otherwise. Raises UserError if a GPU or bfloat16 is asked for and cannot be used.
    """
    accelerator = config.trainer.accelerator
    on_gpu = accelerator in (Accelerator.gpu, Accelerator.mps)
    if on_gpu and model.cpu_only:
        raise UserError(f"trainer={accelerator.value}: {model.cpu_only}")
    require_gpu(config.trainer)
    if config.model.fitted:
        return Execution(Accelerator.cpu, config.trainer.threads or 1, "", 1)
    operations = max(1, model.operations(rows))
    if accelerator is Accelerator.auto:
        on_gpu = operations >= GPU_FROM and not model.cpu_only and has_gpus(config.trainer)
        accelerator = Accelerator.gpu if on_gpu else Accelerator.cpu
    if config.trainer.precision is Precision.bf16:
        if accelerator is Accelerator.mps or not has_bfloat16(on_gpu=on_gpu):
            where = "GPU" if on_gpu else "processor"
            raise UserError(f"trainer.precision=bf16: this {where} cannot multiply in bfloat16; use float32")
        model.product_dtype = torch.bfloat16
    cores = max(1, machine.most_threads() // config.trainer.processes)
    threads = config.trainer.threads or (1 if on_gpu else choose_threads(model.operations_at_once(rows), cores))
    form = model.choose_form(rows, on_gpu, threads)
    if model.product_dtype is not None:
        form += " with bfloat16 products"
    at_once = model.descends and is_plain_descent(config)
    most, call = (MOST_STEPS_AT_ONCE, CALL_AT_ONCE) if at_once else (MOST_STEPS, CALL)
    fastest = 1 if single_steps else min(most, max(1, call // operations))
    affordable = max(1, CHUNK_BUDGET // (model.minibatches_per_step * rows * model.block_size))
    steps = min(config.steps_per_execution or fastest, affordable)
    why = f"{in_words(operations)} operations a step"
    return Execution(accelerator, threads, form, steps, config.trainer.processes, why)


def is_plain_descent(config: TrainConfig) -> bool:
    """Whether there is nothing to do between two steps but to draw the next minibatch: `steps.take_steps`."""
    sgd = config.optimizer
    plain = isinstance(sgd, SGDConfig) and sgd.momentum == 0 and sgd.weight_decay == 0
    return plain and config.distillation == 0 and config.gradient_clip is None and config.trainer.processes == 1


def in_words(operations: int) -> str:
    """1234567 as '1.2 million'."""
    for size, name in ((10**9, " billion"), (10**6, " million"), (10**3, " thousand")):
        if operations >= 0.9995 * size:
            return f"{operations / size:.{1 if operations < 10 * size else 0}f}{name}"
    return str(operations)


def estimate_work(config: TrainConfig) -> int:
    """About how long a run will take, in operations, before its data is read. Used to start the longest runs first."""
    if config.model.fitted:
        return 0
    with torch.device("meta"):  # sizes alone, without memory
        model = registry.build(config.model, 27, config.data.block_size)  # 27 tokens and, below, the rows of the names
    overhead = 2 * 10**6  # of a small step, expressed as operations
    return config.steps * (model.operations(config.data.batch_size or 200_000) + overhead)
