"""What the launchers have in common: jobs with their numbers and folders, and one line of progress over them."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from makemore.sweeps import sweep
from makemore.sweeps.progress import Progress

# What was typed for a job: two of the same are one run.
Job = tuple[str, ...]


class Ended(NamedTuple):
    """How a job ended.

    Attributes:
        job: which.
        folder: the run's.
        loss: its best dev loss; infinite if it has none.
    """

    job: Job
    folder: Path
    loss: float


class JobLauncher(Launcher):
    """A launcher that trains each run once, though a grid or a search may name it twice, and shows what has ended."""

    def __init__(self) -> None:
        self.progress = Progress()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra knows."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs. What a job returns is its loss; one that failed has left its error in its folder."""
        setup_globals()
        jobs: dict[Job, int] = {}
        for index, overrides in enumerate(job_overrides, start=initial_job_idx):
            jobs.setdefault(tuple(overrides), index)
        losses = dict.fromkeys(jobs, math.inf)
        # A search asks for its trials a few at a time.
        with self.progress.over(max(sweep.size(self.config.hydra), len(jobs))):
            for job, folder, loss in self.ends(jobs):
                losses[job] = loss
                self.progress.ended(sweep.number_of(folder), loss)
        return [
            JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=losses[tuple(overrides)])
            for overrides in job_overrides
        ]

    @abstractmethod
    def ends(self, jobs: Mapping[Job, int]) -> Iterator[Ended]:
        """Runs the jobs, with Hydra's number of each, and tells of each when it has ended."""

    def compose(self, job: Job, index: int) -> DictConfig:
        """A job's configuration, Hydra's part among it."""
        composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = index
        return composed


def run_folder(composed: DictConfig) -> Path:
    """Where a job of a sweep writes."""
    return Path(composed.hydra.sweep.dir, composed.hydra.sweep.subdir)
