"""The launcher for a Ray cluster: runs go to its machines, and their folders come back into the sweep's."""

import functools
import io
import math
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.makemore_launcher.jobs import Job, JobLauncher
from makemore.cli.run_folder import without_hydra
from makemore.errors import NEEDS, PastHydra, UserError
from makemore.sweeps.folder import COMMAND
from makemore.sweeps.job import find_loss, leave_error, set_aside
from makemore.training.processes import POLL_SECONDS, STOPPING

# Seconds that interrupted runs have to evaluate and save.
LAST_SECONDS = 60.0


class RayLauncher(JobLauncher):
    """Sends jobs with hydra-ray-launcher, but collects them one by one: one that is killed takes no other down.

    Args:
        ray: `init` and `remote`, what `ray.init` and `ray.remote` take.
    """

    def __init__(self, ray: DictConfig) -> None:
        try:
            from hydra_plugins.hydra_ray_launcher import _launcher_util
        except ImportError as missing:
            raise PastHydra(UserError(f"hydra/launcher=ray {NEEDS.format('ray')}")) from missing
        super().__init__()
        self.ray = ray
        self._plugin: Any = _launcher_util

    def run(self, jobs: Sequence[Job], waiting: Callable[[], None]) -> Iterator[tuple[Job, float]]:
        """Runs the jobs, and writes what they left on other machines into the sweep's folder."""
        import ray

        if not ray.is_initialized():
            ray.init(**OmegaConf.to_container(self.ray.init, resolve=True))  # type: ignore[arg-type]
        task = functools.partial(run_and_pack, self.task_function)
        running: dict[Any, Job] = {}
        for job in jobs:
            # Where the run goes, the sweep's folder may not exist.
            if (loss := find_loss(job.folder, without_hydra(job.nodes))) is not None:
                yield job, loss
                continue
            state = Singleton.get_state()
            sent = self._plugin.launch_job_on_ray(self.hydra_context, self.ray.remote, job.nodes, task, state)
            running[sent] = job
        try:
            while running:
                done, _ = ray.wait(list(running), timeout=POLL_SECONDS)
                waiting()
                for each in done:
                    job = running.pop(each)
                    yield job, self._collect(each, job)
        except KeyboardInterrupt:
            print(STOPPING, file=sys.stderr)
            for each in running:
                ray.cancel(each)
            ray.wait(list(running), num_returns=len(running), timeout=LAST_SECONDS)
            raise

    def _collect(self, sent: Any, job: Job) -> float:
        """The loss of a run that has ended; infinite if it was killed."""
        import ray

        try:
            loss, packed = ray.get(sent).return_value
        except ray.exceptions.RayError as error:
            leave_error(job.folder, f"Ray: {str(error).strip() or type(error).__name__}", job.overrides)
            return math.inf
        if packed is not None:
            if job.folder.is_dir():
                set_aside(job.folder, prepared=(".hydra",))
            unpack(packed, job.folder.parent)
        return float(loss)


def run_and_pack(task: TaskFunction, nodes: DictConfig) -> tuple[float, bytes | None]:
    """Runs a job; returns its loss and, on a machine that does not share the sweep's folder, what it left."""
    loss = task(nodes)
    folder = Path(HydraConfig.get().runtime.output_dir)
    return loss, None if (folder.parent / COMMAND).exists() else pack(folder)


def pack(folder: Path) -> bytes:
    """Everything that a run left, to be sent home."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, folder.name)
    return packed.getvalue()


def unpack(packed: bytes, folder: Path) -> None:
    """Puts a run into its sweep's folder; what is there already stays."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        for item in archive:
            if not (folder / item.name).exists():
                archive.extract(item, folder, filter="data")
