"""The launcher for a Ray cluster: the runs go to its machines, and come back into the sweep's folder here."""

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict

from hydra_plugins.makemore_launcher.jobs import Ended, Job, JobLauncher, run_folder
from makemore.cli import main as cli
from makemore.cli.run_folder import without_hydra
from makemore.errors import Refusal, UserError
from makemore.sweeps import sweep
from makemore.sweeps.pool import PATIENCE

# Seconds that runs have to end early but whole.
LAST_SECONDS = 60.0


class RayLauncher(JobLauncher):
    """Sends jobs by hydra-ray-launcher's means, one by one: what one leaves comes home, what kills one ends no other.

    Args:
        ray: `init` and `remote`, what `ray.init` and `ray.remote` take.
    """

    def __init__(self, ray: DictConfig) -> None:
        try:
            from hydra_plugins.hydra_ray_launcher import _launcher_util
        except ImportError as missing:
            raise Refusal(UserError(f"hydra/launcher=ray {cli.NEEDS.format('ray')}")) from missing
        super().__init__()
        self.ray = ray
        self._plugin: Any = _launcher_util

    def ends(self, jobs: Mapping[Job, int]) -> Iterator[Ended]:
        """Runs the jobs, and writes what they left elsewhere into the sweep's folder."""
        import ray

        if not ray.is_initialized():
            ray.init(**OmegaConf.to_container(self.ray.init, resolve=True))  # type: ignore[arg-type]
        running: dict[Any, tuple[Job, Path]] = {}
        for job, index in jobs.items():
            composed = self.compose(job, index)
            folder = run_folder(composed)
            # Where it will run the sweep's folder may not be there.
            if folder.is_dir() and (loss := sweep.ended(folder, without_hydra(composed))) is not None:
                yield Ended(job, folder, loss)
                continue
            with open_dict(composed):
                composed.hydra.sweep.subdir = folder.name
            sent = self._plugin.launch_job_on_ray(
                self.hydra_context, self.ray.remote, composed, self.task_function, Singleton.get_state()
            )
            running[sent] = job, folder
        try:
            while running:
                done, _ = ray.wait(list(running), timeout=PATIENCE)
                self.progress.under_way([])
                for each in done:
                    job, folder = running.pop(each)
                    yield Ended(job, folder, self._loss(each, job, folder))
        except KeyboardInterrupt:
            print("\nending what runs, early but whole; Ctrl-C again ends it at once", file=sys.stderr)
            for each in running:
                ray.cancel(each)
            ray.wait(list(running), num_returns=len(running), timeout=LAST_SECONDS)
            raise

    def _loss(self, sent: Any, job: Job, folder: Path) -> float:
        """The loss of a run that has ended; infinite if it was killed."""
        import ray

        try:
            ended: JobReturn = ray.get(sent)
        except ray.exceptions.RayError as error:
            sweep.leave_error(folder, f"Ray: {str(error).strip() or type(error).__name__}", job)
            return math.inf
        if (left := getattr(ended, "left", None)) is not None:
            if folder.is_dir():
                sweep.set_aside(folder, prepared=(".hydra",))
            sweep.unpack(left, folder.parent)
        return float(ended.return_value)
