"""What a view may read of a run, and what it may define.

A view is a Lightning callback that shows one thing about a run: one file, with its computation and its figure, and one
entry in `conf/callbacks/`. Its hooks get Lightning's trainer (`default_root_dir`, `loggers`, and the data in
`datamodule`) and the training module, of which they read what `Run` lists. Beside hooks, a view may define

    check(config)   raises UserError if the view cannot show a run with this TrainConfig; called before anything is
                    written
    single_steps    True if `on_train_batch_end` is to be called after every single optimizer step

A view never changes the run. It calls the model within `evaluating(run.model)`, and leaves `.grad`, buffers and global
random state alone. A fitted model takes no steps: its `on_train_batch_end` has no `outputs`.
"""

from typing import Any, Protocol

import torch

from makemore.config.status import Status
from makemore.data.vocabulary import Vocabulary
from makemore.models.base import LanguageModel
from makemore.models.model_file import TrainedModel


class Run(Protocol):
    """The training module, as views see it."""

    model: LanguageModel
    vocabulary: Vocabulary
    block_size: int
    steps: int  # in the whole run; 1 for a fitted model
    steps_taken: int
    dev_losses: dict[int, float]  # nats per token, by steps taken; nan after the run diverged
    learning_rates: list[float]  # of the steps in the current batch
    status: Status
    settings: dict[str, Any]

    @property
    def device(self) -> torch.device: ...

    def trained(self) -> TrainedModel:
        """The model as it stands now."""
