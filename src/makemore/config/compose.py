"""From what Hydra composed to typed, checked settings, and from there back to a file that runs again.

OmegaConf checks the run's own keys while Hydra composes. The keys of models, optimizers and schedules have their types
from the code that they name, so `check_run` adds these and checks every range before anything is written.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from makemore.config.schema import (
    TARGETS,
    AdamWConfig,
    DataConfig,
    ModelConfig,
    SampleConfig,
    Source,
    TrainConfig,
)
from makemore.errors import UnknownKeyError, UserError


def file_name(text: str) -> str:
    """A text as one part of a path: no separators, and no longer than file systems allow, which count bytes."""
    return text.replace("/", "_").replace("\\", "_").encode()[:200].decode(errors="ignore")


def register() -> None:
    """Makes the schemas of `conf/train.yaml` and `conf/sample.yaml` known to Hydra."""
    OmegaConf.register_new_resolver("file_name", file_name, replace=True)
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="sample_schema", node=SampleConfig)


def replayable(nodes: DictConfig) -> str:
    """A run's configuration, resolved, as a YAML file that stands in for `conf/train.yaml`.

    `python train.py --config-dir RUN --config-name config` runs it again; single keys can be given other values.
    """
    defaults = [
        "train_schema",
        "_self_",
        {"override hydra/output": "makemore"},
        {"override hydra/launcher": "local"},
        {"override hydra/help": "train"},
        {"override hydra/job_logging": "makemore"},
    ]
    return OmegaConf.to_yaml({"defaults": defaults}) + OmegaConf.to_yaml(nodes, resolve=True)


def check_run(
    nodes: DictConfig, config_of: Callable[[str], type[ModelConfig]], choice: str | None = None
) -> TrainConfig:
    """The settings of a run as typed dataclasses, every key present and within its limits.

    Args:
        nodes: what Hydra composed for `train.py`, without its `hydra` node.
        config_of: the `Config` of the model with a name.
        choice: the file of `conf/model/` that was chosen, if one was; the model in it must have its name.

    Raises:
        UserError: a key is missing, out of range, or does not go with another.
        OmegaConfBaseException: a value has the wrong type.
    """
    _require_schema(nodes, TrainConfig)
    typed: dict[str, Any] = {}
    for part in ("model", "optimizer", "schedule"):
        if not OmegaConf.is_dict(nodes[part]):
            raise UserError(f"{part}={nodes[part]} has no keys; choose one of the files in conf/{part}/")
    name = str(nodes.model.get("name", ""))
    if choice is not None and name != choice:
        raise UserError(f"model.name={name} in conf/model/{choice}.yaml must be the name of that file: {choice}")
    typed["model"] = config_of(name)
    for part in ("optimizer", "schedule"):
        schema = TARGETS.get(str(nodes[part].get("_target_")))
        if schema is not None:
            typed[part] = schema
    config: TrainConfig = _check(_merge(nodes, typed))
    _check_data(config.data)
    _check_targets(config)
    if isinstance(config.optimizer, AdamWConfig):
        _check_betas(config.optimizer.betas)
    config.model.check(config)
    return config


def check_sample(nodes: DictConfig) -> SampleConfig:
    """The settings of `sample.py`, every key present and within its limits.

    Raises:
        UserError: a key is missing or out of range.
    """
    _require_schema(nodes, SampleConfig)
    config: SampleConfig = _check(nodes)
    if config.checkpoint == "":
        raise UserError("checkpoint= is empty; name a run's folder or a checkpoint, or leave it out for the newest run")
    return config


def data_of(nodes: DictConfig) -> DataConfig:
    """The `data` part alone, unchecked."""
    typed: DataConfig = OmegaConf.to_object(nodes.data)  # type: ignore[assignment]
    return typed


def _require_schema(nodes: DictConfig, schema: type) -> None:
    if OmegaConf.get_type(nodes) is not schema:
        raise UserError(
            "this configuration names no schema; to repeat a run use --config-dir RUN_FOLDER --config-name config"
        )


def _merge(nodes: DictConfig, typed: dict[str, type]) -> DictConfig:
    """The same values with types for some parts. (A merge at the root puts whole keys into OmegaConf's messages.)"""
    plain = {part: nodes[part] for part in typed}
    for part, schema in typed.items():
        for key in nodes[part]:
            if key not in {item.name for item in fields(schema)}:
                raise UnknownKeyError(f"{part}.{key}")
    merged = OmegaConf.merge({part: OmegaConf.structured(schema) for part, schema in typed.items()}, plain)
    result = nodes.copy()
    result.update(merged)
    return result


def _check(nodes: DictConfig) -> Any:
    for key in _find_unknown(nodes, ""):
        # Hydra lets `+KEY=VALUE` add a key to anything, a structured configuration too.
        raise UnknownKeyError(key)
    for key in _find_missing(nodes, ""):
        raise UserError(f"{key} is missing; give it as {key}=VALUE")
    typed = OmegaConf.to_object(nodes)
    for key, value, limits in _find_limits(typed, ""):
        _check_range(key, value, limits)
    return typed


def _find_unknown(node: DictConfig, prefix: str) -> Iterator[str]:
    """Keys of typed nodes that their dataclasses do not have."""
    schema = OmegaConf.get_type(node)
    for name in map(str, node):
        if is_dataclass(schema) and name not in {item.name for item in fields(schema)}:
            yield f"{prefix}{name}"
        elif not OmegaConf.is_missing(node, name) and OmegaConf.is_dict(node[name]):
            yield from _find_unknown(node[name], f"{prefix}{name}.")


def _find_missing(node: DictConfig, prefix: str) -> Iterator[str]:
    """Keys of typed nodes that have no value, or that `~KEY` deleted."""
    schema = OmegaConf.get_type(node)
    names = [item.name for item in fields(schema)] if is_dataclass(schema) else [str(name) for name in node]
    for name in names:
        if name not in node or OmegaConf.is_missing(node, name):
            yield f"{prefix}{name}"
        elif OmegaConf.is_dict(node[name]):
            yield from _find_missing(node[name], f"{prefix}{name}.")


def _find_limits(node: Any, prefix: str) -> Iterator[tuple[str, float, dict[str, float]]]:
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from _find_limits(value, f"{prefix}{item.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{item.name}", value, dict(item.metadata)


def _check_range(key: str, value: float, limits: dict[str, float]) -> None:
    inside = {
        "at least": lambda limit: value >= limit,
        "above": lambda limit: value > limit,
        "at most": lambda limit: value <= limit,
        "below": lambda limit: value < limit,
    }
    if not math.isfinite(value) or not all(inside[name](limit) for name, limit in limits.items()):
        allowed = " and ".join(f"{name} {limit:,}" for name, limit in limits.items())
        finite = "" if math.isfinite(value) else "finite and " if allowed else "finite"
        raise UserError(f"{key}={value} is out of range: it must be {finite}{allowed}")


def _check_betas(betas: list[float]) -> None:
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        given = f"optimizer.betas={betas}".replace(" ", "")
        raise UserError(f"{given} is out of range: it must be two numbers, each at least 0 and below 1")


def _check_targets(config: TrainConfig) -> None:
    """Callbacks and loggers are built from `_target_`; null leaves one out."""
    for group, nodes in (("callbacks", config.callbacks), ("logger", config.logger)):
        for name, node in nodes.items():
            if node is not None and not (isinstance(node, dict) and "_target_" in node):
                raise UserError(
                    f"{group}.{name}={node} must have a _target_, or be null; see the files in conf/{group}/"
                )


def _check_data(data: DataConfig) -> None:
    splits = data.splits
    shares = f"data.splits={splits}".replace(" ", "")
    if len(splits) != 3:
        raise UserError(f"{shares} has {len(splits)} shares; it must have three: train, dev and test")
    if not all(share > 0 for share in splits) or not math.isclose(sum(splits), 1, abs_tol=1e-6):
        raise UserError(f"{shares} is out of range: the three shares must each be above 0 and sum to 1")
    if not data.path and data.source is Source.text:
        raise UserError("data=text needs a file: data.path=FILE, UTF-8 text, a document a line")
    if data.path is not None and data.source is not Source.text:
        raise UserError(f"data.path={data.path} is read only by data=text; add data=text")
