"""The package from Python, without the scripts:

import makemore

model = makemore.train("model.hidden=100", "steps=20000")    # what train.py takes
model = makemore.load()    # the newest run's; or load(RUN), a folder or a model file
model.sample(10, prefix="ka")
model.probabilities("em")
model.loss(["emma"])
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from makemore import files
from makemore.cli.imports import heavy_imports
from makemore.cli.mistakes import explain
from makemore.cli.run_folder import claim, without_hydra
from makemore.config import compose
from makemore.errors import UserError
from makemore.inference import evaluation, sampling
from makemore.models import model_file, registry
from makemore.models.model_file import TrainedModel
from makemore.randomness import Stream, generator

CONF = Path(__file__).parents[2] / "conf"


class Model:
    """A trained model.

    Attributes:
        trained: the network, its vocabulary and the run's settings; `trained.model` is an `nn.Module`.
        folder: of the run, or wherever the model file is.
    """

    def __init__(self, trained: TrainedModel, folder: Path) -> None:
        self.trained = trained
        self.folder = folder

    def __repr__(self) -> str:
        return f"<{self.trained.settings.get('model')}, {self.trained.model.size():,} parameters, {self.folder}>"

    @property
    def metrics(self) -> dict[str, Any]:
        """What the run measured when it ended: `dev_loss`, `train_loss`, ... ; empty without a run's folder."""
        path = self.folder / files.METRICS
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return metrics

    def sample(
        self,
        n: int = 20,
        *,
        prefix: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | None = None,
        novel: bool = False,
        max_length: int = 200,
    ) -> list[str]:
        """Draws names: the keys are those of `sample.py`, and the same seed gives the same names there.

        Raises UserError if the prefix or `top_k` does not fit the model.
        """
        chance = generator(random.getrandbits(32) if seed is None else seed, Stream.sampling)
        keys: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "novel": novel, "max_length": max_length}
        return [name for name, _ in sampling.sample(self.trained, n, chance, prefix=prefix, **keys)]

    @torch.inference_mode()
    def probabilities(self, prefix: str = "") -> dict[str, float]:
        """How likely each token is after the beginning of a name, the likeliest first; the boundary is its end.

        Raises UserError if the model does not know a token of the prefix.
        """
        trained = self.trained
        ids = torch.tensor([0] * trained.block_size + trained.vocabulary.encode_text(prefix).tolist())
        p = trained.logits(ids[-trained.block_size :].unsqueeze(0)).softmax(1)[0]  # (vocabulary,)
        values, order = p.sort(descending=True, stable=True)
        labels = [trained.vocabulary.label(i) for i in order.tolist()]
        return dict(zip(labels, values.tolist(), strict=True))

    def loss(self, words: Sequence[str]) -> float:
        """The mean cross-entropy of some names, in nats per token, ends included.

        Raises UserError if there are none, or the model does not know a token.
        """
        if not words:
            raise UserError("words=[] must be one word or more")
        measured = evaluation.measure_words(self.trained, words)
        losses = [loss for row in measured for _, loss in row["tokens"]]
        return float(sum(losses) / len(losses))


def load(path: str | Path | None = None) -> Model:
    """Reads the model of a run's folder, or a model file; without either, that of the newest run below `outputs/`.

    Raises UserError if there is none.
    """
    file = model_file.find(None if path is None else str(path), Path("outputs"))
    return Model(model_file.load(file), file.parent)


def train(*overrides: str) -> Model:
    """Trains as `python train.py OVERRIDES` does, into a folder below `outputs/`, and returns the best model.

    Raises UserError for what train.py would refuse.
    """
    compose.register()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            composed = hydra.compose("train", list(overrides), return_hydra_config=True)
        path = Path(composed.hydra.run.dir)
        nodes = without_hydra(composed)
        settings = compose.check_run(nodes, registry.config_of)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, CONF, "train") or str(error)) from error
    if settings.resume is not None:
        raise UserError(f"resume={settings.resume} is for the command line: python train.py resume={settings.resume}")
    with heavy_imports():
        from makemore.training import run as training
    training.check(settings)
    folder = claim(path, None)
    files.write_text(folder / files.CONFIG, compose.dump(nodes))
    training.run(settings, folder)
    return load(folder)
