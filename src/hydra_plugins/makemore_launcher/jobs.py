"""What the local launcher and Ray's have in common: each job once, and one progress line."""

import contextlib
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from makemore.cli.run_folder import without_hydra
from makemore.config.compose import check_run
from makemore.errors import Refusal, UserError
from makemore.models import registry
from makemore.sweeps.progress import Progress

# A job's overrides. Two jobs with the same ones are one run.
Job = tuple[str, ...]


class JobLauncher(Launcher):
    """A launcher that trains each run once, though a grid or a search may ask for it twice."""

    def __init__(self) -> None:
        self.progress = Progress()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores Hydra's context, task and configuration."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs. What a job returns is its loss; one that failed has left its error in its folder."""
        setup_globals()
        jobs: dict[Job, DictConfig] = {}
        losses = dict.fromkeys(map(tuple, job_overrides), math.inf)
        for index, job in enumerate(losses, start=initial_job_idx):
            jobs[job] = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
            with open_dict(jobs[job]):
                hydra = jobs[job].hydra
                hydra.job.id = hydra.job.num = index
                hydra.sweep.subdir = str(hydra.sweep.subdir)  # found once, here, where the sweep's folder is
            with contextlib.suppress(UserError):  # the run itself reports it, and the others go on
                try:
                    check_run(without_hydra(jobs[job]), registry.config_of)
                except OmegaConfBaseException as error:  # a value of the wrong type refuses the whole command
                    self.progress.close()
                    raise Refusal(error) from error
        # A search launches its trials a few at a time.
        with self.progress.show(self.config.hydra.sweeper.get("n_trials") or len(losses)):
            for job, loss in self.run(jobs):
                losses[job] = loss
                self.progress.count(run_folder(jobs[job]).name, loss)
        return [
            JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=losses[tuple(overrides)])
            for overrides in job_overrides
        ]

    @abstractmethod
    def run(self, jobs: Mapping[Job, DictConfig]) -> Iterator[tuple[Job, float]]:
        """Runs the jobs, with their configurations, and yields each with its loss when it has ended."""


def run_folder(config: DictConfig) -> Path:
    """Where a job of a sweep writes."""
    return Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)
