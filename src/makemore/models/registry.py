"""The models: every folder beside this module that has a `config.py` and a `model.py`.

`models/NAME/config.py` defines `Config(ModelConfig)` and must not import torch; `models/NAME/model.py` defines
`Model(LanguageModel)`; `conf/model/NAME.yaml` gives the values. Nothing else has to know of a model.
"""

import contextlib
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
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


def model_of(name: str) -> "type[LanguageModel]":
    """The `Model` of a model. Raises UserError if its `model.py` is malformed."""
    from makemore.models.base import LanguageModel

    found: type[LanguageModel] = _load(name, "model", "Model", LanguageModel)
    needed = ["forward"] + ["fit"] * config_of(name).fitted + ["read"] * found.by_document
    for method in needed:
        own = getattr(found, method, None)
        if own in (None, getattr(LanguageModel, method, None)) or getattr(own, "__isabstractmethod__", False):
            raise UserError(f"{FOLDER / name / 'model.py'}: Model must define {method}")
    return found


@functools.cache
def _load(name: str, module: str, attribute: str, base: type) -> Any:
    """A class that a model's own file defines; one that it only imports belongs to another model."""
    path = FOLDER / name / f"{module}.py"
    if not path.is_file():
        raise UserError(f"model={name} is incomplete: {path} is missing")
    with name_file(path):
        loaded = importlib.import_module(f"makemore.models.{name}.{module}")
    found = getattr(loaded, attribute, None)
    if not inspect.isclass(found) or not issubclass(found, base) or found.__module__ != loaded.__name__:
        raise UserError(f"{path} must define class {attribute}({base.__name__})")
    return found


def build(config: ModelConfig, vocabulary: int, block_size: int, seed: int = 0) -> "LanguageModel":
    """A model yet to be initialized or loaded; what PyTorch's layers draw as they are made comes from `seed`."""
    from makemore.randomness import GlobalGenerator

    model_class = model_of(config.name)
    with GlobalGenerator(seed), name_file(FOLDER / config.name / "model.py"):
        return model_class(config, vocabulary, block_size)


@contextlib.contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Turns an error in a model's own code into a UserError that names its file; HYDRA_FULL_ERROR=1 shows both."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and re.search("allocate|overflow", str(error)):
            raise
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UserError(f"{path}: {why} (HYDRA_FULL_ERROR=1 shows where)") from error
