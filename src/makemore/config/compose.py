"""From what Hydra composed to typed, checked settings, and from there back to a file that runs again.

OmegaConf checks the run's own keys while Hydra composes. The types of the keys of models, optimizers and schedules
depend on which one is named, so `check_run` adds these, and checks every range before anything is written.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from makemore.config.schema import (
    TARGETS,
    AdamWConfig,
    DataConfig,
    EvaluateConfig,
    Layout,
    ModelConfig,
    SampleConfig,
    SGDConfig,
    Source,
    TrainConfig,
)
from makemore.errors import UnknownKeyError, UserError

Use = TypeVar("Use", EvaluateConfig, SampleConfig)
# What a number's limits mean.
WITHIN = {"at_least": operator.ge, "above": operator.gt, "at_most": operator.le, "below": operator.lt}
# Overrides that do not name a run's folder, because they do not change what is learned; and how long its label may be.
UNNAMED = re.compile(
    r"[+~]*((callbacks|logger|trainer)\b|(debug=profiler|figures=|log_every=|steps_per_execution=|tags=|test=))"
)
LONGEST_LABEL = 80  # bytes


def file_name(text: str) -> str:
    """A text as one part of a path: no separators, and no longer than file systems allow, which count bytes."""
    return text.replace("/", "_").replace("\\", "_").encode()[:200].decode(errors="ignore")


def shorten_overrides(text: str) -> str:
    """`model.hidden=200,schedule.lr=0.01732408712345` as `hidden=200,lr=0.0173241`: long fractions are a search's."""
    keys = re.sub(r"(^|,)\+*[\w.]+\.(?=\w+=)", r"\1", text)
    return re.sub(r"(?<![\w.])\d\.\d{11,}(e-\d+)?", lambda number: f"{float(number[0]):.6g}", keys)


def label_run(*, _root_: DictConfig) -> str:  # OmegaConf hands a resolver the whole configuration by this name
    """The end of a run's folder: its name and its overrides, as many as there is room for.

    Without what shells, Hydra, or Lightning, which expands variables, would interpret.
    """
    name = str(_root_.name)
    typed = OmegaConf.to_container(_root_.hydra.overrides)["task"]  # type: ignore[call-overload, index]
    told = {f"name={name}", f"model={name}", f"experiment={name}"}
    overrides = sorted(shorten_overrides(each) for each in typed if each not in told and not UNNAMED.match(each))
    paths = (re.sub("=.*/", "=", each) for each in overrides)
    plain = (re.sub(r"[^\w.,=+-]+", "_", re.sub(r"[][{}()'\"$~]", "", each)) for each in [name, *paths])
    label = ",".join(plain)
    cut = label.encode()[:LONGEST_LABEL].decode(errors="ignore")
    return label if cut == label else cut.rpartition(",")[0] or cut


def register() -> None:
    """Registers the schemas and resolvers of the three scripts with Hydra."""
    OmegaConf.register_new_resolver("file_name", file_name, replace=True)
    OmegaConf.register_new_resolver("label_run", label_run, replace=True)
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="sample_schema", node=SampleConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)


