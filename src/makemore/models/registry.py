"""The models: every folder beside this module that has a `config.py` and a `model.py`.

`models/NAME/config.py` defines `Config(ModelConfig)` and must not import torch; `models/NAME/model.py` defines
`Model(LanguageModel)`; `conf/model/NAME.yaml` gives the values. Nothing else has to know of a model.
"""

import functools
import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from makemore.config.schema import ModelConfig
from makemore.errors import UserError

if TYPE_CHECKING:
    from makemore.models.base import LanguageModel

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of all models, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.py"))


def config_of(name: str) -> type[ModelConfig]:
    """The `Config` of a model. Raises UserError if there is no such model, or its `config.py` is malformed."""
    if name not in names():
        raise UserError(
            f"model.name={name} is not a model; it must be the name of a folder in {FOLDER} that has a config.py: "
            f"{', '.join(names())}"
        )
    found: type[ModelConfig] = _load(name, "config", "Config", ModelConfig)
    if "__dataclass_fields__" not in vars(found):
        raise UserError(f"{FOLDER / name / 'config.py'}: Config is not a dataclass; put @dataclass above it")
    return found


def configs() -> dict[str, type[ModelConfig]]:
    """The `Config` of every model, by name."""
    return {name: config_of(name) for name in names()}


def model_of(name: str) -> "type[LanguageModel]":
    """The `Model` of a model. Raises UserError if its `model.py` is malformed."""
    from makemore.models.base import LanguageModel

    found: type[LanguageModel] = _load(name, "model", "Model", LanguageModel)
    for method in ["forward", "fit"] if config_of(name).fitted else ["forward"]:
        if getattr(found, method) is getattr(LanguageModel, method):
            raise UserError(f"{FOLDER / name / 'model.py'}: Model must define {method}")
    return found


@functools.cache
def _load(name: str, module: str, attribute: str, base: type) -> Any:
    """A class that a model's own file defines; one that it only imports belongs to another model."""
    path = FOLDER / name / f"{module}.py"
    if not path.is_file():
        raise UserError(f"model={name} is incomplete: {path} is missing")
    loaded = importlib.import_module(f"makemore.models.{name}.{module}")
    found = getattr(loaded, attribute, None)
    if not inspect.isclass(found) or not issubclass(found, base) or found.__module__ != loaded.__name__:
        raise UserError(f"{path} must define class {attribute}({base.__name__})")
    return found


def build(config: ModelConfig, vocabulary: int, block_size: int, seed: int = 0) -> "LanguageModel":
    """A model whose weights are still to be drawn by `initialize`, or to be loaded.

    The weights that PyTorch's layers draw as they are made come from `seed`. Raises UserError for a malformed model.
    """
    from makemore.randomness import GlobalGenerator

    model_class = model_of(config.name)
    with GlobalGenerator(seed):
        return model_class(config, vocabulary, block_size)


def check_logits(name: str, logits: Any, shape: tuple[int, int]) -> None:
    """Raises UserError unless a model's output has the shape that it must have."""
    if getattr(logits, "shape", None) != shape:
        given = tuple(logits.shape) if hasattr(logits, "shape") else type(logits).__name__
        raise UserError(
            f"{FOLDER / name / 'model.py'}: forward must return logits of shape {shape}, a row for each context and a "
            f"column for each token, but returned {given}"
        )
