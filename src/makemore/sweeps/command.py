"""What a sweep's command asks for: which runs, where each writes, and what `resume_sweep=FOLDER` stands for."""

import itertools
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from makemore.config.compose import file_name, shorten_overrides
from makemore.errors import UserError
from makemore.machine import cores
from makemore.sweeps.folder import COMMAND, list_texts, read_overrides, run_folders

RESUME, DIR = "resume_sweep", "hydra.sweep.dir"
# Hydra's key for what it leaves out of `override_dirname`, which names the runs' folders.
EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"


def register() -> None:
    """Makes known the resolvers that the configurations of sweeps use."""
    for resolver in (run_name, count_runs, cores):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


def run_name(*, _root_: DictConfig) -> str:
    """The name of a run's folder in its sweep: the one that it has, or a new one from the settings that vary."""
    hydra = _root_.hydra
    folder, overrides = Path(hydra.sweep.dir), sorted(list_texts(hydra.overrides.task))
    for run in run_folders(folder):
        if sorted(read_overrides(run)) == overrides:
            return run.name
    name = make_name(shorten_overrides(hydra.job.override_dirname) or f"{hydra.job.num:03}")
    # A run of an earlier command may have had more settings.
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if not (folder / each).exists())


def make_name(text: str) -> str:
    """A text as the name of a folder; where the file system does not take it as it is, a checksum tells it apart."""
    name = file_name(text)
    return name if name == text else f"{name}-{zlib.crc32(text.encode()):08x}"


def count_runs(folder: str) -> int:
    """How many runs a sweep has: seeds a search's sampler, which must not draw the same trials again."""
    return len(run_folders(Path(folder)))


def plan(folder: Path) -> list[list[str]]:
    """The overrides of every run that a sweep's latest command asks for; none for a search, which finds its own."""
    if not (folder / COMMAND).exists():
        return []
    hydra = OmegaConf.load(folder / COMMAND).hydra
    if not hydra.sweeper["_target_"].endswith(".BasicSweeper"):
        return []
    (grid,) = BasicSweeper.split_arguments(parse(list_texts(hydra.overrides.task)), max_batch_size=None)
    return [list(run) for run in dict.fromkeys(map(tuple, grid))]


def parse(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra understands them."""
    parsed: list[Override] = OverridesParser.create().parse_overrides(list(overrides))
    return parsed


def list_constant_keys(overrides: Sequence[str], folder: Path) -> list[str]:
    """The keys with one value in a sweep's command and in all runs of its folder; none if nothing else names runs."""
    parsed = parse(overrides)
    earlier = [read_overrides(run) for run in run_folders(folder)]
    constant = []
    for each in parsed:
        if not each.is_sweep_override():
            override = f"{each.get_key_element()}={each.get_value_element_as_str()}"  # as runs record it
            if all(override in run for run in earlier):
                constant.append(each.key_or_group)
    return constant if len(constant) < len(parsed) or "sweep" in constant else []  # a search varies what it likes


def set_key(key: str, text: str) -> str:
    """An override in Hydra's grammar, whatever characters the text has."""
    return f"{key}={quote_text(text)}"


def quote_text(text: str) -> str:
    """A text in double quotes, as Hydra's grammar takes it."""
    # Backslashes count only before a quote, and a dollar sign with a brace would begin an interpolation.
    escaped = re.sub(r'(\\*)("|$)', lambda match: match[1] * 2 + match[2].replace('"', '\\"'), text)
    return '"' + escaped.replace("${", "\\${") + '"'


def unquote(text: str) -> str:
    """A value without the pair of quotes around it, if it has one."""
    return text[1:-1] if re.fullmatch("'.*'|\".*\"", text) else text


def expand(arguments: list[str]) -> list[str]:
    """A command line with `resume_sweep=FOLDER` replaced by that sweep's recorded command and `hydra.sweep.dir=FOLDER`.

    Anything else that is typed is added, or replaces the recorded value of its key.

    Raises:
        UserError: the folder is not a sweep's.
    """
    typed = {_key_of(argument): argument for argument in arguments if _is_override(argument)}
    if RESUME not in typed:
        return arguments
    folder = unquote(typed.pop(RESUME).partition("=")[2])
    if not (Path(folder) / COMMAND).exists():
        raise UserError(
            f"{RESUME}={folder} is not a sweep's folder: it has no {COMMAND}; name one such as "
            "outputs/multirun/DATE/TIME-mlp"
        )
    typed[DIR] = set_key(DIR, folder)
    hydra = OmegaConf.load(Path(folder) / COMMAND).hydra
    recorded = [*list_texts(hydra.overrides.hydra), *list_texts(hydra.overrides.task)]
    if "hydra/launcher" in typed:  # the recorded settings are another launcher's
        recorded = [each for each in recorded if not each.startswith("hydra.launcher.")]
    sources = hydra.runtime.config_sources
    flags = [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]
    flags.append(f"--config-name={hydra.job.config_name}")
    flags += [argument for argument in arguments if not _is_override(argument)]
    return [*flags, *({_key_of(each): each for each in recorded} | typed).values()]


def _is_override(argument: str) -> bool:
    return "=" in argument and not argument.startswith("-")


def _key_of(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
