"""The lecture's run as a Lightning tutorial would write it: a `DataLoader`, automatic optimization, a logged loss.

    python -m benchmarks.plain_lightning --steps 5000

prints one line of JSON: seconds and microseconds a step of `fit`, with Lightning's own progress bar, TensorBoard logger
and checkpoint.
"""

import argparse
import json
import logging
import tempfile
import time
import warnings

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import plain
from makemore.data import corpus
from makemore.data.split import split


class Tutorial(L.LightningModule):
    """C, W1, b1, W2, b2 under SGD."""

    def __init__(self, vocabulary: int, steps: int) -> None:
        super().__init__()
        self.p = nn.ParameterList(plain.parameters(vocabulary))
        self.steps = steps

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The loss of one minibatch."""
        contexts, targets = batch
        loss = F.cross_entropy(plain.logits(list(self.p), contexts), targets)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The loss of one batch of dev."""
        contexts, targets = batch
        self.log("dev_loss", F.cross_entropy(plain.logits(list(self.p), contexts), targets))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """0.1, then 0.01."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [self.steps // 2], gamma=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main() -> None:
    """Times `fit`."""
    arguments = argparse.ArgumentParser(description="the lecture's run in plain Lightning, on one thread")
    arguments.add_argument("--steps", type=int, default=5_000)
    steps = arguments.parse_args().steps
    torch.set_num_threads(1)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    train_names, dev_names, _ = split(corpus.read(corpus.BUNDLED), [0.8, 0.1, 0.1], seed=42)
    ids = plain.id_of(train_names)
    examples = TensorDataset(*plain.double_loop(train_names, ids, 3))
    dev_examples = TensorDataset(*plain.double_loop(dev_names, ids, 3))
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(max_steps=steps, accelerator="cpu", default_root_dir=folder, enable_model_summary=False)
        started = time.perf_counter()
        trainer.fit(
            Tutorial(len(ids), steps),
            DataLoader(examples, batch_size=32, shuffle=True),
            DataLoader(dev_examples, batch_size=512),
        )
        seconds = time.perf_counter() - started
    print(json.dumps({"steps": steps, "fit_seconds": seconds, "us_per_step": seconds / steps * 1e6}))


if __name__ == "__main__":
    main()
