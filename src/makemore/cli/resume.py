"""`resume=RUN`: a run continues in its own folder, with its own settings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from makemore.cli.arguments import is_sweep
from makemore.config.compose import dump
from makemore.errors import UserError
from makemore.files import CONFIG
from makemore.sweeps.command import set_key, unquote

KEY = "resume="
# Settings that a resumed run may change: only the trainer's change what is computed, by rounding. Some are groups.
CHANGEABLE = ("logger", "resume", "steps_per_execution", "tags", "trainer")
GROUPS = ("logger=", "trainer=")


def expand(arguments: list[str]) -> list[str]:
    """Adds to `resume=RUN` what makes Hydra read that run's configuration and write into its folder.

    Raises:
        UserError: the folder is not a run's.
    """
    folder = next((unquote(each.removeprefix(KEY)) for each in arguments if each.startswith(KEY)), "null")
    if folder == "null":
        return arguments
    if is_sweep(arguments):
        raise UserError(f"{KEY}{folder} continues a single run; to go on with a sweep use -m resume_sweep=FOLDER")
    if named := next((each for each in arguments if each.lstrip("+").startswith("hydra.run.dir=")), None):
        raise UserError(f"{named} cannot be set with {KEY}{folder}: a run continues in its own folder; leave it out")
    if not Path(folder, CONFIG).is_file():
        raise UserError(f"{KEY}{folder} is not a run's folder: it has no {CONFIG}; name one such as outputs/DATE/RUN")
    own = [f"--config-dir={Path(folder).absolute()}", "--config-name=config", "hydra.output_subdir=null"]
    # The run's configuration has no groups, but Hydra can add one.
    added = [f"+{each}" if each.startswith(GROUPS) else each for each in arguments]
    return [*own, *added, set_key("hydra.run.dir", folder)]


def check_settings(nodes: DictConfig, folder: Path) -> None:
    """Makes sure that a run continues as it began.

    Raises:
        UserError: a setting would make it a different run.
    """
    texts = (folder / CONFIG).read_text(encoding="utf-8"), dump(nodes)
    began, now = (dict(_flatten(OmegaConf.to_container(OmegaConf.create(text)))) for text in texts)
    for key in began | now:
        if key.partition(".")[0] not in CHANGEABLE and began.get(key) != now.get(key):
            raise UserError(
                f"{key}={_format(now.get(key))} would make it a different run: {folder} has "
                f"{key}={_format(began.get(key))}; only logger, tags, trainer and steps_per_execution can change"
            )


def _format(value: Any) -> str:
    """A value as the command line has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys of nested dictionaries, with their values."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
