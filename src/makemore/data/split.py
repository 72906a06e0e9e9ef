"""Which documents, or tokens of a running text, train, which choose models, and which test them."""

import random
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from makemore.errors import UserError

Places = np.ndarray[tuple[int], np.dtype[np.int64]]


def split(documents: Sequence[str], splits: Sequence[float], seed: int) -> tuple[list[str], list[str], list[str]]:
    """Train, dev and test documents, as `split_numbers` has them."""
    parts = (part.tolist() for part in split_numbers(len(documents), splits, seed))
    train, dev, test = ([documents[i] for i in part] for part in parts)
    return train, dev, test


def split_numbers(count: int, splits: Sequence[float], seed: int) -> tuple[Places, Places, Places]:
    """The numbers of the documents in train, dev and test: one shuffle by `random.Random(seed)`, cut as in the lecture.

    Raises UserError if one is empty.
    """
    first, second = cut(count, splits)
    order = array("q", range(count))
    random.Random(seed).shuffle(order)
    numbers: Any = np.frombuffer(order, dtype=np.int64)
    return numbers[:first], numbers[first:second], numbers[second:]


def cut(count: int, splits: Sequence[float]) -> tuple[int, int]:
    """Where dev begins, and where test, among so many documents or tokens.

    `splits` are three shares, or the sizes of train and dev, where test has the rest. Raises UserError if one is empty.
    """
    if len(splits) == 2:
        first, second = int(splits[0]), int(sum(splits))
    else:
        # The nudge undoes sums like 0.7 + 0.2 = 0.8999..., which would cut one document short.
        first, second = (int(share * count + 1e-6) for share in (splits[0], splits[0] + splits[1]))
    for name, size in (("train", first), ("dev", second - first), ("test", count - second)):
        if size <= 0:
            given = "[" + ",".join(f"{each:.12g}" for each in splits) + "]"
            raise UserError(
                f"data.splits={given} leaves {name} empty: there are {count:,} to share; give more, or other splits"
            )
    return first, second
