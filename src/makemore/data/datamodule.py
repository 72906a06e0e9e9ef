"""The LightningDataModule: documents are read, split, and served as minibatches and evaluation batches."""

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from makemore.config.schema import DataConfig
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.randomness import Stream, generator

# Ids in one Lightning batch: 32 MiB of int64 contexts.
CHUNK_BUDGET = 2**22
# Examples in one evaluation batch: few batches, because Lightning takes a third of a millisecond for each.
EVALUATION_ROWS = 2**14


class Batch(NamedTuple):
    """Examples to compute with.

    Attributes:
        contexts: (..., block_size) int64 ids.
        targets: (...) int64 ids.
    """

    contexts: Tensor
    targets: Tensor


class Minibatches:
    """The training examples of a whole run, `steps_per_execution` minibatches at a time.

    Every item is a `Batch` with contexts (K, B, block_size) and targets (K, B). K is `steps_per_execution`, less where
    an evaluation is due or memory is short. What is drawn depends on the seed alone, never on K.

    Args:
        windows: the examples to draw from.
        batch_size: B; None takes every example in every step, in order.
        replacement: draw each minibatch with replacement, as the lecture does. Otherwise examples come in shuffled
            epochs, one permutation after another, and a minibatch may hold the end of one and the start of the next.
        steps: optimizer steps in the run.
        steps_per_execution: the most minibatches in an item.
        eval_every: steps between two evaluations; no item reaches over one.
        seed: the run's seed.
        device: where the examples lie and are gathered; the same ones are drawn for any.
    """

    def __init__(
        self,
        windows: Windows,
        *,
        batch_size: int | None,
        replacement: bool,
        steps: int,
        steps_per_execution: int,
        eval_every: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.windows = windows.to(device)
        self.batch_size = batch_size
        self.replacement = replacement
        self.steps = steps
        self.eval_every = eval_every
        affordable = CHUNK_BUDGET // ((batch_size or len(windows)) * windows.block_size)
        self.steps_per_execution = max(1, min(steps_per_execution, eval_every, affordable))
        self._generator = generator(seed, Stream.minibatches)
        self._order = torch.empty(0, dtype=torch.int64)  # what is left of the current permutations

    @property
    def items_per_evaluation(self) -> int:
        """How many items lie between two evaluations."""
        return math.ceil(self.eval_every / self.steps_per_execution)

    def __len__(self) -> int:
        """How many items the run has."""
        whole, rest = divmod(self.steps, self.eval_every)
        return whole * self.items_per_evaluation + math.ceil(rest / self.steps_per_execution)

    def __iter__(self) -> Iterator[Batch]:
        """Draws the run's minibatches, in order."""
        step = 0
        while step < self.steps:
            until_evaluation = self.eval_every - step % self.eval_every
            count = min(self.steps_per_execution, until_evaluation, self.steps - step)
            yield Batch(*self.windows.gather(self._draw(count)))
            step += count

    def _draw(self, count: int) -> Tensor:
        """The example numbers of the next `count` minibatches. (count, B)"""
        examples = len(self.windows)
        if self.batch_size is None:
            return torch.arange(examples).expand(count, examples)
        if self.replacement:
            return torch.randint(examples, (count, self.batch_size), generator=self._generator)
        wanted = count * self.batch_size
        parts = [self._order]
        while sum(map(len, parts)) < wanted:
            parts.append(torch.randperm(examples, generator=self._generator))
        order = torch.cat(parts)
        self._order = order[wanted:]
        return order[:wanted].view(count, self.batch_size)


class EvaluationBatches:
    """Every example of a split once, in order.

    Items are `Batch`es with contexts (B, block_size) and targets (B,).
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.rows = max(1, min(EVALUATION_ROWS, CHUNK_BUDGET // windows.block_size))

    def __len__(self) -> int:
        """How many batches there are."""
        return math.ceil(len(self.windows) / self.rows)

    def __iter__(self) -> Iterator[Batch]:
        """Gathers one batch after the other."""
        for first in range(0, len(self.windows), self.rows):
            examples = torch.arange(first, min(first + self.rows, len(self.windows)))  # (B,)
            yield Batch(*self.windows.gather(examples))


class Documents(NamedTuple):
    """What a file holds, split: everything that does not depend on the length of contexts.

    Attributes:
        path: the file.
        number: how many documents there are.
        vocabulary: of the whole file, so that a run on its first few documents has the same network.
        parts: the documents of train, dev and test.
        known: (distinct documents,) int64 fingerprints of the training documents.
        held_out: `corpus.digest` of the dev and of the test documents.
    """

    path: Path
    number: int
    vocabulary: Vocabulary
    parts: tuple[list[str], list[str], list[str]]
    known: Tensor
    held_out: list[str]


def read(data: DataConfig) -> Documents:
    """Reads the documents and splits them.

    Raises:
        UserError: the file or the split is not usable.
    """
    path = corpus.locate(data)
    documents = corpus.read(path)
    vocabulary = Vocabulary.from_documents(documents)
    if data.unique:
        documents = list(dict.fromkeys(documents))
    if data.overfit is not None:
        if data.overfit > len(documents):
            raise UserError(f"data.overfit={data.overfit} is more than the {len(documents)} documents there are")
        documents = documents[: data.overfit]
        parts = documents, documents, documents
    else:
        parts = corpus.split(documents, data.splits, data.split_seed)
    known = torch.from_numpy(np.unique(corpus.fingerprints(parts[0])))  # (distinct documents,) int64
    return Documents(path, len(documents), vocabulary, parts, known, [corpus.digest(part) for part in parts[1:]])


class WindowDataModule(L.LightningDataModule):
    """Reads the documents, splits them, and holds train, dev and test as `Windows`.

    Args:
        data: the `data` part of the configuration.
        steps: optimizer steps in the run.
        eval_every: steps between two looks at dev.
        seed: the run's seed, for the minibatches.
        steps_per_execution: the most minibatches in one Lightning batch. It and `device` may be changed until training.
        device: where minibatches and evaluation batches are gathered.
        documents: what `read` gave for `data`; None reads it in `setup`.

    After `setup`: `path`, `number`, `vocabulary`, `known` and `held_out` as in `Documents`, and the `Windows` `train`,
    `dev` and `test`.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        steps: int,
        eval_every: int,
        seed: int,
        steps_per_execution: int = 1,
        device: torch.device | str = "cpu",
        documents: Documents | None = None,
    ) -> None:
        super().__init__()
        self.data = data
        self.steps = steps
        self.steps_per_execution = steps_per_execution
        self.eval_every = eval_every
        self.seed = seed
        self.device = device
        self._documents = documents
        self._is_set_up = False

    def prepare_data(self) -> None:
        """Downloads the data once, where it has to be.

        Raises:
            UserError: it is not to be had.
        """
        corpus.locate(self.data)

    def setup(self, stage: str | None = None) -> None:
        """Builds vocabulary and windows; a second call changes nothing.

        Raises:
            UserError: the file or the split is not usable.
        """
        if self._is_set_up:
            return
        documents = self._documents or read(self.data)
        self.path, self.number, self.vocabulary = documents.path, documents.number, documents.vocabulary
        self.known, self.held_out = documents.known, documents.held_out
        self.train, self.dev, self.test = (
            Windows.from_documents(part, self.vocabulary, self.data.block_size) for part in documents.parts
        )
        self._documents = None
        self._is_set_up = True

    @functools.cached_property
    def minibatches(self) -> Minibatches:
        """The whole run's minibatches."""
        return Minibatches(
            self.train,
            batch_size=self.data.batch_size,
            replacement=self.data.replacement,
            steps=self.steps,
            steps_per_execution=self.steps_per_execution,
            eval_every=self.eval_every,
            seed=self.seed,
            device=self.device,
        )

    def train_dataloader(self) -> Minibatches:
        """The whole run's minibatches."""
        return self.minibatches

    def val_dataloader(self) -> EvaluationBatches:
        """The dev split."""
        return self.evaluation(self.dev)

    def test_dataloader(self) -> EvaluationBatches:
        """The test split."""
        return self.evaluation(self.test)

    def evaluation(self, windows: Windows) -> EvaluationBatches:
        """Batches that cover some windows once, on the device where minibatches are gathered."""
        return EvaluationBatches(windows.to(self.device))
