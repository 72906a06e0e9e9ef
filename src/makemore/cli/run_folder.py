"""Where a run writes: a folder of its own, claimed before anything is written, so that no run touches another's."""

import contextlib
import shutil
from pathlib import Path
from typing import IO, Any, ClassVar

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from makemore.config.check import checked
from makemore.errors import Refusal, UserError
from makemore.sweeps import sweep

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

# Held while a sweep runs.
LOCK = ".lock"


class ClaimRunFolder(Callback):
    """A Hydra callback: checks the configuration, then makes the run's folder, before Hydra writes into it.

    Making a folder either succeeds or finds one there, whatever other processes do. So of two runs that start in the
    same second one gets the name and the other the name with `-2`. A folder that was named by hand is refused if
    there is anything in it, but for the sweep that is to go on.

    Attributes:
        sweep: the folder of this process's sweep, if it has one.
        resumed: the folder of the sweep that is to go on, if one is.
        before: the names of the runs that were there when this process began.
        lock: the open file that keeps other processes out of the sweep's folder.
        command: what said there before what the sweep is.
        made: the folders above it that were made for it, the innermost first.
    """

    sweep: ClassVar[Path | None] = None
    resumed: ClassVar[Path | None] = None
    before: ClassVar[set[str]] = set()
    lock: ClassVar[IO[str] | None] = None
    command: ClassVar[bytes | None] = None
    made: ClassVar[list[Path]] = []

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Before a single run."""
        self._claim(config, "run")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Before a sweep."""
        # Unresolved: a run's own number is known only where it runs.
        subdir = OmegaConf.to_container(config.hydra.sweep)["subdir"]  # type: ignore[call-overload, index]
        if subdir != sweep.NEW:
            named = "the folders of its runs are named for what tells these apart; hydra.sweep.dir=FOLDER names its own"
            raise Refusal(UserError(f"{sweep.SUBDIR}={subdir} cannot be set for a sweep: {named}"))
        trials = config.hydra.sweeper.get("n_trials")
        if isinstance(trials, int) and trials < 1:
            raise Refusal(UserError(f"hydra.sweeper.n_trials={trials} is out of range: it must be at least 1"))
        if self.resumed is None:
            self._claim(config, "sweep")
        # Other machines see it under the same path, if at all.
        ClaimRunFolder.sweep = folder = Path(self.resumed or config.hydra.sweep.dir).absolute()
        before = sweep.run_folders(folder)
        ClaimRunFolder.before = {run.name for run in before}
        taken = [sweep.number_of(run) for run in before]
        constant = sweep.constant_keys(sweep.texts(config.hydra.overrides.task), list(map(sweep.overrides_of, before)))
        first = max([sweep.size(config.hydra), *(number + 1 for number in taken)])
        with read_write(config), open_dict(config):
            config.hydra.sweep.dir = str(folder)
            # Each job is composed anew, from this list and its own. A run is named for what tells it from the others.
            quoted = str(folder).replace("'", "\\'")
            config.hydra.overrides.hydra += [f"{sweep.DIR}='{quoted}'", f"{sweep.NAMES}=[{','.join(constant)}]"]
            if taken:
                numbers = ",".join(map(str, taken))
                config.hydra.overrides.hydra += [f"{sweep.SUBDIR}=${{run_name:{first},[{numbers}]}}"]
        ClaimRunFolder.lock = only_here(folder)
        written = folder / sweep.COMMAND
        ClaimRunFolder.command = written.read_bytes() if written.exists() else None
        # Not every sweeper writes down what the sweep was.
        OmegaConf.save(config, written)

    @classmethod
    def begun(cls) -> bool:
        """Whether this process has begun a run that its sweep did not have."""
        return cls.sweep is not None and any(run.name not in cls.before for run in sweep.run_folders(cls.sweep))

    @classmethod
    def undo(cls) -> None:
        """Leaves the folder of a sweep that was refused as it was, or not at all if it was new."""
        if cls.sweep is None or cls.lock is None or cls.begun():
            return
        if cls.command is not None:
            (cls.sweep / sweep.COMMAND).write_bytes(cls.command)
        elif {path.name for path in cls.sweep.iterdir()} <= {sweep.COMMAND, sweep.STUDY, LOCK}:
            shutil.rmtree(cls.sweep)
            cls.sweep = None
            for parent in cls.made:
                with contextlib.suppress(OSError):  # another's is in it by now
                    parent.rmdir()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """After each run: one of a sweep whose folder is on another machine takes along what it left."""
        away = config.hydra.mode is RunMode.MULTIRUN and not Path(config.hydra.sweep.dir, sweep.COMMAND).exists()
        job_return.left = sweep.pack(Path(config.hydra.runtime.output_dir)) if away else None  # type: ignore[attr-defined]

    def _claim(self, config: DictConfig, kind: str) -> None:
        key = f"hydra.{kind}.dir"
        by_hand = any(override.startswith(f"{key}=") for override in sweep.texts(config.hydra.overrides.hydra))
        try:
            if kind == "run":
                checked(without_hydra(config))
            folder = Path(config.hydra[kind].dir)
            ClaimRunFolder.made = [parent for parent in folder.parents if not parent.exists()]
            claimed = claim(folder, f"{key}=" if by_hand else None)
        except (UserError, OmegaConfBaseException) as error:
            raise Refusal(error) from error
        with read_write(config), open_dict(config):
            config.hydra[kind].dir = str(claimed)


def only_here(folder: Path) -> IO[str]:
    """A lock on a sweep's folder that lasts as long as this process and its forks.

    Raises:
        Refusal: another process has it.
    """
    lock = (folder / LOCK).open("w", encoding="utf-8")
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refusal(UserError(f"{folder} is a sweep that is running; wait for its end, or stop it")) from error
    return lock


def without_hydra(config: DictConfig) -> DictConfig:
    """A copy of the configuration as the job sees it."""
    copy = config.copy()
    with read_write(copy), open_dict(copy):
        del copy["hydra"]
    OmegaConf.resolve(copy)
    return copy


def claim(path: Path, named_as: str | None) -> Path:
    """Makes a folder that nobody else has.

    Args:
        path: the folder.
        named_as: the key that it was named with by hand, such as `hydra.run.dir=`; None for a name of our own, which
            gives way to one that is there by `-2`, `-3`, …

    Raises:
        UserError: a folder that was named by hand holds something, or no folder can be made there.
    """
    try:
        if named_as is not None:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UserError(
                    f"{named_as}{path} already holds something, and nothing is overwritten; name a new folder"
                )
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        candidate, number = path, 1
        while True:
            try:
                candidate.mkdir()
                return candidate
            except FileExistsError:
                number += 1
                candidate = path.with_name(f"{path.name}-{number}")
    except OSError as error:
        raise UserError(f"the run's folder {path} cannot be made: {error.strerror}") from error
