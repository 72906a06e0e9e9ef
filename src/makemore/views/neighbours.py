"""neighbours.txt: what the most common words have learned to be like, in a run on words."""

from typing import Any

import lightning.pytorch as L

from makemore import files
from makemore.config.schema import TrainConfig
from makemore.errors import UserError
from makemore.inference.neighbours import find_neighbours, format_neighbours, list_common_words
from makemore.views.show import folder


class Neighbours(L.Callback):
    """Lists the nearest words of the `n` most common ones at the end, if the model has an embedding table."""

    def __init__(self, n: int) -> None:
        self.n = n

    def check(self, config: TrainConfig) -> None:
        """Raises UserError for a number of words that cannot be listed."""
        if type(self.n) is not int or self.n < 1:
            raise UserError(f"callbacks.neighbours.n={self.n} must be a whole number of at least 1")

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        C = pl_module.model.embedding()
        words = list_common_words(pl_module.vocabulary, self.n)
        if C is None or not C.isfinite().all() or not words:
            return
        text = format_neighbours(find_neighbours(C.cpu(), pl_module.vocabulary, words))
        files.write_text(folder(trainer) / "neighbours.txt", text + "\n")
