"""PyTorch's threads."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def use_one_thread() -> Iterator[None]:
    """Keeps PyTorch from starting threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
