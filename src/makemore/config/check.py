"""What Hydra composed is checked here, and turned into what the rest of the package takes.

OmegaConf checks names and types against `config.schema` while composing; `checked` checks ranges before anything is
written, and `build` makes the functions that a configuration names.
"""

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from makemore.config.schema import (
    SCHEMAS,
    AdamWConfig,
    BigramConfig,
    DataConfig,
    ExponentialConfig,
    FittedConfig,
    MixtureConfig,
    SampleConfig,
    Source,
    TrainConfig,
)
from makemore.errors import UnknownKeyError, UserError

# Longest context of `callbacks.context_table`: longer ones are all unseen, and no figure could show them.
LONGEST_TABLE = 12


def file_name(text: str) -> str:
    """A text as one part of a path: no separators, and no longer than file systems allow, which count bytes."""
    return text.replace("/", "_").replace("\\", "_").encode()[:200].decode(errors="ignore")


def register() -> None:
    """Makes the schemas known to Hydra: `conf/train.yaml` and the files of each group name theirs."""
    OmegaConf.register_new_resolver("file_name", file_name, replace=True)
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(group="schema", name=name, node=schema)


def replayable(nodes: DictConfig) -> str:
    """A run's configuration, resolved, as a YAML file that stands in for `conf/train.yaml`.

    `python train.py --config-dir RUN --config-name config` runs it again; single keys can be given other values.
    """
    name_of = {schema: name for name, schema in SCHEMAS.items()}
    typed = {key: name_of.get(OmegaConf.get_type(nodes, key) or dict) for key in ("model", "optimizer", "schedule")}
    defaults = [
        {"schema@_here_": "train"},
        *({f"schema@{key}": name} for key, name in typed.items() if name is not None),
        "_self_",
        {"override hydra/output": "makemore"},
        {"override hydra/launcher": "local"},
        {"override hydra/help": "train"},
        {"override hydra/job_logging": "makemore"},
    ]
    return OmegaConf.to_yaml({"defaults": defaults}) + OmegaConf.to_yaml(nodes, resolve=True)


def checked(config: DictConfig) -> Any:
    """The configuration as typed dataclasses, every key present and within its limits.

    Args:
        config: what Hydra composed, without its `hydra` node.

    Raises:
        UserError: a key is missing or out of range.
    """
    if OmegaConf.get_type(config) not in (TrainConfig, SampleConfig):
        raise UserError(
            "this configuration names no schema; to run a run again, say --config-dir RUN_FOLDER --config-name config"
        )
    for key in _unknown(config, ""):
        # Hydra lets `+KEY=VALUE` add a key to anything, a structured configuration too.
        raise UnknownKeyError(key)
    for key in _missing(config, ""):
        raise UserError(f"{key} is missing; give it as {key}=VALUE")
    typed = OmegaConf.to_object(config)
    for key, value, limits in _limited(typed, ""):
        _hold(key, value, limits)
    if isinstance(typed, TrainConfig):
        _check_data(typed.data)
        _check_model(typed)
        if isinstance(typed.optimizer, AdamWConfig):
            _check_betas(typed.optimizer.betas)
        _check_callbacks(typed)
    elif isinstance(typed, SampleConfig) and typed.checkpoint == "":
        raise UserError("checkpoint= is empty; name a run's folder or a checkpoint, or leave it out for the newest run")
    return typed


def data_of(config: DictConfig) -> DataConfig:
    """The `data` part alone, not yet checked."""
    typed: DataConfig = OmegaConf.to_object(config.data)  # type: ignore[assignment]
    return typed


def _unknown(node: DictConfig, prefix: str) -> Iterator[str]:
    """Keys of typed nodes that their dataclasses do not have."""
    schema = OmegaConf.get_type(node)
    for name in map(str, node):
        if is_dataclass(schema) and name not in {item.name for item in fields(schema)}:
            yield f"{prefix}{name}"
        elif not OmegaConf.is_missing(node, name) and OmegaConf.is_dict(node[name]):
            yield from _unknown(node[name], f"{prefix}{name}.")


def _missing(node: DictConfig, prefix: str) -> Iterator[str]:
    """Keys that a typed node should have and has not: left without a value, or deleted with `~KEY`."""
    schema = OmegaConf.get_type(node)
    names = [item.name for item in fields(schema)] if is_dataclass(schema) else [str(name) for name in node]
    for name in names:
        if name not in node or OmegaConf.is_missing(node, name):
            yield f"{prefix}{name}"
        elif OmegaConf.is_dict(node[name]):
            yield from _missing(node[name], f"{prefix}{name}.")


