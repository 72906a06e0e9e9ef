"""What `_target_` names in a configuration: callbacks, loggers, optimizers and schedules, from any importable code."""

import contextlib
import functools
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from makemore.errors import NEEDS, UserError


def instantiate(key: str, node: Any, **arguments: Any) -> Any:
    """Calls what `_target_` names with the node's other keys and `arguments`. Raises UserError if that fails."""
    target = node["_target_"] if isinstance(node, Mapping) else node._target_
    try:
        made = hydra.utils.instantiate(node, **arguments)
    except InstantiationException as error:
        if (extra := find_missing(error, key.rpartition(".")[2])) in list_extras():
            raise UserError(f"{key} {NEEDS.format(extra)}") from error
        why = " ".join(str(error).partition(", set env var")[0].split())
        raise UserError(f"{key}._target_={target} cannot be built: {why}") from error
    # Hydra 1.3.8's partial looks its target up in a policy at every call: 100 µs a training step.
    return functools.partial(made.func, **made.keywords) if isinstance(made, functools.partial) else made


def build_all(group: str, nodes: Mapping[str, Any], run_folder: Path, kind: type) -> list[Any]:
    """The callbacks or loggers of a run, without those that are null.

    A `save_dir` of null is the run's folder, and a `name` or `run_name` of null its name.

    Raises UserError if one of them cannot be built, or is not of this kind.
    """
    built = []
    of_run = {"save_dir": str(run_folder), "name": run_folder.name, "run_name": run_folder.name}
    for name, node in nodes.items():
        if node is None:
            continue
        unset = {key: value for key, value in of_run.items() if node.get(key, "") is None}
        made = instantiate(f"{group}.{name}", node | unset)
        if not isinstance(made, kind):
            given = f"{group}.{name}._target_={node['_target_']}"
            raise UserError(f"{given} makes a {type(made).__name__}; it must be a Lightning {kind.__name__}")
        built.append(made)
    return built


def find_missing(error: BaseException | None, default: str) -> str | None:
    """The module whose absence caused an error, `default` if that does not say which; None if it was not that."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name or default
        error = error.__cause__ or error.__context__
    return None


def list_extras() -> list[str]:
    """The extras with which this project can be installed."""
    try:
        return importlib.metadata.metadata("makemore").get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return []


@contextlib.contextmanager
def opened(loggers: Sequence[Any]) -> Iterator[None]:
    """Opens what loggers write to; at the end finishes those that have `finish`: a run of W&B would go on.

    Raises UserError if one cannot begin, as W&B without a login; errors of the file system are left as they are.
    """
    for logger in loggers:
        try:
            logger.experiment  # noqa: B018 (made when it is asked for)
        except OSError:
            raise
        except Exception as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(f"logger: {type(logger).__name__} cannot begin: {why}") from error
    try:
        yield
    finally:
        for logger in loggers:
            if hasattr(logger.experiment, "finish"):
                logger.experiment.finish()
