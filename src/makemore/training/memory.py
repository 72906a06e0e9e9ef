"""Explains running out of memory, where possible beforehand."""

import contextlib
import re
from collections.abc import Iterator

import torch

from makemore.config.schema import ModelConfig
from makemore.errors import UserError
from makemore.memory import check_memory
from makemore.models import registry


def check_size(config: ModelConfig, vocabulary: int, block_size: int, batch_size: int, processes: int = 1) -> None:
    """Raises UserError if a network and a minibatch do not fit into memory, before they are made.

    Each process has the network, and a share of the minibatch.
    """
    numbers, rows = 0, batch_size
    if not config.fitted:
        with torch.device("meta"):  # sizes alone, without memory
            model = registry.build(config, vocabulary, block_size)
        numbers, rows = model.size(), batch_size * model.minibatches_per_step
    sizes = f", {named}" if (named := name_sizes(config)) else ""
    data = f"{vocabulary:,} tokens, data.batch_size={batch_size}, data.block_size={block_size}"
    data += f", trainer.processes={processes}" if processes > 1 else ""
    # Parameters and gradients in float32, and as much again while states are written; a minibatch's contexts, and where
    # in the text their ids stand, in int64.
    needed = 4 * 4 * numbers * processes + 2 * 8 * rows * block_size
    check_memory(needed, f"model={config.name} with {data}{sizes}", "choose smaller sizes, or a smaller text")


def name_sizes(config: ModelConfig) -> str:
    """The whole numbers among a model's keys, as they would be typed."""
    return ", ".join(f"model.{key}={value}" for key, value in vars(config).items() if type(value) is int)


@contextlib.contextmanager
def explain_lack_of_memory(config: ModelConfig) -> Iterator[None]:
    """Turns running out of memory into a UserError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search("allocate|out of memory|overflow", str(error)):
            raise
        sizes = name_sizes(config)
        smaller = f"a smaller data.batch_size or data.block_size{f', or smaller sizes ({sizes})' if sizes else ''}"
        raise UserError(f"this run does not fit into memory; choose {smaller}") from error
