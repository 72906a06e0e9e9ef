"""The launcher for a Ray cluster: the runs go to its machines, and come back into the sweep's folder here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from makemore import cli, sweep
from makemore.errors import Refusal, UserError


class RayLauncher(Launcher):
    """hydra-ray-launcher's, which leaves what runs write on the machines that they ran on, with a way back.

    Args:
        ray: `init` and `remote`, what `ray.init` and `ray.remote` take.
    """

    def __init__(self, ray: DictConfig) -> None:
        try:
            from hydra_plugins.hydra_ray_launcher.ray_launcher import RayLauncher as Plugin
        except ImportError as missing:
            raise Refusal(UserError(f"hydra/launcher=ray {cli.NEEDS.format('ray')}")) from missing
        self._plugin: Any = Plugin(ray)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra knows."""
        self._folder = Path(config.hydra.sweep.dir)
        self._plugin.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs, and writes what they left elsewhere into the sweep's folder."""
        returned: Sequence[JobReturn] = self._plugin.launch(job_overrides, initial_job_idx)
        for job in returned:
            if (left := getattr(job, "left", None)) is not None:
                sweep.unpack(left, self._folder)
        return returned
