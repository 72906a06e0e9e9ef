"""What the local launcher and Ray's have in common: each job once, and one progress line."""

import contextlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from makemore.cli.run_folder import without_hydra
from makemore.config.compose import check_run
from makemore.config.schema import TrainConfig
from makemore.errors import PastHydra, UserError
from makemore.models import registry
from makemore.sweeps.folder import ERROR
from makemore.sweeps.progress import Progress


@dataclass
class Job:
    """One run to be made."""

    overrides: tuple[str, ...]
    nodes: DictConfig  # its configuration with Hydra's part
    folder: Path
    settings: TrainConfig | None = None  # None if they are refused: the run itself reports why
    work: float = math.inf  # about how long it takes, in operations; unknown if it is going to fail


class JobLauncher(Launcher):
    """A launcher that trains each run once, though a grid or a search may ask for it twice.

    Args:
        stop_at_failure: once a run has failed, start no more and interrupt those that run; to diverge is no failure.
    """

    composes_first = True  # all jobs before the first one starts: `hydra_fixes` keeps sweepers from checking them

    def __init__(self, stop_at_failure: Any = False) -> None:
        if type(stop_at_failure) is not bool:
            given = f"hydra.launcher.stop_at_failure={stop_at_failure}"
            raise PastHydra(UserError(f"{given} is of the wrong type: it must be true or false"))
        self.stop_at_failure = stop_at_failure
        self.failed: Job | None = None  # the run that stopped the sweep
        self.progress: Progress | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores Hydra's context, task and configuration."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs. What a job returns is its loss; one that failed has left its error in its folder."""
        setup_globals()
        losses: dict[tuple[str, ...], float] = {}
        try:
            different = dict.fromkeys(map(tuple, job_overrides))
            jobs = [self._prepare(job, number) for number, job in enumerate(different, start=initial_job_idx)]
            # A search launches its trials a few at a time; a line that has ended is disabled.
            if self.progress is None or self.progress.disable:
                self.progress = Progress(self.config.hydra.sweeper.get("n_trials") or len(jobs))
            for job, loss in self.run(jobs, self.progress.tick):
                losses[job.overrides] = loss
                self.progress.count(job.folder.name, loss)
                if self.stop_at_failure and self.failed is None and (job.folder / ERROR).exists():
                    self.failed = job
            if self.failed is not None and self.progress.n < self.progress.total:
                why = (self.failed.folder / ERROR).read_text(encoding="utf-8").partition("\n")[0]
                raise PastHydra(UserError(f"{self.failed.folder.name} failed, which stopped the sweep: {why}"))
        except BaseException:
            if self.progress is not None:
                self.progress.close()
            raise
        return [
            JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=losses[tuple(overrides)])
            for overrides in job_overrides
        ]

    def _prepare(self, overrides: tuple[str, ...], number: int) -> Job:
        """A job with its settings; a value of the wrong type raises OmegaConf's error and refuses the whole command."""
        nodes = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(nodes):
            hydra = nodes.hydra
            hydra.job.id = hydra.job.num = number
            hydra.sweep.subdir = str(hydra.sweep.subdir)  # found once, here, where the sweep's folder is
        job = Job(overrides, nodes, Path(hydra.sweep.dir, hydra.sweep.subdir))
        with contextlib.suppress(UserError):
            job.settings = check_run(without_hydra(nodes), registry.config_of)
        return job

    @abstractmethod
    def run(self, jobs: Sequence[Job], waiting: Callable[[], None]) -> Iterator[tuple[Job, float]]:
        """Runs the jobs, and yields each with its loss when it has ended; calls `waiting` about once a second.

        Once `failed` is set it starts no more, and interrupts those that run.
        """
