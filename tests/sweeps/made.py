"""Sweeps as they are left on disk, made by hand."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from makemore.config import compose as configuration


def leave(folder: Path, nodes: DictConfig, **metrics: Any) -> None:
    """What a run leaves that has come to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(configuration.dump(nodes))
    (folder / "metrics.json").write_text(json.dumps({"status": "finished", "best_dev_loss": 2.0} | metrics))


def begin(sweep_folder: Path, *overrides: str) -> Path:
    """What Hydra leaves of a run before it begins."""
    run = sweep_folder / ",".join(overrides)
    (run / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(list(overrides)), run / ".hydra" / "overrides.yaml")
    return run


def ended_run(folder: Path, *overrides: str, **metrics: Any) -> None:
    """A run that has come to its end."""
    results = {"train_loss": 1.9, "dev_loss": 2.1, "best_dev_loss": 2.1, "parameters": 81, "fit_seconds": 0.5}
    leave(begin(folder, *overrides), OmegaConf.create(), **(results | metrics))


def save_command(
    folder: Path, *task: str, sweeper: str = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
) -> None:
    """What Hydra records of a sweep's command."""
    hydra = ["hydra.sweep.dir=x", "hydra.mode=MULTIRUN", "hydra/launcher=basic", "hydra.launcher.n=1"]
    sources = [{"path": "/a b", "provider": "command-line"}, {"path": "/conf", "provider": "main"}]
    node = {
        "overrides": {"hydra": hydra, "task": list(task)},
        "sweeper": {"_target_": sweeper},
        "runtime": {"config_sources": sources},
        "job": {"config_name": "config"},
    }
    OmegaConf.save(OmegaConf.create({"hydra": node}), folder / "multirun.yaml")
