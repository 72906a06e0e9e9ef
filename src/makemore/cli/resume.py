"""`resume=RUN`: a run continues in its own folder, with its own settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from makemore.cli.arguments import is_sweep
from makemore.config.compose import dump
from makemore.errors import UserError
from makemore.files import CONFIG

KEY = "resume="
# Settings that do not change what a run computes.
CHANGEABLE = ("logger", "resume", "steps_per_execution", "trainer")


def expand(arguments: list[str]) -> list[str]:
    """Adds to `resume=RUN` what makes Hydra read that run's configuration and write into its folder.

    Raises:
        UserError: the folder is not a run's.
    """
    folder = next((each.removeprefix(KEY).strip("\"'") for each in arguments if each.startswith(KEY)), "null")
    if folder == "null":
        return arguments
    if is_sweep(arguments):
        raise UserError(f"{KEY}{folder} continues a single run; to go on with a sweep use -m resume_sweep=FOLDER")
    if not Path(folder, CONFIG).is_file():
        raise UserError(f"{KEY}{folder} is not a run's folder: it has no {CONFIG}; name one such as outputs/DATE/RUN")
    escaped = folder.replace("'", "\\'")
    own = [f"--config-dir={Path(folder).absolute()}", "--config-name=config", "hydra.output_subdir=null"]
    return [*own, *arguments, f"hydra.run.dir='{escaped}'"]


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
                f"{key}={now.get(key)} would make it a different run: {folder} has {key}={began.get(key)}; only keys "
                "of logger and trainer, such as trainer.threads, and steps_per_execution can change"
            )


def _flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys of nested dictionaries, with their values."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
