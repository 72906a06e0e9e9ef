"""The launcher for one machine: as many runs at a time as there are cores, each in a process."""

import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra.core.utils import run_job
from omegaconf import DictConfig
from tqdm import tqdm

from hydra_plugins.makemore_launcher.jobs import Job, JobLauncher
from makemore import machine
from makemore.cli.imports import heavy_imports
from makemore.cli.mistakes import explain_builtin
from makemore.config.schema import Accelerator
from makemore.config.status import Status
from makemore.errors import PastHydra, UserError
from makemore.sweeps.job import leave_error
from makemore.training import processes


class LocalLauncher(JobLauncher):
    """Runs jobs in processes that are forked when libraries and data are loaded.

    Args:
        n_jobs: runs at a time; None: one for each core, fewer if a run has several threads, and one with trainer=gpu.
        stop_at_failure: see `JobLauncher`.
    """

    def __init__(self, n_jobs: Any = None, stop_at_failure: Any = False) -> None:
        if n_jobs is not None and (type(n_jobs) is not int or n_jobs < 1):
            given = f"hydra.launcher.n_jobs={n_jobs}".lower()  # a truth value, as it is typed
            raise PastHydra(UserError(f"{given} must be a whole number, at least 1, or null: all cores"))
        if not hasattr(os, "fork"):
            raise PastHydra(UserError("hydra/launcher=local does not run on this system; use hydra/launcher=basic"))
        super().__init__(stop_at_failure)
        self.n_jobs: int | None = n_jobs

    def run(self, jobs: Sequence[Job], waiting: Callable[[], None]) -> Iterator[tuple[Job, float]]:
        """Runs the jobs, first those that will fail, then the longest: one that began last would run on alone."""
        with heavy_imports():
            from makemore.data.cache import read_documents
            from makemore.training import execution
            from makemore.training import run as training  # noqa: F401 (so that each fork has it)
        for job in jobs:
            if job.settings is not None:
                with contextlib.suppress(UserError):  # the run itself reports it
                    read_documents(job.settings.data)
                    job.work = execution.estimate_work(job.settings)
        order = sorted(jobs, key=lambda job: job.work, reverse=True)
        at_a_time = self._at_a_time()
        # With fewer runs than cores, each has several.
        threads = min(machine.most_threads(), max(1, machine.cores() // max(1, min(at_a_time, len(order)))))
        calls = [functools.partial(self._run, job.nodes, threads) for job in order]
        for number, loss, error in processes.run_all(calls, at_a_time, waiting, stop=lambda: self.failed is not None):
            job = order[number]
            if error is not None and error != Status.interrupted:
                leave_error(job.folder, error, job.overrides)
            yield job, math.inf if error is not None else loss

    def _at_a_time(self) -> int:
        trainer = self.config.trainer
        if self.n_jobs is not None or trainer.accelerator in (Accelerator.gpu, Accelerator.mps):
            return self.n_jobs or 1
        return max(1, machine.cores() // max(1, int(trainer.threads or 1) * int(trainer.processes)))

    def _run(self, config: DictConfig, threads: int) -> Any:
        os.environ[machine.THREADS] = str(threads)
        # The lock of the parent's progress line may have been held when this process was forked.
        tqdm.set_lock(threading.RLock())
        try:
            return run_job(
                hydra_context=self.hydra_context,
                task_function=self.task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            ).return_value
        except Exception as error:  # Hydra's, before the run began
            if (sentence := explain_builtin(error, str(config.hydra.job.config_name))) is None:
                raise
            raise UserError(sentence) from error
