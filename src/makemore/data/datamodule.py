"""The LightningDataModule: a run's examples, served in batches."""

from collections.abc import Collection

import lightning.pytorch as L
import torch

from makemore.config.schema import DataConfig
from makemore.data.dataset import Dataset
from makemore.data.minibatches import EvaluationBatches, Minibatches
from makemore.data.split import read_documents
from makemore.data.windows import Windows


class WindowDataModule(L.LightningDataModule):
    """Serves the train, dev and test examples of a run.

    How many minibatches a run takes, and how many at a time, is set by the run through `deal`.

    Args:
        data: the `data` part of the configuration.
        block_size: ids in a context.
        seed: the run's seed, for the minibatches.

    Attributes:
        dataset: the examples, after `setup`.
        device: where batches are gathered.
    """

    def __init__(self, data: DataConfig, *, block_size: int, seed: int) -> None:
        super().__init__()
        self.data = data
        self.block_size = block_size
        self.seed = seed
        self.dataset: Dataset
        self.deal([1], "cpu")

    def setup(self, stage: str | None = None) -> None:
        """Builds the windows; a second call changes nothing.

        Raises:
            UserError: the file or the split is not usable.
        """
        if not hasattr(self, "dataset"):
            self.dataset = Dataset.from_documents(read_documents(self.data), self.block_size)

    def deal(self, counts: Collection[int], device: torch.device | str) -> None:
        """Sets how many minibatches each training batch holds, in order, and where all batches are gathered."""
        self._counts, self.device = counts, device

    def train_dataloader(self) -> Minibatches:
        return Minibatches(
            self.dataset.train,
            batch_size=self.data.batch_size,
            replacement=self.data.replacement,
            counts=self._counts,
            seed=self.seed,
            device=self.device,
        )

    def val_dataloader(self) -> EvaluationBatches:
        return self.evaluation(self.dataset.dev)

    def evaluation(self, windows: Windows) -> EvaluationBatches:
        """Batches that cover some windows once."""
        return EvaluationBatches(windows.to(self.device))
