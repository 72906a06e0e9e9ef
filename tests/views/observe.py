"""A small run for views to observe: Lightning's hooks are called by a plain loop over a tiny network."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from makemore.config.schema import ModelConfig, Picture
from makemore.config.status import Status
from makemore.data.minibatches import Batch
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models.base import LanguageModel

NAMES = ["emma", "ava", "mia", "ella", "eva", "liam", "lia"]
VOCABULARY = Vocabulary.from_documents(NAMES)
TRAIN = Windows.from_documents(NAMES, VOCABULARY, 3)


class Network(LanguageModel):
    """An embedding table, tanh layers with BatchNorm in nested modules, and an output layer."""

    def __init__(self, layers: int = 1, hidden: int = 5) -> None:
        super().__init__(ModelConfig("network"), len(VOCABULARY), 3)
        torch.manual_seed(0)
        self.C = nn.Parameter(torch.randn(len(VOCABULARY), 2))
        widths = [6, *[hidden] * layers]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.Tanh()) for a, b in pairwise(widths)
        )
        self.out = nn.Linear(widths[-1], len(VOCABULARY))

    def embedding(self) -> Tensor:
        return self.C

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        h, found = self.C[contexts].flatten(1), {}
        for number, layer in enumerate(self.layers):
            h = found[f"layer {number}"] = layer(h)
        return found

    def forward(self, contexts: Tensor) -> Tensor:
        logits: Tensor = self.out(list(self.activations(contexts).values())[-1])
        return logits


class Counts(nn.Module):
    """A model that is fitted: no parameters, no embedding, no layers."""

    def embedding(self) -> None:
        return None

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        return {}


class Observed:
    """A run with views on it: `train` takes steps by plain gradient descent, `fit` is that of a fitted model."""

    def __init__(self, folder: Path, model: nn.Module, *views: Any, steps: int = 40) -> None:
        self.views, self.folder = views, folder
        self.trainer = SimpleNamespace(
            default_root_dir=folder,
            loggers=[TensorBoardLogger(folder, name="", version="")],
        )
        self.run = SimpleNamespace(
            model=model,
            data=SimpleNamespace(train=TRAIN, dev=TRAIN),
            vocabulary=VOCABULARY,
            block_size=3,
            device=torch.device("cpu"),
            steps=steps,
            steps_taken=0,
            dev_losses={},
            learning_rates=[],
            status=Status.finished,
            settings={},
            figures=Picture.png,
        )

    def call(self, hook: str, *arguments: Any) -> None:
        for view in self.views:
            getattr(view, hook)(self.trainer, self.run, *arguments)

    def train(self, at_once: int = 1, rate: float = 0.1, eval_every: int = 20) -> "Observed":
        run, generator = self.run, torch.Generator().manual_seed(0)
        self.call("on_train_start")
        for number in range(run.steps // at_once):
            examples = torch.randint(len(TRAIN), (at_once, 8), generator=generator)
            batch = Batch(*TRAIN.gather(examples))  # (at_once, 8, 3) and (at_once, 8)
            run.learning_rates = [rate] * at_once
            self.call("on_train_batch_start", batch, number)
            losses = torch.stack([self.step(*pair, rate) for pair in zip(*batch, strict=True)])
            run.steps_taken += at_once
            self.call("on_train_batch_end", {"losses": losses}, batch, number)
            if run.steps_taken % eval_every == 0:
                run.dev_losses[run.steps_taken] = float(losses.mean())
                self.call("on_validation_end")
        self.call("on_train_end")
        return self

    def step(self, contexts: Tensor, targets: Tensor, rate: float) -> Tensor:
        loss = F.cross_entropy(self.run.model(contexts), targets)
        self.run.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in self.run.model.parameters():
                parameter.sub_(rate * parameter.grad)
        return loss.detach()

    def fit(self) -> "Observed":
        self.call("on_train_start")
        self.call("on_train_batch_start", Batch(*TRAIN.gather(torch.zeros(1, 1).long())), 0)
        self.call("on_train_batch_end", None, None, 0)
        self.run.dev_losses[0] = 2.0
        self.call("on_validation_end")
        self.call("on_train_end")
        return self

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if path.suffix in {".png", ".svg", ".gif", ".json", ".txt"}}

    @property
    def events(self) -> Any:
        self.trainer.loggers[0].experiment.flush()
        events = EventAccumulator(str(self.folder))
        events.Reload()
        return events

    @property
    def charts(self) -> dict[str, dict[int, float]]:
        """TensorBoard's scalars: tag -> step -> value."""
        events = self.events
        return {tag: {point.step: point.value for point in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
