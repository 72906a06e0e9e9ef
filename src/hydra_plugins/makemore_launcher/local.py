"""The launcher for one machine: as many runs at a time as there are cores, each a process."""

import functools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from tqdm import tqdm

from hydra_plugins.makemore_launcher.jobs import Ended, Job, JobLauncher, run_folder
from makemore.cli import main as cli
from makemore.config import check as config
from makemore.config.schema import Accelerator
from makemore.errors import Refusal, UserError
from makemore.sweeps import pool, sweep

# Configurations that are kept for the runs that they are of: 190 KB each.
MOST_COMPOSED = 1000


class LocalLauncher(JobLauncher):
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
        super().__init__()
        self.n_jobs: int | None = n_jobs
        self._composed: dict[Job, DictConfig] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra knows."""
        loader: Any = hydra_context.config_loader
        loader.load_sweep_config = once_for_each_job(loader.load_sweep_config, self._composed)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs, and then forgets their configurations."""
        returned = super().launch(job_overrides, initial_job_idx)
        self._composed.clear()
        return returned

    def ends(self, jobs: Mapping[Job, int]) -> Iterator[Ended]:
        """Runs the jobs, and leaves the error of one that died in its folder."""
        for job, loss, error in self._outcomes(jobs):
            folder = run_folder(self.compose(job, jobs[job]))
            if error is not None and error != pool.INTERRUPTED:
                sweep.leave_error(folder, error, job)
            yield Ended(job, folder, loss if error is None else math.inf)

    def _outcomes(self, jobs: Mapping[Job, int]) -> Iterator[tuple[Job, Any, str | None]]:
        if not pool.can_fork():
            for job, index in jobs.items():
                yield job, self._run(job, index), None
            return
        with cli.heavy_imports():
            from makemore.training import execution
            from makemore.training import run as training
        training.preload()
        work = {}
        for job, index in jobs.items():
            nodes = self.compose(job, index)
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

    def _run(self, job: Job, index: int) -> Any:
        # The lock of the parent's progress bars may have been held as this process was forked.
        tqdm.set_lock(threading.RLock())
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=self.compose(job, index),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        ).return_value


def once_for_each_job(compose: Callable[..., DictConfig], composed: dict[Job, DictConfig]) -> Callable[..., DictConfig]:
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
