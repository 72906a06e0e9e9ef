"""Where a run writes: a folder of its own, claimed before anything is written, so that no run touches another's."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, RangeSweep
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from makemore import files
from makemore.cli import resume
from makemore.cli.imports import heavy_imports
from makemore.config import compose
from makemore.data import corpus
from makemore.errors import PastHydra, UserError
from makemore.files import CONFIG
from makemore.models import registry
from makemore.sweeps import command
from makemore.sweeps.folder import COMMAND, HYDRA, list_texts, run_folders

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
# What names the folders of a sweep's runs.
SUBDIR = "${run_name:}"


class OpenSweep(NamedTuple):
    """The sweep that this process runs."""

    folder: Path
    before: frozenset[str]  # the names of the runs that it had
    command: str | None  # its multirun.yaml before this command; None if the sweep is new
    lock: IO[str]

    def withdraw(self) -> bool:
        """Takes back a command that was refused, unless it has begun a run that the sweep did not have.

        Returns:
            whether that is so: the folder is as it was, or gone if it was new.
        """
        if any(run.name not in self.before for run in run_folders(self.folder)):
            return False
        if self.command is None:
            ClaimRunFolder.remove()
        else:
            files.write_text(self.folder / COMMAND, self.command)
        return True


class ClaimRunFolder(Callback):
    """A Hydra callback: checks the configuration, then makes the run's folder, before Hydra writes into it.

    Of two runs that start in the same second one gets the name and the other the name with `-2`. A folder named by hand
    must be empty, but a sweep may continue an earlier one.
    """

    # This process's sweep, if it has one, and the folders made for it or for a single run, the innermost first; Hydra
    # gives callbacks no other way to hand them on.
    sweep: ClassVar[OpenSweep | None] = None
    made: ClassVar[list[Path]] = []
    lock: IO[str]  # of a single run

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with carry_past_hydra():
            nodes = without_hydra(config)
            check_output_subdir(config, HYDRA, None)
            settings = compose.check_run(nodes, registry.config_of)
            if settings.resume is None:
                with corpus.name_keys(settings.data):
                    for path in corpus.locate(settings.data):  # before libraries are loaded, which takes seconds
                        corpus.check(path)
                with heavy_imports():
                    from makemore.training.run import check
                check(settings)
                folder = self._claim(config, "run")
            else:
                folder = Path(config.hydra.run.dir)
                resume.check_settings(nodes, folder)
            self.lock = lock_folder(folder)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with carry_past_hydra():
            check_output_subdir(config, HYDRA)
            # Unresolved: a run's own name is known only where it runs.
            subdir = OmegaConf.to_container(config.hydra.sweep)["subdir"]  # type: ignore[call-overload, index]
            if subdir != SUBDIR:
                named = "its runs' folders are named after the settings that vary; hydra.sweep.dir=FOLDER names its own"
                raise UserError(f"hydra.sweep.subdir={subdir} cannot be set for a sweep: {named}")
            if (trials := config.hydra.sweeper.get("n_trials", 1)) < 1:
                raise UserError(f"hydra.sweeper.n_trials={trials} is out of range: it must be at least 1")
            task = check_sweeps(list_texts(config.hydra.overrides.task))
            folder = self._claim(config, "sweep")
            lock = lock_folder(folder)
            written = folder / COMMAND
            before = frozenset(run.name for run in run_folders(folder))
            earlier = written.read_text(encoding="utf-8") if written.exists() else None
            ClaimRunFolder.sweep = OpenSweep(folder, before, earlier, lock)
            constant = command.list_constant_keys(task, folder)
            with read_write(config), open_dict(config):
                config.hydra.overrides.task = task
                # Each job is composed from this list and its own.
                config.hydra.overrides.hydra += [
                    command.set_key(command.DIR, str(folder)),
                    f"{command.EXCLUDED}=[{','.join(constant)}]",
                ]
            # Not every sweeper writes it.
            files.write_text(written, OmegaConf.to_yaml(config))

    @classmethod
    def withdraw_run(cls) -> None:
        """Removes the folder of a run that was refused before it left anything."""
        if cls.sweep is None and cls.made and cls.made[0].is_dir() and is_bare(cls.made[0], CONFIG):
            cls.remove()

    @classmethod
    def remove(cls) -> None:
        """Removes the folder that was made, and those around it that were made for it and hold nothing else."""
        shutil.rmtree(cls.made[0])
        for around in cls.made[1:]:
            if not any(around.iterdir()):
                around.rmdir()

    def _claim(self, config: DictConfig, kind: str) -> Path:
        key = f"hydra.{kind}.dir="
        by_hand = any(override.lstrip("+").startswith(key) for override in list_texts(config.hydra.overrides.hydra))
        folder = Path(config.hydra[kind].dir)
        if not (by_hand and kind == "sweep" and (folder / COMMAND).exists()):
            missing = [each for each in folder.parents if not os.path.exists(each)]  # noqa: PTH110 (Path's raises for odd names)
            folder = claim(folder, key if by_hand else None)
            ClaimRunFolder.made = [each.absolute() for each in (folder, *missing)]
        folder = folder.absolute()  # other machines see it under the same path, if at all
        with read_write(config), open_dict(config):
            config.hydra[kind].dir = str(folder)
        return folder


@contextlib.contextmanager
def carry_past_hydra() -> Iterator[None]:
    """Carries every error past Hydra, which would make a warning of a callback's, and go on."""
    try:
        yield
    except Exception as error:
        raise PastHydra(error) from error


