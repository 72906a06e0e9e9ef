"""What tells one run from another, as flat plain values: for checkpoints and TensorBoard's HParams tab."""

import types
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from makemore.config.schema import DataConfig, ModelConfig, TrainConfig
from makemore.models import registry

# The value of a text that a run does not have.
NONE = "-"


def describe_run(config: TrainConfig, block_size: int) -> dict[str, Any]:
    """The hyper-parameters of a run.

    Every run has the same keys, those of all models among them, each with values of one type: TensorBoard drops columns
    that not all runs have.

    Args:
        config: the checked configuration.
        block_size: ids in a context of the model.
    """
    fitted = config.model.fitted
    own = {
        "model": config.model.name,
        "data": name_data(config.data),
        "block_size": block_size,
    }
    training = {
        "distillation": config.distillation,
        "batch_size": 0 if fitted else config.data.batch_size or 0,
        "optimizer": NONE if fitted else _get(config.optimizer, "_target_").rsplit(".", 1)[-1],
        "weight_decay": 0.0 if fitted else float(_get(config.optimizer, "weight_decay") or 0),
        "schedule": NONE if fitted else _get(config.schedule, "_target_").rsplit(".", 1)[-1],
        "lr": 0.0 if fitted else float(_get(config.schedule, "lr") or 0),
        "steps": 0 if fitted else config.steps,
        "seed": config.seed,
    }
    return own | describe_model(config.model) | training


def describe_model(config: ModelConfig) -> dict[str, Any]:
    """The keys of all models: a model's own with its values, the others with 0 or `NONE`."""
    columns: dict[str, Any] = {}
    for other in registry.configs().values():
        hints = get_type_hints(other)
        columns |= {item.name: 0 if hints[item.name] in (int, float) else NONE for item in fields(other)}
    own = {item.name: getattr(config, item.name) for item in fields(config)}
    columns |= {key: _plain(value, get_type_hints(type(config))[key]) for key, value in own.items()}
    del columns["name"]
    return columns


def name_data(data: DataConfig) -> str:
    """What the losses of two runs must have in common to be comparable, except for split and seed."""
    name = Path(data.path).name if data.path else data.source.value
    unique = ", unique" if data.unique else ""
    first = f", first {data.overfit}" if data.overfit is not None else ""
    return name + unique + first


def _plain(value: Any, hint: Any) -> Any:
    """A number where the type is one, else a text."""
    if get_origin(hint) is types.UnionType and type(None) in get_args(hint):
        return NONE if value is None else str(value)
    if isinstance(value, Enum):
        return str(value.value)
    return value if type(value) in (int, float) else str(value)


def _get(node: Any, key: str) -> Any:
    """A key of an optimizer or schedule, whether it is typed or a plain dict."""
    return node.get(key) if isinstance(node, dict) else getattr(node, key, None)