def _limited(node: Any, prefix: str) -> Iterator[tuple[str, float, dict[str, float]]]:
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from _limited(value, f"{prefix}{item.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{item.name}", value, dict(item.metadata)


def _hold(key: str, value: float, limits: dict[str, float]) -> None:
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


def _check_model(config: TrainConfig) -> None:
    model = config.model
    name = next(name for name, schema in SCHEMAS.items() if schema is type(model))
    if model.name != name:
        raise UserError(f"model.name={model.name} is not what model={name} is called; leave it {name}")
    if isinstance(model, BigramConfig) and config.data.block_size != 1:
        raise UserError(
            f"data.block_size={config.data.block_size} is not for model=bigram, which sees one character: it must be 1"
        )
    if isinstance(model, MixtureConfig):
        _check_mixture(model)


def _check_mixture(model: MixtureConfig) -> None:
    if not model.members:
        raise UserError("model.members is empty; name runs to mix: model.members=[outputs/DATE/RUN,outputs/DATE/RUN]")
    if not all(isinstance(member, str) and member for member in model.members):
        raise UserError(f"model.members={model.members} must name runs: model.members=[RUN,RUN]".replace("'", ""))
    if model.weights is None:
        return
    weights = f"model.weights={model.weights}".replace(" ", "")
    if len(model.weights) != len(model.members):
        raise UserError(f"{weights} has {len(model.weights)} weights for {len(model.members)} members; give one each")
    if not all(0 <= weight < math.inf for weight in model.weights) or not 0 < sum(model.weights) < math.inf:
        raise UserError(f"{weights} is out of range: weights must be at least 0, one of them above, their sum finite")


def _check_callbacks(config: TrainConfig) -> None:
    schedule, model = config.schedule, config.model
    if config.callbacks.lr_range and isinstance(model, FittedConfig):
        raise UserError(
            f"callbacks.lr_range=true is not for model={model.name}, which is fitted without a learning rate"
        )
    if config.callbacks.context_table and config.data.block_size > LONGEST_TABLE:
        raise UserError(
            f"data.block_size={config.data.block_size} is too long for callbacks.context_table=true, which counts for "
            f"every length of context: it must be at most {LONGEST_TABLE}"
        )
    grows = isinstance(schedule, ExponentialConfig) and schedule.end_lr > schedule.lr
    if config.callbacks.lr_range and not grows:
        raise UserError(
            "callbacks.lr_range=true needs a rate that grows from step to step: schedule=exponential with "
            f"schedule.end_lr above schedule.lr={schedule.lr}"
        )
    if config.callbacks.update_ratio and config.steps_per_execution not in (None, 1):
        raise UserError(
            f"callbacks.update_ratio=true measures single steps, and steps_per_execution={config.steps_per_execution} "
            "takes them together; add steps_per_execution=1"
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


# The only code that a configuration may name.
CALLABLE = {
    "optimizer": re.compile(r"torch\.optim\.[A-Z]\w*"),
    "schedule": re.compile(r"makemore\.training\.schedule\.(constant|step|exponential|cosine|one_cycle)"),
}


def build(part: str, node: Any, **arguments: Any) -> Any:
    """A function of the configuration: what `_target_` names, with the node's other keys and `arguments` given.

    Args:
        part: `optimizer` or `schedule`.
        node: that part of the configuration, as Hydra composed it.
        **arguments: more keyword arguments.

    Raises:
        UserError: the target is none of those that this part may name, or there is no such thing.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    target = str(node["_target_"])
    if not CALLABLE[part].fullmatch(target):
        raise UserError(f"{part}._target_={target} is not allowed: it must match {CALLABLE[part].pattern}")
    values = [value for key in node for value in (node[key] if OmegaConf.is_list(node[key]) else [node[key]])]
    if any(OmegaConf.is_config(value) for value in values):
        raise UserError(f"{part} has a key with keys of its own, which {target} does not take")
    try:
        made = instantiate(node, **arguments)
    except InstantiationException as error:
        raise UserError(f"{part} cannot be made from its keys: {' '.join(str(error).split())}") from error
    # Hydra 1.3.8 gives a partial that looks its target up in a policy at every call: 100 µs a training step.
    return functools.partial(made.func, **made.keywords)
