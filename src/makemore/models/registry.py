"""The models: every folder beside this module that has a `config.py` and a `model.py`.

`models/NAME/config.py` defines `Config(ModelConfig)` and must not import torch; `models/NAME/model.py` defines
`Model(LanguageModel)`; `conf/model/NAME.yaml` gives the values. Nothing else has to know of a model. Beside these there
are the models that this process alone has added, as a notebook does.
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
_ADDED: dict[str, "tuple[type[ModelConfig], type[LanguageModel]]"] = {}


def names() -> list[str]:
    """The names of all models, sorted."""
    return sorted({*_in_folders(), *_ADDED})


def _in_folders() -> list[str]:
    return [path.parent.name for path in FOLDER.glob("*/config.py")]


def add(name: str, config: type[ModelConfig], model: "type[LanguageModel]") -> None:
    """Makes a model known to this process, or replaces one that was added before.

    Raises UserError if the name belongs to a folder or is no name, or a class is malformed.
    """
    from makemore.models.base import LanguageModel

    if not name.isidentifier():
        raise UserError(f"{name!r} cannot name a model; use letters, digits and underscores, such as my_model")
    if name in _in_folders():
        raise UserError(f"{name} is the name of a model in {FOLDER}; give yours another")
    for found, base in ((config, ModelConfig), (model, LanguageModel)):
        if not inspect.isclass(found) or not issubclass(found, base) or found is base:
            raise UserError(f"model {name}: {found!r} must be a class that extends {base.__name__}")
    _check_config(config, f"model {name}")
    _check_model(model, config, f"model {name}")
    _ADDED[name] = config, model


def place(name: str) -> Path | str:
    """Where a model is defined: its file, or for one that was added, which has none, what to call it."""
    return f"model {name}" if name in _ADDED else FOLDER / name / "model.py"


def config_of(name: str) -> type[ModelConfig]:
    """The `Config` of a model. Raises UserError if there is no such model, or its `config.py` is malformed."""
    if name in _ADDED:
        return _ADDED[name][0]
    if name not in names():
        raise UserError(
            f"model.name={name} is not a model; it must be the name of a folder in {FOLDER} that has a config.py: "
            f"{', '.join(names())}"
        )
    found: type[ModelConfig] = _load(name, "config", "Config", ModelConfig)
    _check_config(found, FOLDER / name / "config.py")
    return found


def _check_config(found: type[ModelConfig], where: Path | str) -> None:
    if "__dataclass_fields__" not in vars(found):
        raise UserError(f"{where}: {found.__name__} is not a dataclass; put @dataclass above it")


def model_of(name: str) -> "type[LanguageModel]":
    """The `Model` of a model. Raises UserError if its `model.py` is malformed."""
    from makemore.models.base import LanguageModel

    if name in _ADDED:
        return _ADDED[name][1]
    found: type[LanguageModel] = _load(name, "model", "Model", LanguageModel)
    _check_model(found, config_of(name), FOLDER / name / "model.py")
    return found


def _check_model(found: "type[LanguageModel]", config: type[ModelConfig], where: Path | str) -> None:
    from makemore.models.base import LanguageModel

    needed = ["forward"] + ["fit"] * config.fitted + ["read"] * found.by_document
    for method in needed:
        own = getattr(found, method, None)
        if own in (None, getattr(LanguageModel, method, None)) or getattr(own, "__isabstractmethod__", False):
            raise UserError(f"{where}: {found.__name__} must define {method}")


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
    with GlobalGenerator(seed), name_file(place(config.name)):
        return model_class(config, vocabulary, block_size)


@contextlib.contextmanager
def name_file(path: Path | str) -> Iterator[None]:
    """Turns an error in a model's own code into a UserError that names its file; HYDRA_FULL_ERROR=1 shows both.

    An error in code that has no file keeps its traceback: in a notebook it shows the cell.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        out_of_memory = isinstance(error, RuntimeError) and re.search("allocate|overflow", str(error))
        if out_of_memory or not isinstance(path, Path):
            raise
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UserError(f"{path}: {why} (HYDRA_FULL_ERROR=1 shows where)") from error
