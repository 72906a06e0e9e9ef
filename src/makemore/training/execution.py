"""How a run computes: CPU or GPU, threads, how many steps in one call.

None of it changes what is learned, except for rounding; all of it changes how long that takes. Whatever the
configuration leaves open (`trainer=auto`, `steps_per_execution=null`) is picked here by the size of one step.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch

from makemore.config.schema import Accelerator, TrainConfig
from makemore.data.minibatches import CHUNK_BUDGET
from makemore.errors import UserError
from makemore.models import registry
from makemore.models.base import LanguageModel

# Operations in the matrix products of a step from which on a GPU is worth its start of 20 operations a step. An
# estimate: it was not measured.
GPU_FROM = 5 * 10**7
# Operations in one call, a tenth of a second: rare enough that Lightning's millisecond does not count, and often enough
# for the progress bar and for Ctrl-C.
CALL = 4 * 10**9
MOST_STEPS = 1000
# Operations in the time that a small step takes beside its matrix products.
BESIDE = 2 * 10**6
# Sizes assumed before the data is read.
TYPICAL_VOCABULARY, TYPICAL_ROWS = 27, 2 * 10**5
# Evaluations in a run whose `eval_every` is not given.
EVALUATIONS = 20


@dataclass(frozen=True)
class Execution:
    """How a run computes.

    Attributes:
        accelerator: `cpu` or `gpu`.
        threads: threads of PyTorch.
        form: how the model computes its steps, in words; empty for a model that is fitted at once.
        steps_per_execution: the most optimizer steps in one call.
    """

    accelerator: Accelerator
    threads: int
    form: str
    steps_per_execution: int

    def __str__(self) -> str:
        """The same for a person."""
        where = "GPU" if self.accelerator is Accelerator.gpu else "CPU"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        if not self.form:
            return f"{where}, {threads}"
        steps = "1 step" if self.steps_per_execution == 1 else f"{self.steps_per_execution:,} steps"
        return f"{where}, {threads}, {self.form}, {steps} in a call"


@dataclass(frozen=True)
class Calls(Collection[int]):
    """How many optimizer steps each call of a run takes: all alike, but none reaches over an evaluation or the end.

    Attributes:
        steps: optimizer steps in the run.
        eval_every: steps between two evaluations.
        steps_per_execution: the most steps in a call.
    """

    steps: int
    eval_every: int
    steps_per_execution: int

    @property
    def per_evaluation(self) -> int:
        """Calls between two evaluations."""
        return math.ceil(self.eval_every / self.steps_per_execution)

    def __len__(self) -> int:
        """Calls in the run."""
        whole, rest = divmod(self.steps, self.eval_every)
        return whole * self.per_evaluation + math.ceil(rest / self.steps_per_execution)

    def __iter__(self) -> Iterator[int]:
        """The steps of each call, in order."""
        step = 0
        while step < self.steps:
            until_evaluation = self.eval_every - step % self.eval_every
            count = min(self.steps_per_execution, until_evaluation, self.steps - step)
            yield count
            step += count

    def __contains__(self, count: object) -> bool:
        """Whether some call takes this many steps."""
        return any(each == count for each in self)


def plan_calls(config: TrainConfig, chosen: Execution) -> Calls:
    """The calls of a run; a model that is fitted at once takes a single one."""
    steps = 1 if config.model.fitted else config.steps
    eval_every = config.eval_every or max(1, config.steps // EVALUATIONS)
    return Calls(steps, eval_every, min(chosen.steps_per_execution, eval_every))


def choose(config: TrainConfig, model: LanguageModel, rows: int, single_steps: bool = False) -> Execution:
    """What the configuration says, and for the rest what is fastest at this size.

    Args:
        config: the checked configuration.
        model: the model to train.
        rows: examples in a minibatch.
        single_steps: take one step in a call unless the configuration says otherwise.

    Raises:
        UserError: there is no CUDA GPU where one is asked for, or the model cannot use one.
    """
    accelerator, threads = config.trainer.accelerator, config.trainer.threads
    if accelerator is Accelerator.gpu and model.cpu_only:
        raise UserError(model.cpu_only if model.cpu_only.startswith("model.") else f"trainer=gpu: {model.cpu_only}")
    if accelerator is Accelerator.gpu and not has_gpu():
        raise UserError("trainer=gpu: PyTorch finds no CUDA GPU on this machine; use trainer=cpu")
    if config.model.fitted:
        return Execution(Accelerator.cpu, threads, "", 1)
    operations = max(1, model.operations(rows))
    if accelerator is Accelerator.auto:
        on_gpu = operations >= GPU_FROM and not model.cpu_only and has_gpu()
        accelerator = Accelerator.gpu if on_gpu else Accelerator.cpu
    form = model.choose_form(rows, accelerator is Accelerator.gpu, threads)
    most = 1 if single_steps else MOST_STEPS
    steps = config.steps_per_execution or min(most, max(1, CALL // operations))
    affordable = max(1, CHUNK_BUDGET // (rows * model.block_size))
    return Execution(accelerator, threads, form, min(steps, affordable))


def estimate_work(config: TrainConfig) -> int:
    """About how long a run will take, in operations, before its data is read. Used to start the longest runs first."""
    if config.model.fitted:
        return 0
    with torch.device("meta"):  # sizes alone, without memory
        model = registry.build(config.model, TYPICAL_VOCABULARY, config.data.block_size)
    return config.steps * (model.operations(config.data.batch_size or TYPICAL_ROWS) + BESIDE)


def has_gpu() -> bool:
    """Whether PyTorch finds a GPU that it drives with CUDA; others lack the float64 that losses are summed in."""
    return torch.cuda.is_available()
