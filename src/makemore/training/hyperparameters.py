"""What tells one run from another, as flat plain values: for checkpoints and TensorBoard's HParams tab."""

import contextlib
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from makemore.config.schema import DataConfig, Layout, Level, ModelConfig, TrainConfig
from makemore.models import registry

NONE = "-"  # a text that a run does not have


def describe_run(config: TrainConfig, block_size: int) -> dict[str, Any]:
    """The hyper-parameters of a run whose model sees so many ids.

    Every run has the same keys, each with values of one type: TensorBoard drops columns that not all runs have.
    """
    own = {"model": config.model.name, "data": name_data(config.data), "block_size": block_size}
    nodes = config.optimizer, config.schedule  # dataclasses, or plain dicts
    optimizer, schedule = (node if isinstance(node, dict) else vars(node) for node in nodes)
    training = {
        "distillation": config.distillation,
        "batch_size": config.data.batch_size or 0,
        "optimizer": optimizer["_target_"].rpartition(".")[2],
        "weight_decay": float(optimizer.get("weight_decay") or 0),
        "schedule": schedule["_target_"].rpartition(".")[2],
        "lr": float(schedule.get("lr") or 0),
        "steps": config.steps,
        "seed": config.seed,
    }
    if config.model.fitted:
        training |= {"batch_size": 0, "optimizer": NONE, "weight_decay": 0.0, "schedule": NONE, "lr": 0.0, "steps": 0}
    return describe_model(config.model) | own | training


def describe_model(config: ModelConfig) -> dict[str, Any]:
    """The keys of all models: a model's own with its values, the others with 0 or `NONE`."""
    columns: dict[str, Any] = {}
    for name in registry.names():
        with contextlib.suppress(Exception):  # a mistake in another model's folder is that model's
            each = registry.config_of(name)
            hints = get_type_hints(each)
            columns |= {item.name: 0 if hints[item.name] in (int, float) else NONE for item in fields(each)}
    hints = get_type_hints(type(config))
    for key, value in vars(config).items():
        text = NONE if value is None else str(value.value if isinstance(value, Enum) else value)
        columns[key] = value if hints[key] in (int, float) else text
    del columns["name"]
    return columns


def name_data(data: DataConfig) -> str:
    """What the losses of two runs must have in common to be comparable, except for split and seed."""
    name = Path(data.path).name if data.path else data.source.value
    unique = ", unique" if data.unique else ""
    first = f", first {data.overfit}" if data.overfit is not None else ""
    words = ", words" if data.level is Level.word else ""
    running = ", running" if data.layout is Layout.running else ""
    frequent = f", {data.min_count} times" if data.min_count > 1 else ""
    return name + unique + first + words + running + frequent
