"""Train a model: `python train.py model.emb_dim=10 model.hidden=200`. `python train.py --help` lists every key.

Sweep with `-m`: `python train.py -m model.emb_dim=2,10 model.hidden=100,200`.
"""

import functools
from pathlib import Path

try:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig

    from makemore import files
    from makemore.cli import main as cli
    from makemore.cli.imports import heavy_imports
    from makemore.cli.mistakes import explain
    from makemore.cli.run_folder import carry_past_hydra
    from makemore.config import compose
    from makemore.config.status import ENDED, Status
    from makemore.models import registry
    from makemore.sweeps import command, job
    from makemore.sweeps.folder import loss_of
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: this Python has no {missing.name}; run 'make install', then 'source .venv/bin/activate'"
    ) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

CONF = Path(__file__).parent.resolve() / "conf"
compose.register()
command.register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def train(nodes: DictConfig) -> float:
    """One run; returns the best dev loss in nats per token, which a sweep minimizes."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        return job.run(folder, nodes, run, functools.partial(explain, conf=CONF, config_name="train"))
    with carry_past_hydra():
        return run(nodes, folder)


def run(nodes: DictConfig, folder: Path) -> float:
    """Checks the settings, trains, and returns the best dev loss. Raises KeyboardInterrupt if Ctrl-C ended the run."""
    config = compose.check_run(nodes, registry.config_of, HydraConfig.get().runtime.choices.get("model"))
    if config.resume is not None and (metrics := files.read_metrics(folder)) and metrics["status"] in ENDED:
        print(f"{folder} has ended: {metrics['status']}, dev loss {metrics['dev_loss']}; there is nothing to resume")
        return loss_of(metrics)
    if config.resume is None:
        files.write_text(folder / files.CONFIG, compose.dump(nodes))
    # Lightning takes seconds to import: --help and mistakes in the settings should not wait for it.
    with heavy_imports():
        from makemore.training import run as training
    if config.resume is None and HydraConfig.get().mode is RunMode.MULTIRUN:  # a single run has been checked
        training.check(config)
    metrics = training.run(config, folder)
    if metrics["status"] == Status.interrupted:
        raise KeyboardInterrupt  # it has left everything, but the command, or the sweep, ends here
    return loss_of(metrics)


if __name__ == "__main__":
    cli.main(train, CONF, "train", sweeps=True)
