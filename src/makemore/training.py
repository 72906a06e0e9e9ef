"""One run, start to finish: from a checked configuration to a trained model in a run folder."""

import contextlib
import logging
import math
import os
import re
import shlex
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from makemore import compiled, corpus, execution, mlp
from makemore.callbacks import (
    BestCheckpoint,
    EmbeddingPlot,
    GracefulInterrupt,
    Progress,
    Results,
    Samples,
    TrainLoss,
)
from makemore.checkpoint import BEST, LAST
from makemore.config import build, replayable
from makemore.datamodule import WindowDataModule
from makemore.errors import UserError
from makemore.module import MLP, LanguageModule
from makemore.schemas import Accelerator, DataConfig, Gradients, TrainConfig

log = logging.getLogger(__name__)

# Megabytes of text from which on reading takes seconds.
LONG_READING = 20
# Looks at dev in a run whose `eval_every` is not given.
EVALUATIONS = 20


def run(config: TrainConfig, nodes: DictConfig, run_folder: Path) -> dict[str, Any]:
    """Trains one model and leaves everything about it in its folder.

    Args:
        config: the checked configuration.
        nodes: the same as Hydra composed it, for the parts that name what to call.
        run_folder: where everything is written; it exists.

    Returns:
        What `metrics.json` holds: losses in nats per token, counts, seconds.

    Raises:
        UserError: the data or a value is not usable.
    """
    started = time.perf_counter()
    quieten()
    keep_configuration(nodes, run_folder)
    with enough_memory():
        data = prepare(config)
        chosen = execution.choose(config, data)
        make_ready(chosen, data)
        module = make_module(config, nodes, data, chosen)
        results = Results(Timer(verbose=False), config.test)
        trainer = make_trainer(config, data, chosen, run_folder, results)
        fit(trainer, module, data)
    log.info(report(results.metrics, run_folder, time.perf_counter() - started))
    return results.metrics


def keep_configuration(nodes: DictConfig, run_folder: Path) -> None:
    """Writes the configuration, and with it takes the folder: where one is, a run has been.

    Raises:
        UserError: another run has this folder, as runs of a sweep that are all given the same one.
    """
    try:
        with (run_folder / "config.yaml").open("x", encoding="utf-8") as file:
            file.write(replayable(nodes))
    except FileExistsError:
        raise UserError(f"{run_folder} already holds a run, and nothing is overwritten; give each its own") from None


def fit(trainer: L.Trainer, module: LanguageModule, data: WindowDataModule) -> None:
    """Trains; a second Ctrl-C, for which Lightning ends the process, is one again."""
    try:
        trainer.fit(module, datamodule=data)
    except SystemExit as error:
        raise KeyboardInterrupt from error


