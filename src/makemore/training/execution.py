"""What a run computes with: processor or GPU, threads, form of the gradients, steps in one call.

None of it changes what is learned, but for rounding; all of it changes how long that takes. Whatever the configuration
leaves open (`trainer=auto`, `model.gradients=auto`, `steps_per_execution=null`) is picked here by the size of one step.
"""

from dataclasses import dataclass

import torch
from omegaconf import DictConfig, OmegaConf

from makemore.config.schema import Accelerator, FittedConfig, Gradients, MLPConfig, TrainConfig
from makemore.data.datamodule import WindowDataModule
from makemore.errors import UserError
from makemore.models.mlp import formulas as mlp

# Operations in the matrix products of a step (`mlp.operations`) from which on more threads, where they are asked for,
# are used by PyTorch's products; below, waiting for each other takes longer than the products do.
MANY_THREADS_FROM = 10**8
# And those from which on a GPU is worth its start of 20 operations a step. An estimate: it was not measured.
GPU_FROM = 5 * 10**7
# Operations in one call, a tenth of a second: rare enough that Lightning's millisecond does not count, and often enough
# for the progress bar and for Ctrl-C.
CALL = 4 * 10**9
MOST_STEPS = 1000
# Operations in the time that a small step takes beside its matrix products.
BESIDE = 2 * 10**6
# What a run's data has, as long as it has not been read.
TYPICAL_VOCABULARY, TYPICAL_ROWS = 27, 2 * 10**5


@dataclass(frozen=True)
class Execution:
    """What a run computes with.

    Attributes:
        accelerator: `cpu` or `gpu`.
        threads: threads of PyTorch.
        gradients: any but `auto`; None for a model that is fitted at once.
        steps_per_execution: the most optimizer steps in one call.
    """

    accelerator: Accelerator
    threads: int
    gradients: Gradients | None
    steps_per_execution: int

    def __str__(self) -> str:
        """The same for a person."""
        where = "GPU" if self.accelerator is Accelerator.gpu else "CPU"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        if self.gradients is None:
            return f"{where}, {threads}"
        how = {
            Gradients.compiled: "compiled steps",
            Gradients.closed_form: "gradients in closed form",
            Gradients.autograd: "gradients by autograd",
        }[self.gradients]
        steps = "1 step" if self.steps_per_execution == 1 else f"{self.steps_per_execution:,} steps"
        return f"{where}, {threads}, {how}, {steps} in a call"


def choose(config: TrainConfig, data: WindowDataModule) -> Execution:
    """What the configuration says, and for the rest what is fastest at this size.

    Args:
        config: the checked configuration.
        data: after its `setup`.

    Raises:
        UserError: there is no CUDA GPU where one is asked for, or compiled steps are asked for on one.
    """
    model, accelerator = config.model, config.trainer.accelerator
    if isinstance(model, FittedConfig):
        if accelerator is Accelerator.gpu:
            raise UserError(f"trainer=gpu: model={model.name} is fitted on the processor; use trainer=cpu")
        return Execution(Accelerator.cpu, config.trainer.threads, None, 1)
    rows, vocabulary = config.data.batch_size or len(data.train), len(data.vocabulary)
    if isinstance(model, MLPConfig):
        gradients = model.gradients
        operations = mlp.operations(rows, vocabulary, config.data.block_size, model.emb_dim, model.hidden)
    else:
        gradients = Gradients.closed_form
        operations = rows * vocabulary
    if accelerator is Accelerator.auto:
        by_size = gradients is not Gradients.compiled and operations >= GPU_FROM and has_gpu()
        accelerator = Accelerator.gpu if by_size else Accelerator.cpu
    if accelerator is Accelerator.gpu:
        if not has_gpu():
            raise UserError("trainer=gpu: PyTorch finds no CUDA GPU on this machine; use trainer=cpu")
        if gradients is Gradients.compiled:
            raise UserError("model.gradients=compiled is for the CPU; with trainer=gpu use model.gradients=auto")
    threads = config.trainer.threads
    if gradients is Gradients.auto:
        in_loops = accelerator is Accelerator.cpu and (threads == 1 or operations < MANY_THREADS_FROM)
        gradients = Gradients.compiled if in_loops else Gradients.closed_form
    most = 1 if config.callbacks.update_ratio else MOST_STEPS  # which looks at single steps
    steps = config.steps_per_execution or min(most, max(1, CALL // operations))
    return Execution(accelerator, threads, gradients, steps)


def expected_work(nodes: DictConfig) -> int:
    """About how long a run will take, in operations, before anything of it is checked or read.

    It is for runs to be put in order by.

    Args:
        nodes: the run's configuration.
    """
    model, data = nodes.model, nodes.data
    if OmegaConf.get_type(nodes, "model") is not MLPConfig:
        return 0  # counting is done at once, and a bigram's steps are small
    rows = data.batch_size or TYPICAL_ROWS
    step = mlp.operations(rows, TYPICAL_VOCABULARY, data.block_size, model.emb_dim, model.hidden)
    return int(nodes.steps * (step + BESIDE))


def has_gpu() -> bool:
    """Whether PyTorch finds a GPU that it drives with CUDA; others lack the float64 that losses are summed in."""
    return torch.cuda.is_available()
