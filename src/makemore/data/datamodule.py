"""The LightningDataModule: a run's examples, served in batches."""

import lightning.pytorch as L
import torch

from makemore.config.schema import DataConfig
from makemore.data.cache import read_documents
from makemore.data.dataset import Dataset
from makemore.data.minibatches import Counts, EvaluationBatches, Minibatches
from makemore.data.windows import Windows


class WindowDataModule(L.LightningDataModule):
    """Serves the train, dev and test examples of a run; `deal` sets how many minibatches it takes at a time."""

    def __init__(self, config: DataConfig, *, block_size: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        super().__init__()
        self.config = config
        self.block_size = block_size
        self.seed = seed
        self.rank, self.ranks = rank, ranks  # this process, and how many share the examples
        self.dataset: Dataset  # after `setup`
        self._state: dict[str, torch.Tensor] = {}
        self.deal([1], "cpu")

    def setup(self, stage: str | None = None) -> None:
        """Reads the documents and builds their windows; a second call, which is Lightning's, changes nothing."""
        if not hasattr(self, "dataset"):
            self.dataset = Dataset.from_documents(read_documents(self.config), self.block_size)

    def deal(
        self, counts: Counts, device: torch.device | str, minibatches_per_step: int = 1, by_document: bool = False
    ) -> None:
        """Sets how many steps each training batch is for, in order, and on which device all batches are gathered.

        With `by_document` they hold documents instead of windows.
        """
        self._counts, self._device = counts, device
        self._per_step, self._by_document = minibatches_per_step, by_document

    def train_dataloader(self) -> Minibatches:
        """Lightning takes any iterable in place of a DataLoader; these batches are on their device already."""
        c = self.config
        examples = (self.dataset.spans if self._by_document else self.dataset.train).to(self._device)
        self._minibatches = Minibatches(
            examples, c.batch_size, c.replacement, self._counts, self.seed, self._per_step, self.rank, self.ranks
        )
        if self._state:
            self._minibatches.load_state_dict(self._state)
        return self._minibatches

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Which minibatches come next."""
        return self._minibatches.state_dict()

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> None:
        self._state = state_dict

    def val_dataloader(self) -> EvaluationBatches:
        return self.evaluation(self.dataset.dev)

    def count_examples(self, steps: int) -> int:
        """About how many training examples so many steps take; without steps the model was fitted to all of them."""
        examples = len(self.dataset.train)
        if steps == 0:
            return examples
        there = len(self._minibatches.examples)  # examples, or spans of them
        drawn = steps * self._per_step * (self.config.batch_size or there)
        return round(drawn * examples / there)

    def evaluation(self, windows: Windows) -> EvaluationBatches:
        return EvaluationBatches(windows.to(self._device), self.rank, self.ranks, by_document=self._by_document)
