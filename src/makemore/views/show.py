"""What views of a run share: where they put what they show, and which parameters they have room for."""

import io
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as L
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from makemore.config.schema import Picture
from makemore.views import style

MOST_PARAMETERS = 20  # that a figure shows one by one


class View(L.Callback):
    """A callback that goes on in a resumed run where it was: the attributes named in `kept` are saved with the run.

    They may be tensors, plain values, and lists, tuples and dicts of these. A view without any is a plain Callback.

    In their hooks `pl_module`, which Lightning hands in, is a `LanguageModule` (`training/module.py`, a layer above,
    hence `Any`): views read its `model`, `device`, `data`, `vocabulary`, `block_size`, `steps`, `steps_taken`,
    `dev_losses`, `learning_rates`, `status`, `figures` and `export()`, and change nothing.
    """

    kept: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.kept if hasattr(self, name)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)


def choose_parameters(parameters: Mapping[str, Tensor]) -> list[str]:
    """The names of those that a figure shows: all, or only the matrices, if there are more than `MOST_PARAMETERS`."""
    matrices = [name for name, each in parameters.items() if each.dim() > 1]
    return matrices if matrices and len(parameters) > MOST_PARAMETERS else list(parameters)


def folder(trainer: L.Trainer) -> Path:
    return Path(trainer.default_root_dir)


def writers(trainer: L.Trainer) -> list[SummaryWriter]:
    """The run's TensorBoard writers: none without `logger=tensorboard`."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def show(trainer: L.Trainer, pl_module: Any, name: str, figure: Figure) -> None:
    """Writes a figure into the run's folder as `name.png`, or in another format, and gives a PNG to its loggers."""
    path = folder(trainer) / f"{name}.{pl_module.figures.value}"
    style.save(figure, path)
    if trainer.loggers:
        png = path.read_bytes() if pl_module.figures is Picture.png else style.render(figure)
        show_png(trainer, pl_module, name, png)


def show_png(trainer: L.Trainer, pl_module: Any, name: str, png: bytes) -> None:
    """Gives a picture to the loggers; to TensorBoard as it is, because `add_image` would compress it again."""
    width, height = struct.unpack(">II", png[16:24])
    image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)  # 4 is RGBA
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):  # as W&B's has
            logger.log_image(f"pictures/{name}", [Image.open(io.BytesIO(png))], step=pl_module.steps_taken)
    for writer in writers(trainer):
        summary = Summary(value=[Summary.Value(tag=f"pictures/{name}", image=image)])
        writer._get_file_writer().add_summary(summary, pl_module.steps_taken)  # type: ignore[no-untyped-call]


def log_histograms(trainer: L.Trainer, pl_module: Any, group: str, tensors: Mapping[str, Tensor]) -> None:
    """Adds the distribution of each tensor's finite entries to TensorBoard's histograms `group/name`."""
    for name, tensor in tensors.items():
        entries = tensor[tensor.isfinite()]
        for writer in writers(trainer) if len(entries) else []:
            writer.add_histogram(f"{group}/{name}", entries, pl_module.steps_taken)


def log_scalars(trainer: L.Trainer, values: Mapping[str, float], step: int) -> None:
    """Adds a point to the loggers' chart of each name, such as `loss/dev`, whose value is a number."""
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    for logger in trainer.loggers:
        logger.log_metrics(finite, step=step)
