"""What `_target_` names in a configuration: callbacks, loggers, optimizers and schedules, from any importable code."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from makemore.errors import UserError


def instantiate(key: str, node: Any, **arguments: Any) -> Any:
    """Calls what `_target_` names with the node's other keys and `arguments`. Raises UserError if that fails."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    target = node["_target_"] if isinstance(node, Mapping) else node._target_
    try:
        made = instantiate(node, **arguments)
    except InstantiationException as error:
        why = " ".join(re.split(r"[,\\n] *set env var", str(error))[0].split())
        raise UserError(f"{key}._target_={target} cannot be built: {why}") from error
    # Hydra 1.3.8's partial looks its target up in a policy at every call: 100 µs a training step.
    return functools.partial(made.func, **made.keywords) if isinstance(made, functools.partial) else made


def build_all(group: str, nodes: Mapping[str, Any], run_folder: Path, kind: type) -> list[Any]:
    """The callbacks or loggers of a run, without those that are null; a `save_dir` of null is the run's folder.

    Raises UserError if one of them cannot be built, or is not of this kind.
    """
    built = []
    for name, node in nodes.items():
        if node is None:
            continue
        folder = {"save_dir": str(run_folder)} if node.get("save_dir", "") is None else {}
        made = instantiate(f"{group}.{name}", node | folder)
        if not isinstance(made, kind):
            given = f"{group}.{name}._target_={node['_target_']}"
            raise UserError(f"{given} makes a {type(made).__name__}; it must be a Lightning {kind.__name__}")
        built.append(made)
    return built
