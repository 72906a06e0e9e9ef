"""The LightningDataModule: documents as shuffled train, dev and test windows, served in batches."""

from collections.abc import Collection

import lightning.pytorch as L
import torch

from makemore.config.schema import DataConfig
from makemore.data import corpus
from makemore.data.dataset import Dataset
from makemore.data.minibatches import EvaluationBatches, Minibatches
from makemore.data.split import read_documents
from makemore.data.windows import Windows


class WindowDataModule(L.LightningDataModule):
    """Reads the documents, splits them, and serves train, dev and test.

    How many minibatches a run takes, and how many at a time, is the run's affair: it says so by `deal`.

    Args:
        data: the `data` part of the configuration.
        block_size: ids in a context; None takes `data.block_size`.
        seed: the run's seed, for the minibatches.

    Attributes:
        dataset: the examples, after `setup`.
        device: where batches are gathered.
    """

    def __init__(self, data: DataConfig, *, block_size: int | None = None, seed: int) -> None:
        super().__init__()
        self.data = data
        self.block_size = block_size or data.block_size
        self.seed = seed
        self.device: torch.device | str = "cpu"
        self.dataset: Dataset
        self._counts: Collection[int] = [1]
        self._is_set_up = False

    def prepare_data(self) -> None:
        """Downloads the data once, if needed.

        Raises:
            UserError: the download failed.
        """
        corpus.locate(self.data)

    def setup(self, stage: str | None = None) -> None:
        """Builds the windows; a second call changes nothing.

        Raises:
            UserError: the file or the split is not usable.
        """
        if not self._is_set_up:
            self.dataset = Dataset.from_documents(read_documents(self.data), self.block_size)
            self._is_set_up = True

    def deal(self, counts: Collection[int], device: torch.device | str) -> None:
        """Sets how many minibatches each training batch holds, and where batches are gathered.

        Args:
            counts: minibatches in each batch of the run, in order.
            device: of minibatches and evaluation batches.
        """
        self._counts, self.device = counts, device

    def train_dataloader(self) -> Minibatches:
        """The whole run's minibatches."""
        return Minibatches(
            self.dataset.train,
            batch_size=self.data.batch_size,
            replacement=self.data.replacement,
            counts=self._counts,
            seed=self.seed,
            device=self.device,
        )

    def val_dataloader(self) -> EvaluationBatches:
        """The dev split."""
        return self.evaluation(self.dataset.dev)

    def test_dataloader(self) -> EvaluationBatches:
        """The test split."""
        return self.evaluation(self.dataset.test)

    def evaluation(self, windows: Windows) -> EvaluationBatches:
        """Batches that cover some windows once."""
        return EvaluationBatches(windows.to(self.device))
