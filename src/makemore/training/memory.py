"""Running out of memory becomes a sentence, if possible before it happens."""

import contextlib
import os
import re
from collections.abc import Iterator

import torch

from makemore.config.schema import ModelConfig
from makemore.errors import UserError
from makemore.models import registry


def check_size(config: ModelConfig, vocabulary: int, block_size: int, batch_size: int) -> None:
    """Raises UserError if a network or a minibatch does not fit into memory, before it is made."""
    if not hasattr(os, "sysconf"):  # as on Windows
        return
    numbers = 0
    if not config.fitted:
        with torch.device("meta"):  # sizes alone, without memory
            numbers = registry.build(config, vocabulary, block_size).size()
    # Parameters and gradients in float32, and as much again while checkpoints are written; contexts and targets of a
    # minibatch in int64.
    needed = 4 * 4 * numbers + 8 * batch_size * (block_size + 1)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        sizes = f", {named}" if (named := name_sizes(config)) else ""
        raise UserError(
            f"model={config.name} with data.batch_size={batch_size}, data.block_size={block_size}{sizes} needs "
            f"{needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f}; choose smaller sizes"
        )


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
