"""explore.html: a page on which to try the run's best model in a browser, beside a bigram and a 6-gram."""

import logging
import math
from typing import Any

import lightning.pytorch as L

from makemore import files
from makemore.errors import UserError
from makemore.inference import page
from makemore.models import model_file
from makemore.views.show import folder

log = logging.getLogger(__name__)


class Explore(L.Callback):
    """Writes the page at the end, if a page can compute the model."""

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        losses = list(filter(math.isfinite, pl_module.dev_losses.values()))
        if not losses:
            return  # the run diverged before there was a checkpoint
        trained = model_file.load(folder(trainer))
        try:
            layers = page.extract_layers(trained)
        except UserError as error:
            log.info(f"{page.NAME} is not written: {error}")
            return
        path = folder(trainer) / page.NAME
        files.write_text(path, page.make_page(trained, layers, pl_module.data, min(losses)))
        log.info(f"{files.shorten(path)} is for a browser: type a name, and see what the network expects next")
