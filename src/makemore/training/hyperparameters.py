"""What tells one run from another, as flat plain values: for checkpoints and TensorBoard's HParams tab."""

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from makemore.config.schema import DataConfig, Layout, Level, ModelConfig, TrainConfig

NONE = "-"  # a text that a run does not have
# Keys of the data that neither `name_data` nor the entries of every run cover.
DATA = ("replacement", "split_seed", "splits")


def describe_run(config: TrainConfig, block_size: int) -> dict[str, Any]:
    """The hyper-parameters of a run whose model sees so many ids: those that it uses.

    A key has values of one type in all runs, so that they can be compared.
    """
    data = {name: format_value(getattr(config.data, name)) for name in DATA}
    own = {"model": config.model.name, "data": name_data(config.data), "block_size": block_size, "seed": config.seed}
    own["tags"] = ", ".join(config.tags) or NONE
    if config.model.fitted:
        return describe_model(config.model) | data | own
    optimizer, schedule = (
        node if isinstance(node, dict) else vars(node) for node in (config.optimizer, config.schedule)
    )
    training = {
        "distillation": config.distillation,
        "batch_size": config.data.batch_size or 0,
        "optimizer": optimizer["_target_"].rpartition(".")[2],
        "weight_decay": float(optimizer.get("weight_decay") or 0),
        "gradient_clip": config.gradient_clip or 0.0,
        "schedule": schedule["_target_"].rpartition(".")[2],
        "lr": float(schedule.get("lr") or 0),
        "steps": config.steps,
        "start_from": Path(config.start_from).name if config.start_from else NONE,
    }
    return describe_keys(optimizer) | describe_keys(schedule) | describe_model(config.model) | data | own | training


def describe_keys(node: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of an optimizer or a schedule."""
    return {key: format_value(value) for key, value in node.items() if not key.startswith("_")}


def describe_model(config: ModelConfig) -> dict[str, Any]:
    """A model's own keys: numbers, and whatever else as texts."""
    hints = get_type_hints(type(config))
    values = {item.name: getattr(config, item.name) for item in fields(config)}
    return {
        key: value if hints[key] in (int, float) else str(format_value(value))
        for key, value in values.items()
        if key != "name"
    }


def format_value(value: Any) -> Any:
    """A number as it is, anything else as a text."""
    if value is None:
        return NONE
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def name_data(data: DataConfig) -> str:
    """A name for the data: losses of runs with the same name, split and seed are comparable."""
    name = Path(data.path).name if data.path else data.source.value
    dev = f", dev {Path(data.dev_path).name}" if data.dev_path else ""
    unique = ", unique" if data.unique else ""
    first = f", first {data.overfit}" if data.overfit is not None else ""
    words = ", words" if data.level is Level.word else ""
    running = ", running" if data.layout is Layout.running else ""
    frequent = f", {data.min_count} times" if data.min_count > 1 else ""
    return name + dev + unique + first + words + running + frequent
