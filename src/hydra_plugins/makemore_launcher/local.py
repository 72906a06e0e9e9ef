"""The launcher for one machine: as many runs at a time as there are cores, each a process, and one line of progress."""

import functools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from tqdm import tqdm

from makemore import cli, config, pool, sweep
from makemore.errors import Refusal, UserError
from makemore.schemas import Accelerator
from makemore.sweep_progress import Progress

# Configurations that are kept for the runs that they are of: 190 KB each.
MOST_COMPOSED = 1000


class LocalLauncher(Launcher):
    """Runs jobs in processes that are forked when libraries and data are loaded.

    Args:
        n_jobs: runs at a time; None is one for each core, or for as many cores as a run has threads, and one alone on a
            GPU.
    """

    def __init__(self, n_jobs: Any = None) -> None:
        if n_jobs is not None and (type(n_jobs) is not int or n_jobs < 1):
            given = str(n_jobs).lower() if isinstance(n_jobs, bool) else n_jobs
            wrong = UserError(f"hydra.launcher.n_jobs={given} must be a whole number, at least 1, or null: all cores")
            raise Refusal(wrong)
        self.n_jobs: int | None = n_jobs
        self.progress = Progress()
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra knows."""
        loader: Any = hydra_context.config_loader
        loader.load_sweep_config = once_for_each_job(loader.load_sweep_config, self._composed)
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs. What a job returns is its loss; one that failed has left its error in its folder."""
        setup_globals()
        jobs = numbered(job_overrides, initial_job_idx)
        losses = dict.fromkeys(jobs, math.inf)
        # A search asks for its trials a few at a time.
        with self.progress.over(max(sweep.size(self.config.hydra), len(jobs))):
            for job, loss, error in self._outcomes(jobs):
                folder = run_folder(self._compose(job, jobs[job]))
                if error is None:
                    losses[job] = loss
                elif error != pool.INTERRUPTED:
                    sweep.leave_error(folder, error, job)
                self.progress.ended(sweep.number_of(folder), losses[job])
        self._composed.clear()
        return [returned(overrides, losses[tuple(overrides)]) for overrides in job_overrides]

    def _outcomes(self, jobs: Mapping[tuple[str, ...], int]) -> Iterator[tuple[tuple[str, ...], Any, str | None]]:
        if not pool.can_fork():
            for job, index in jobs.items():
                yield job, self._run(job, index), None
            return
        with cli.heavy_imports():
            from makemore import execution, training
        training.preload()
        work = {}
        for job, index in jobs.items():
            nodes = self._compose(job, index)
            training.read_once(config.data_of(nodes))
            work[job] = execution.expected_work(nodes)
        # The longest first: one that began last would run on alone.
        order = sorted(jobs, key=lambda job: -work[job])
        calls = [functools.partial(self._run, job, jobs[job]) for job in order]
        for outcome in pool.outcomes(calls, self._at_a_time(), self.progress.under_way):
            yield order[outcome.call], outcome.value, outcome.error

    def _at_a_time(self) -> int:
        trainer = self.config.trainer
        if self.n_jobs is not None or trainer.accelerator is Accelerator.gpu:
            return self.n_jobs or 1
        threads: int = max(1, trainer.threads)
        return max(1, pool.cores() // threads)

    def _compose(self, job: Sequence[str], index: int) -> DictConfig:
        composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = index
        return composed

    def _run(self, job: Sequence[str], index: int) -> Any:
        # The lock of the parent's progress bars may have been held as this process was forked.
        tqdm.set_lock(threading.RLock())
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=self._compose(job, index),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        ).return_value


def once_for_each_job(
    compose: Callable[..., DictConfig], composed: dict[tuple[str, ...], DictConfig]
) -> Callable[..., DictConfig]:
    """Hydra's composing of a job's configuration, which remembers.

    Hydra composes each job of a grid to see whether that can be done, and would again to run it: a tenth of a second,
    for the first in this process alone.

    Args:
        compose: `load_sweep_config` of Hydra's loader.
        composed: where the first `MOST_COMPOSED` configurations are kept.
    """

    def load_sweep_config(master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        job = tuple(sweep_overrides)
        config = composed.get(job) or compose(master_config, list(sweep_overrides))
        if len(composed) < MOST_COMPOSED:
            composed[job] = config
        return config

    return load_sweep_config


def numbered(job_overrides: Sequence[Sequence[str]], first: int) -> dict[tuple[str, ...], int]:
    """The jobs with their numbers, each once, though a grid or a search may name it twice."""
    jobs: dict[tuple[str, ...], int] = {}
    for index, overrides in enumerate(job_overrides, start=first):
        jobs.setdefault(tuple(overrides), index)
    return jobs


def returned(overrides: Sequence[str], loss: float) -> JobReturn:
    """What Hydra takes for the end of a job."""
    return JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=loss)


def run_folder(composed: DictConfig) -> Path:
    """Where a job of a sweep writes."""
    return Path(composed.hydra.sweep.dir, composed.hydra.sweep.subdir)
