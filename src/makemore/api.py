"""The package from Python, without the scripts.

    import makemore

    model = makemore.train("model.hidden=100", "steps=20000")
    model = makemore.load("outputs/DATE/TIME-mlp")
    model.sample(10, prefix="ka")
    model.probabilities("em")
    model.loss(["emma"])

`train` takes what train.py takes. `load` takes a run's folder or a model file; without one it takes the newest run.
`add_model` makes a network of your own, such as a notebook's, a choice of `train("model=NAME")`.
"""

import contextlib
import logging
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from makemore import files
from makemore.cli.arguments import quote
from makemore.cli.imports import heavy_imports
from makemore.cli.mistakes import explain
from makemore.cli.run_folder import claim, is_bare, without_hydra
from makemore.config import compose
from makemore.config.schema import ModelConfig, SampleConfig, TrainConfig
from makemore.errors import UserError
from makemore.inference import evaluation, sampling
from makemore.models import model_file, registry
from makemore.models.base import LanguageModel
from makemore.models.model_file import TrainedModel

CONF = Path(__file__).parents[2] / "conf"
LOG, RUN_FOLDER = "train.log", "hydra.run.dir="


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
        """What the run measured when it ended: `dev_loss`, `train_loss`, ... ; empty if nothing can be read."""
        return files.read_metrics(self.folder) or {}

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

        Raises UserError if a value is out of range, or the prefix or `top_k` does not fit the model.
        """
        keys = {"n": n, "prefix": prefix, "temperature": temperature, "top_k": top_k, "seed": seed, "novel": novel}
        settings = check_sampling(keys | {"max_length": max_length})
        seed = random.getrandbits(32) if settings.seed is None else settings.seed
        return [name for name, _ in sampling.sample_by_settings(self.trained, settings, seed)]

    @torch.inference_mode()
    def probabilities(self, prefix: str = "") -> dict[str, float]:
        """How likely each token is after the beginning of a name, the likeliest first; the boundary is its end.

        Raises UserError if the model does not know a token of the prefix.
        """
        if not isinstance(prefix, str):
            raise UserError(f"prefix={prefix!r} must be a text")
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
        if not words or isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise UserError(f'words={words!r} must be a list of one word or more, such as ["emma"]')
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

    PyTorch keeps the run's number of threads. Raises UserError for what train.py would refuse, except keys of Hydra's
    own, and numbers for true or false, which OmegaConf takes.
    """
    if not all(isinstance(override, str) for override in overrides):
        raise UserError(
            f'{overrides} must be texts, as after train.py: makemore.train("model.hidden=100", "steps=2000")'
        )
    named = next((each for each in overrides if each.lstrip("+").startswith(RUN_FOLDER)), None)
    nodes, settings, path = compose_run(overrides)
    if settings.resume is not None:
        raise UserError(f"resume={settings.resume} is for the command line: python train.py resume={settings.resume}")
    with heavy_imports():
        from makemore.training import run as training
    training.check(settings)
    folder = claim(path, None if named is None else RUN_FOLDER)
    try:
        files.write_text(folder / files.CONFIG, compose.dump(nodes))
        with log_into(folder / LOG):
            training.run(settings, folder)
    except UserError:
        if is_bare(folder, files.CONFIG):  # refused before it left anything
            shutil.rmtree(folder)
        raise
    return load(folder)


def add_model(name: str, config: type[ModelConfig], model: type[LanguageModel]) -> None:
    """Makes a network that has no folder, such as a notebook's, known as `model=NAME` to this process.

    The keys are the fields of `config`, and their defaults the values. Calling it again replaces the network; one that
    the scripts shall know needs a folder: docs/your-own-model.md.

    Raises UserError if the name belongs to another model, or a class is malformed.
    """
    registry.add(name, config, model)
    try:
        values = OmegaConf.to_container(OmegaConf.structured(config(name)), enum_to_str=True)
    except OmegaConfBaseException as error:  # a type that a configuration cannot have
        raise UserError(f"model {name}: {str(error).splitlines()[0]}") from error
    ConfigStore.instance().store(group="model", name=name, node=values)


def compose_run(overrides: Sequence[str]) -> tuple[DictConfig, TrainConfig, Path]:
    """The configuration of a run, its settings, and its folder; also where Hydra is in use, as in a Hydra job."""
    compose.register()
    hydra_in_use = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            composed = hydra.compose("train", quote(list(overrides)), return_hydra_config=True)
        nodes = without_hydra(composed)
        return nodes, compose.check_run(nodes, registry.config_of), Path(composed.hydra.run.dir)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, CONF, "train") or str(error)) from error
    finally:
        GlobalHydra.instance().hydra = hydra_in_use


def check_sampling(keys: dict[str, Any]) -> SampleConfig:
    """Checks types and ranges as `sample.py` does."""
    try:
        nodes = OmegaConf.structured(SampleConfig(checkpoint=None, mark_known=False, **keys))
    except OmegaConfBaseException as error:
        raise UserError(f"{error.key}={keys.get(str(error.key))!r} is of the wrong type") from error
    return compose.check_use(nodes, SampleConfig)


@contextlib.contextmanager
def log_into(path: Path) -> Iterator[None]:
    """Writes what the package logs into a file, as Hydra does for train.py."""
    logger, handler = logging.getLogger("makemore"), logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