def dump(nodes: DictConfig) -> str:
    """A run's configuration, resolved, as a YAML file that stands in for `conf/train.yaml`.

    `python train.py --config-dir RUN --config-name config` runs it again; single keys can be given other values. Sweeps
    and `resume=` compare this text with a run's file: if its form changes, they take earlier runs for other ones.
    """
    # The same four as at the end of the defaults in conf/train.yaml.
    hydra = {"output": "makemore", "launcher": "local", "help": "train", "job_logging": "makemore"}
    overrides = [{f"override hydra/{group}": choice} for group, choice in hydra.items()]
    defaults = OmegaConf.to_yaml({"defaults": ["train_schema", "_self_", *overrides]})
    return defaults + OmegaConf.to_yaml(OmegaConf.merge(nodes, {"resume": None}), resolve=True)


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
    for part in ("data", "model", "optimizer", "schedule", "trainer"):
        if part not in nodes or OmegaConf.is_missing(nodes, part):
            raise UserError(f"{part} is missing; choose one of the files in conf/{part}/, as {part}=CHOICE")
        if not OmegaConf.is_dict(nodes[part]):
            raise UserError(f"{part}={nodes[part]} has no keys; choose one of the files in conf/{part}/")
    name = str(nodes.model.get("name", ""))
    if choice is not None and name != choice:
        raise UserError(f"model.name={name} in conf/model/{choice}.yaml must be the name of that file: {choice}")
    defaults = {item.name: item.default for item in fields(config_of(name))}
    own, given = set(defaults), {str(key) for key in nodes.model}
    if foreign := sorted(given - own):
        raise UserError(f"model.{foreign[0]} is not a key of model={name}; its keys are {', '.join(sorted(own))}")
    if missing := sorted(key for key in own - given if defaults[key] == MISSING):
        raise UserError(
            f"model.{missing[0]} is missing; give it in conf/model/{name}.yaml, or as model.{missing[0]}=VALUE"
        )
    types = {part: TARGETS.get(str(nodes[part].get("_target_"))) for part in ("optimizer", "schedule")}
    types["model"] = config_of(name)
    # Not merged at the root, which would put whole parts into OmegaConf's messages; without struct, so that
    # `_check_keys` meets unknown keys, and names them.
    schemas = {part: OmegaConf.structured(each, flags={"struct": False}) for part, each in types.items() if each}
    typed = nodes.copy()
    typed.update(OmegaConf.merge(schemas, {part: nodes[part] for part in schemas}))
    config: TrainConfig = _check(typed)
    _check_data(config.data)
    _check_optimizer(config.optimizer)
    for group, targets in (("callbacks", config.callbacks), ("logger", config.logger)):
        for each, node in targets.items():
            if node is not None and not (isinstance(node, dict) and "_target_" in node):
                files = f"see the files in conf/{group}/"
                raise UserError(f"{group}.{each}={node} must have a _target_, or be null; {files}")
    if config.model.fitted:
        unused = {"start_from": None, "trainer.processes": 1, "distillation": 0, "gradient_clip": None}
        for key, default in unused.items():
            if (value := OmegaConf.select(typed, key)) != default:
                raise UserError(f"{key}={value} is not for model={name}, which is fitted without steps")
    config.model.check(config)
    return config


def read_data(values: Mapping[str, Any]) -> DataConfig:
    """The `data` part of a run's configuration from plain values, as a model file has them.

    Raises:
        UserError: a key is missing or out of range.
        OmegaConfBaseException: a value has the wrong type.
    """
    nodes = OmegaConf.structured(DataConfig)
    nodes.merge_with(values)
    data: DataConfig = _check(nodes)
    _check_data(data)
    return data


def check_use(nodes: DictConfig, schema: type[Use]) -> Use:
    """The settings of `evaluate.py` or `sample.py`, every key present and within its limits.

    Raises:
        UserError: a key is missing or out of range.
    """
    _require_schema(nodes, schema)
    config: Use = _check(nodes)
    if config.checkpoint == "":
        raise UserError("checkpoint= is empty; name a run's folder or a checkpoint, or leave it out for the newest run")
    if isinstance(config, EvaluateConfig) and config.data is not None:
        _check_data(config.data)
    return config


def _require_schema(nodes: DictConfig, schema: type) -> None:
    if OmegaConf.get_type(nodes) is not schema:
        raise UserError(
            "this configuration names no schema; to repeat a run use --config-dir RUN_FOLDER --config-name config"
        )


def _check(nodes: DictConfig) -> Any:
    if missing := sorted(OmegaConf.missing_keys(nodes)):
        raise UserError(f"{missing[0]} is missing; give it as {missing[0]}=VALUE")
    typed = OmegaConf.to_object(nodes)
    _check_keys(typed, "")
    return typed