def quieten() -> None:
    """Leaves out what Lightning says in every run whatever was asked; its other warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The folder was made for this run alone: what is in it is the configuration and the log.
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    # Lightning 2.6 on PyTorch 2.13, of itself.
    warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")


def prepare(config: TrainConfig) -> WindowDataModule:
    """The data of a run, read and split."""
    data = WindowDataModule(
        config.data,
        steps=config.steps,
        eval_every=config.eval_every or max(1, config.steps // EVALUATIONS),
        seed=config.seed,
    )
    data.prepare_data()
    path = corpus.locate(config.data)
    megabytes = os.path.getsize(path) / 1e6 if os.path.isfile(path) else 0  # noqa: PTH113, PTH202 (Path's raise for odd names)
    if megabytes > LONG_READING:
        log.info(f"reading {megabytes:,.0f} MB of text ...")
    data.setup()
    log.info(
        f"{data.path.name}: {data.documents:,} documents, {len(data.vocabulary)} characters with the boundary; "
        f"{len(data.train):,} / {len(data.dev):,} / {len(data.test):,} examples to train / dev / test"
    )
    return data


def make_ready(chosen: execution.Execution, data: WindowDataModule) -> None:
    """Puts into effect what was chosen, and says what that is."""
    log.info(f"computing: {chosen}")
    torch.set_num_threads(chosen.threads)
    data.steps_per_execution = chosen.steps_per_execution
    if chosen.accelerator is Accelerator.gpu and torch.cuda.is_available():
        data.device = "cuda"
    if chosen.gradients is Gradients.compiled:
        if not compiled.is_ready():
            log.info("compiling the steps for this processor: a few seconds, once")
        compiled.prepare()


def make_module(
    config: TrainConfig, nodes: DictConfig, data: WindowDataModule, chosen: execution.Execution
) -> LanguageModule:
    """The model with its initial weights.

    Raises:
        UserError: the machine's memory cannot hold it.
    """
    model, block_size = config.model, config.data.block_size
    sizes = map(math.prod, mlp.shapes(len(data.vocabulary), block_size, model.emb_dim, model.hidden))
    # Parameters and gradients in float32, and as much again while checkpoints are written.
    needed, there = 4 * 4 * sum(sizes), physical_memory()
    if needed > there:
        raise UserError(
            f"model.hidden={model.hidden} with model.emb_dim={model.emb_dim} and data.block_size={block_size} needs "
            f"{needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f}; choose smaller sizes"
        )
    return MLP(
        model,
        data.vocabulary,
        block_size=block_size,
        seed=config.seed,
        gradients=chosen.gradients,
        optimizer=build("optimizer", nodes.optimizer, lr=config.schedule.lr),
        schedule=build("schedule", nodes.schedule, steps=config.steps),
        log_every=log_every(config),
        settings=settings(config, nodes),
    )


def physical_memory() -> float:
    """Bytes of memory that the machine has; infinite where the system does not tell."""
    if not hasattr(os, "sysconf"):
        return math.inf
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Turns running out of memory into a sentence.

    Raises:
        UserError: that sentence.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search("allocate|out of memory", str(error)):
            raise
        raise UserError(
            "this run does not fit into memory; choose a smaller data.batch_size, data.block_size, model.hidden or "
            "model.emb_dim"
        ) from error


def settings(config: TrainConfig, nodes: DictConfig) -> dict[str, Any]:
    """What tells one run from another: the same plain values in every run, for checkpoints and the HParams tab."""
    return {
        "model": config.model.name,
        "data": data_name(config.data),
        "block_size": config.data.block_size,
        "emb_dim": config.model.emb_dim,
        "hidden": config.model.hidden,
        "init": config.model.init.value,
        "dropout": config.model.dropout,
        "batch_size": config.data.batch_size or 0,
        "optimizer": nodes.optimizer["_target_"].rsplit(".", 1)[-1],
        "weight_decay": float(nodes.optimizer.get("weight_decay", 0)),
        "schedule": nodes.schedule["_target_"].rsplit(".", 1)[-1],
        "lr": config.schedule.lr,
        "steps": config.steps,
        "seed": config.seed,
    }


def log_every(config: TrainConfig) -> int:
    """Steps between two points of TensorBoard's charts: as configured, but at least 20 points a run."""
    return min(config.logger.log_every, max(1, config.steps // 20))


def data_name(data: DataConfig) -> str:
    """What the losses of two runs must have in common to be comparable, but for split and seed."""
    name = Path(data.path).name if data.path else data.source.value
    unique = ", unique" if data.unique else ""
    first = f", first {data.overfit}" if data.overfit is not None else ""
    return name + unique + first


def make_trainer(
    config: TrainConfig,
    data: WindowDataModule,
    chosen: execution.Execution,
    run_folder: Path,
    results: Results,
) -> L.Trainer:
    """A Trainer that makes one pass over the run's minibatches and evaluates every `eval_every` steps."""
    looking = config.callbacks
    callbacks: list[L.Callback] = [results.timer, results, TrainLoss(log_every(config), looking.loss_curve)]
    if config.trainer.progress_bar:
        callbacks.append(Progress())
    if looking.embedding:
        callbacks.append(EmbeddingPlot())
    if looking.samples:
        callbacks.append(Samples(looking.samples, looking.samples_seed))
    callbacks += [
        GracefulInterrupt(),
        BestCheckpoint(run_folder, BEST.removesuffix(".ckpt"), monitor="dev_loss", enable_version_counter=False),
        ModelCheckpoint(run_folder, LAST.removesuffix(".ckpt"), enable_version_counter=False),
    ]
    return L.Trainer(
        accelerator=chosen.accelerator.value,
        devices=1,
        default_root_dir=run_folder,
        # Without name and version the run's name in TensorBoard is its folder's; without the default metric there is
        # no placeholder of -1 in the HParams tab.
        logger=TensorBoardLogger(run_folder, name="", version="", default_hp_metric=False)
        if config.logger.tensorboard
        else False,
        callbacks=callbacks,
        max_epochs=1,
        val_check_interval=data.minibatches.items_per_evaluation,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def report(metrics: dict[str, Any], run_folder: Path, seconds: float) -> str:
    """The end of a run in a few lines: losses, time, where things are, and what to do next."""
    losses = {name.removesuffix("_loss").replace("_", " "): metrics[name] for name in metrics if name.endswith("_loss")}
    how = {
        "finished": "finished",
        "interrupted": "stopped early by Ctrl-C",
        "diverged": "stopped early because the loss was no longer a number; try a smaller schedule.lr",
    }[metrics["status"]]
    if run_folder.is_relative_to(Path.cwd()):
        run_folder = run_folder.relative_to(Path.cwd())
    logs = "outputs" if run_folder.parts[:1] == ("outputs",) else str(run_folder)
    rate = metrics["fit_seconds"] / max(1, metrics["steps"]) * 1e6
    rows = [
        ("run", how),
        ("loss", "   ".join(f"{name} {loss:.4f}" for name, loss in losses.items()) + "   (nats per character)"),
        ("model", f"{metrics['parameters']:,} parameters after {metrics['steps']:,} steps"),
        ("time", f"{metrics['fit_seconds']:.1f} s training ({rate:.0f} µs a step), {seconds:.1f} s in all"),
        ("folder", str(run_folder)),
    ]
    next_commands = [f"tensorboard --logdir {shlex.quote(logs)}"]
    if math.isfinite(metrics["best_dev_loss"]):
        next_commands.insert(0, f"python sample.py {shlex.quote(f'checkpoint={run_folder}')}")
    rows += zip(("next", ""), next_commands, strict=False)
    return "\n" + "\n".join(f"{name:<8}{text}" for name, text in rows) + "\n"


def objective(metrics: dict[str, Any]) -> float:
    """What a sweep minimizes: the best dev loss; infinite if the run never had one."""
    loss = float(metrics["best_dev_loss"])
    return loss if math.isfinite(loss) else math.inf
