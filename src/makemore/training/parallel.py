"""One run in several processes: each takes its share of every minibatch, and all take the same step.

Data parallelism as in PyTorch's DDP (Li et al., "PyTorch Distributed", 2020): gradients are averaged before each step,
so that weights stay the same everywhere. PyTorch's wrapper averages while autograd goes backwards, once in each call of
the model; here a call takes many steps, and their gradients may come from formulas, so they are averaged after it.

The first process does what a run in one process does. The others are whole runs too, without loggers, whose folders are
thrown away: so callbacks need not know of them, and may end a run together.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import lightning.pytorch as L
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from makemore.config.status import Status
from makemore.data.spans import PADDING
from makemore.errors import Terminated, UserError
from makemore.training import processes

LOCALHOST = "127.0.0.1"
# Seconds after which processes are killed that were told to stop and have not.
LONGEST_STOP = 60.0
# Seconds that a process keeps an error to itself: it may only be the consequence of another process's end.
HOLD_BACK = 2.0


class Averaging(DDPStrategy):
    """Lightning's strategy for several processes, except that the model stays without PyTorch's wrapper."""

    def configure_ddp(self) -> None:
        pass


class Share(NamedTuple):
    """Which part of the work is this process's: every `of`-th row, from the row `rank` on."""

    rank: int = 0
    of: int = 1


ALONE = Share()


class Failure(NamedTuple):
    """Why a process could not go on: the error, and its text, which for a fault of the program is a traceback."""

    kind: type[BaseException]
    text: str = ""


class StopTogether(L.Callback):
    """Ends all processes once a callback has ended one of them, because the others would wait for it."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = bool(agree(trainer.should_stop))

    def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = bool(agree(trainer.should_stop))


def run_together(run: Callable[[Path, Share], dict[str, Any]], folder: Path, count: int) -> dict[str, Any]:
    """Makes a run in `count` processes, the first of which writes into its folder, and returns what that one returns.

    Raises:
        UserError: a process had a mistake to tell, or was killed; then the others are killed, too.
        KeyboardInterrupt: after Ctrl-C, when all have ended; `Terminated` after SIGTERM.
    """
    if not hasattr(os, "fork"):
        raise UserError(f"trainer.processes={count} needs a system that can fork; use trainer.processes=1")
    with socket.socket() as free:
        free.bind((LOCALHOST, 0))
        port = free.getsockname()[1]
    result: dict[str, Any] = {}
    stopped: list[tuple[float, type[BaseException]]] = []  # when and how processes were told to stop

    def give_up() -> None:
        if stopped and time.monotonic() - stopped[0][0] > LONGEST_STOP:
            raise stopped[0][1]

    with tempfile.TemporaryDirectory() as elsewhere:
        calls = []
        for rank in range(count):
            into = folder if rank == 0 else Path(elsewhere, str(rank))
            into.mkdir(exist_ok=True)
            calls.append(partial(_run_in_child, run, into, Share(rank, count), port))
        with contextlib.closing(processes.run_all(calls, count, give_up, shown=0)) as outcomes:
            for rank, value, error in outcomes:
                if error == Status.interrupted:
                    stopped.append((time.monotonic(), KeyboardInterrupt))
                elif isinstance(value, Failure) and value.kind is Terminated:
                    stopped.append((time.monotonic(), Terminated))
                elif isinstance(value, Failure):
                    raise value.kind(value.text)
                elif error is not None:
                    print(file=sys.stderr)  # after the progress line of a process that is killed
                    # `processes` begins its sentence about one that was killed with these words.
                    why = error.splitlines()[0].replace("the process", f"process {rank + 1} of {count}", 1)
                    raise UserError(f"{why}; python train.py resume={folder} continues the run")
                elif rank == 0:
                    result = value
    if stopped:
        raise stopped[0][1]
    return result


def _run_in_child(run: Callable[[Path, Share], dict[str, Any]], into: Path, share: Share, port: int) -> Any:
    """Makes one process's share of a run; an error comes back as a `Failure`."""
    os.environ |= {"LOCAL_RANK": str(share.rank), "MASTER_ADDR": LOCALHOST, "MASTER_PORT": str(port)}
    signal.signal(signal.SIGTERM, _terminate)  # until training has a handler of its own
    if share.rank > 0:
        logging.disable()
    try:
        metrics = run(into, share)
        return metrics if share.rank == 0 else None
    except Terminated:
        return Failure(Terminated)
    except UserError as error:
        return Failure(UserError, str(error))
    except Exception:
        time.sleep(HOLD_BACK)
        return Failure(RuntimeError, f"process {share.rank + 1}: {traceback.format_exc()}")


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


def trainer_arguments(share: Share) -> dict[str, Any]:
    """The arguments of Lightning's Trainer that depend on the processes."""
    if share.of == 1:
        return {"devices": 1}
    return {"devices": share.of, "strategy": Averaging(cluster_environment=LightningEnvironment())}


def is_shared() -> bool:
    """Whether this process is one of several of a run."""
    return dist.is_initialized()


def average_gradients(model: nn.Module, targets: Tensor, loss: Tensor | float) -> Tensor | float:
    """Gives every process the mean of all processes' gradients, in one message; a missing one counts as 0.

    Shares weigh by their examples, relative to the mean of all shares: those of documents, whose targets are (B, T),
    have different numbers. Returns this process's loss with its weight, so that the mean of all is the minibatch's.
    """
    weight = 1.0
    if targets.dim() == 2:
        examples = int((targets != PADDING).sum())
        weight = examples * dist.get_world_size() / add_up(examples)[0]
    gradients = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    mean = average(torch.cat([gradient.reshape(-1) for gradient in gradients]).mul_(weight))
    parts = torch.split(mean, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return weight * loss


def average_buffers(model: nn.Module) -> None:
    """Gives every process the mean of what the processes' buffers hold, as the running statistics of batch norm."""
    if is_shared():
        kept = model.state_dict().keys()
        for name, buffer in model.named_buffers():
            if name in kept and buffer.is_floating_point():
                average(buffer)


def average(values: Tensor) -> Tensor:
    """The mean of all processes' tensors, in place; of a single one, itself."""
    if is_shared():
        dist.all_reduce(values)
        values.div_(dist.get_world_size())
    return values


def add_up(*numbers: float) -> list[float]:
    """The sum of what the processes have, for each number."""
    return _reduce(numbers, dist.ReduceOp.SUM) if is_shared() else list(numbers)


def agree(number: int) -> int:
    """The largest number that a process has, so that all do the same."""
    return int(_reduce([number], dist.ReduceOp.MAX)[0]) if is_shared() else number


def _reduce(numbers: Sequence[float], how: Any) -> list[float]:
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    values = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(values, how)
    return values.tolist()


def gather(value: Any) -> list[Any]:
    """What each process has, in their order."""
    if not is_shared():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
