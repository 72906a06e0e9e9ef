"""The launcher for one machine: as many runs at a time as there are cores, each a process, and one line of progress."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from makemore import cli, config, pool, sweep
from makemore.errors import Refusal, UserError
from makemore.schemas import Accelerator
from makemore.sweep_progress import Progress

# Configurations that are kept for the runs that they are of: 190 KB each.
MOST_COMPOSED = 1000


class LocalLauncher(Launcher):
    """Runs jobs in processes that are forked when libraries and data are loaded.

    Args:
        n_jobs: runs at a time; None is one for each core, and one alone on a GPU.
    """

    def __init__(self, n_jobs: Any = None) -> None:
        if n_jobs is not None and (not isinstance(n_jobs, int) or n_jobs < 1):
            wrong = UserError(f"hydra.launcher.n_jobs={n_jobs} must be a whole number, at least 1, or null: all cores")
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
        # Unresolved: each run's holds its number.
        self.subdir: str = OmegaConf.to_container(config.hydra.sweep)["subdir"]  # type: ignore[call-overload, index]
        if self.n_jobs is None:
            self.n_jobs = 1 if config.trainer.accelerator is Accelerator.gpu else pool.cores()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs. What a job returns is its loss; one that failed has left its error in its folder."""
        setup_globals()
        folder = Path(self.config.hydra.sweep.dir)
        places = sweep.places(folder, job_overrides, initial_job_idx)
        jobs = list(zip(job_overrides, places, strict=True))
        losses = [math.inf] * len(jobs)
        # A search asks for its trials a few at a time.
        total = self.config.hydra.sweeper.get("n_trials") or len(sweep.planned(folder))
        with self.progress.over(max(total, len(jobs))):
            for index, loss, error in self._outcomes(jobs):
                if error is None:
                    losses[index] = loss
                elif error != pool.INTERRUPTED:
                    sweep.leave_error(run_folder(self._compose(*jobs[index])), error, job_overrides[index])
                self.progress.ended(places[index].number, losses[index])
        self._composed.clear()
        return [
            JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=loss)
            for overrides, loss in zip(job_overrides, losses, strict=True)
        ]

    def _outcomes(self, jobs: Sequence[tuple[Sequence[str], sweep.Place]]) -> Iterator[pool.Outcome]:
        if not pool.can_fork():
            for index, job in enumerate(jobs):
                yield pool.Outcome(index, self._run(*job), None)
            return
        with cli.heavy_imports():
            from makemore import execution, training
        training.preload()
        work = []
        for job in jobs:
            nodes = self._compose(*job)
            training.read_once(config.data_of(nodes))
            work.append(execution.expected_work(nodes))
        # The longest first: one that began last would run on alone.
        order = sorted(range(len(jobs)), key=lambda index: -work[index])
        calls = [functools.partial(self._run, *jobs[index]) for index in order]
        assert self.n_jobs is not None
        for outcome in pool.outcomes(calls, self.n_jobs, self.progress.under_way):
            yield outcome._replace(call=order[outcome.call])

    def _compose(self, overrides: Sequence[str], place: sweep.Place) -> DictConfig:
        composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = place.number
            composed.hydra.sweep.subdir = place.folder or self.subdir
        return composed

    def _run(self, overrides: Sequence[str], place: sweep.Place) -> Any:
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=self._compose(overrides, place),
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


def run_folder(composed: DictConfig) -> Path:
    """Where a job of a sweep writes."""
    return Path(composed.hydra.sweep.dir, composed.hydra.sweep.subdir)
