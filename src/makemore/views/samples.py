"""samples.txt: new names from the run's best checkpoint; TensorBoard shows names from every evaluation."""

import math
from typing import Any

import lightning.pytorch as L

from makemore import files
from makemore.config.schema import LARGEST_SEED, TrainConfig
from makemore.errors import UserError
from makemore.inference import sampling
from makemore.models import model_file
from makemore.models.base import evaluating
from makemore.models.model_file import TrainedModel
from makemore.randomness import Use, make_generator
from makemore.views.show import folder, writers

MOST_NAMES = 100_000


class Samples(L.Callback):
    """Draws `n` names, always from the same random numbers, so that only the model makes a difference.

    `python sample.py checkpoint=RUN seed=SEED` prints the names of `samples.txt`.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.seed = seed

    def check(self, config: TrainConfig) -> None:
        for key, value, least, most in (("n", self.n, 1, MOST_NAMES), ("seed", self.seed, 0, LARGEST_SEED)):
            if type(value) is not int or not least <= value <= most:
                raise UserError(f"callbacks.samples.{key}={value} must be a whole number from {least} to {most:,}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not writers(trainer) or math.isnan(pl_module.dev_losses[pl_module.steps_taken]):
            return
        with evaluating(pl_module.model):
            names = self._draw(pl_module.export())
            text = "\n".join(f"    {line}" for name in names for line in name.split("\n"))
        for writer in writers(trainer):
            writer.add_text("samples", text, global_step=pl_module.steps_taken)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if all(map(math.isnan, pl_module.dev_losses.values())):
            return  # the run diverged before there was a checkpoint
        names = self._draw(model_file.load(folder(trainer)))
        files.write_text(folder(trainer) / "samples.txt", "".join(f"{name}\n" for name in names))

    def _draw(self, model: TrainedModel) -> list[str]:
        drawn = sampling.sample(model, self.n, make_generator(self.seed, Use.sampling))
        return [sampling.format_sample(model, name) for name, _ in drawn]