def lock_folder(folder: Path) -> IO[str]:
    """A lock on the folder of a run or a sweep that lasts as long as this process and its forks.

    Raises:
        UserError: another process has it.
    """
    lock = (folder / LOCK).open("w", encoding="utf-8")
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            ClaimRunFolder.made = []  # it is the other command's, and not to be withdrawn
            raise UserError(f"{folder} is in use: its command is still running; wait for its end, or stop it") from None
    return lock


def check_output_subdir(config: DictConfig, *allowed: str | None) -> None:
    """Raises UserError if Hydra would write its files anywhere else; a sweep finds its runs by them."""
    if (subdir := config.hydra.output_subdir) not in allowed:
        raise UserError(f"hydra.output_subdir={subdir or 'null'} cannot be set: it must be {HYDRA}; leave it out")


def check_sweeps(overrides: list[str]) -> list[str]:
    """A sweep's overrides, with the choices in place of `model=glob(*)`, so that the record needs no groups.

    Raises:
        UserError: a range never ends, or nothing matches a glob.
    """
    checked = []
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    for each in parser.parse_overrides(overrides):
        text, swept = str(each.input_line), each.value()
        if isinstance(swept, RangeSweep) and swept.step == 0:
            raise UserError(f"{text}: a range's step must not be 0")
        if isinstance(swept, Glob):
            choices = ",".join(each.sweep_string_iterator())
            if not choices:
                raise UserError(f"{text} matches nothing; a glob is for the choices of a group, such as model=glob(*)")
            text = f"{each.get_key_element()}={choices}"
        checked.append(text)
    return checked


def without_hydra(config: DictConfig) -> DictConfig:
    """A copy of the configuration as the job sees it."""
    copy = config.copy()
    with read_write(copy), open_dict(copy):
        del copy["hydra"]
    return copy


def claim(path: Path, named_as: str | None) -> Path:
    """Makes a folder that nobody else has, with `-2`, `-3`, … after its name if there is one already.

    Args:
        path: the folder.
        named_as: how it was named by hand, such as `hydra.run.dir=`; then it must be empty.

    Raises:
        UserError: a folder that was named by hand is not empty, or no folder can be made there.
    """
    try:
        if named_as is not None:
            path.mkdir(parents=True, exist_ok=True)
            if not is_bare(path):
                raise UserError(
                    f"{named_as}{path} already holds something, and nothing is overwritten; name a new folder"
                )
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        candidate, number = path, 2
        while True:
            with contextlib.suppress(FileExistsError):
                candidate.mkdir()
                return candidate
            candidate = path.with_name(f"{path.name}-{number}")
            number += 1
    except (OSError, ValueError) as error:  # what Python says about a NUL
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"the run's folder {path} cannot be made: {why}") from error


def is_bare(folder: Path, *besides: str) -> bool:
    """Whether a folder holds no more than Hydra puts there before a run begins, and these."""
    return all(path.name in (HYDRA, "train.log", LOCK, *besides) for path in folder.iterdir())