def _check_keys(node: Any, prefix: str) -> None:
    """Checks that each dataclass has its own keys and no others, and its numbers their ranges."""
    limits = {item.name: item.metadata for item in fields(node)}
    for name, value in vars(node).items():
        key = f"{prefix}{name}"
        if name not in limits:  # Hydra lets `+KEY=VALUE` add a key to anything
            raise UnknownKeyError(key)
        if value == MISSING:  # and `~KEY` delete one
            raise UserError(f"{key} is missing; give it as {key}=VALUE")
        if is_dataclass(value):
            _check_keys(value, f"{key}.")
        elif isinstance(value, str) and "\0" in value:
            raise UserError(f"{key}={value} holds a NUL character; leave it out")
        elif isinstance(value, list) and any(isinstance(each, list | dict) for each in value):
            # OmegaConf takes a list for any type of item.
            text = str(value).replace("'", "").replace(" ", "")
            raise UserError(f"{key}={text} is of the wrong type: it must be a list without lists in it, such as [A,B]")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            _check_range(key, value, limits[name])


def _check_range(key: str, value: float, limits: Mapping[str, float]) -> None:
    if not math.isfinite(value) or not all(WITHIN[name](value, limit) for name, limit in limits.items()):
        allowed = [f"{name.replace('_', ' ')} {limit:,}" for name, limit in limits.items()]
        if not math.isfinite(value):
            allowed.insert(0, "finite")
        raise UserError(f"{key}={value} is out of range: it must be {' and '.join(allowed)}")


def _check_optimizer(optimizer: Any) -> None:
    if isinstance(optimizer, AdamWConfig):
        betas = optimizer.betas
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            text = f"optimizer.betas={betas}".replace(" ", "")
            raise UserError(f"{text} is out of range: it must be two numbers, each at least 0 and below 1")
    if isinstance(optimizer, SGDConfig) and optimizer.nesterov and not optimizer.momentum:
        raise UserError("optimizer.nesterov=true needs momentum: optimizer.momentum must be above 0")


def _check_data(data: DataConfig) -> None:
    splits = data.splits
    shares = "data.splits=[" + ",".join(f"{each:.12g}" for each in splits) + "]"
    if len(splits) not in (2, 3):
        raise UserError(
            f"{shares} has {len(splits)} shares; it must have three, train, dev and test, or the sizes of train and dev"
        )
    if len(splits) == 3 and (not all(share > 0 for share in splits) or not math.isclose(sum(splits), 1, abs_tol=1e-6)):
        raise UserError(f"{shares} is out of range: the three shares must each be above 0 and sum to 1")
    if len(splits) == 2 and not all(size >= 1 and size.is_integer() for size in splits):
        raise UserError(f"{shares} is out of range: the sizes of train and dev must be whole numbers above 0")
    if not data.path and data.source is Source.text:
        raise UserError("data=text needs a file: data.path=FILE, UTF-8 text, one document per line")
    given = {f"data.{name}": getattr(data, name) for name in ("path", "dev_path", "test_path")}
    for key, path in given.items():
        if path == "":
            raise UserError(f"{key}= names no file; give it as {key}=FILE")
        readers = (Source.text, Source.brown) if key == "data.path" else (Source.text,)
        if path is not None and data.source not in readers:
            raise UserError(f"{key}={path} is read only by data=text; add data=text")
    if (data.dev_path is None) != (data.test_path is None):
        missing = "data.dev_path" if data.dev_path is None else "data.test_path"
        raise UserError(f"{missing} is missing: documents of your own for dev and test need both")
    if data.unique and (data.layout is Layout.running or data.dev_path is not None):
        why = "a text that runs over all lines" if data.dev_path is None else "splits of your own"
        raise UserError(f"data.unique=true does not go with {why}; leave it out")
