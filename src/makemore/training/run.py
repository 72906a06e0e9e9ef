"""One run, start to finish: from a checked configuration to a trained model in a run folder."""

import contextlib
import dataclasses
import functools
import io
import logging
import math
import os
import re
import shlex
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig
from torch.utils.tensorboard import summary

from makemore.config.check import build, replayable
from makemore.config.schema import (
    Accelerator,
    BigramConfig,
    DataConfig,
    FittedConfig,
    Gradients,
    MixtureConfig,
    MLPConfig,
    NgramConfig,
    Smoothing,
    TrainConfig,
)
from makemore.data import corpus, datamodule
from makemore.data.datamodule import Documents, WindowDataModule
from makemore.errors import UserError
from makemore.models.file import BEST, LAST, SavedModel
from makemore.models.mixture import members
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp import numba_steps as compiled
from makemore.training import execution
from makemore.training.callbacks import (
    BestCheckpoint,
    ContextTable,
    EmbeddingPlot,
    GracefulInterrupt,
    HeatMap,
    LRRange,
    Progress,
    Results,
    Samples,
    TrainLoss,
)
from makemore.training.models import MLP, Bigram, Mixture, Ngram
from makemore.training.module import DescendingModule, LanguageModule
from makemore.views import plots
from makemore.views.diagnostics import Saturation, Scales, UpdateRatio

log = logging.getLogger(__name__)

# Megabytes of text from which on reading takes seconds.
LONG_READING = 20
# What a setting is that a model does not have.
NONE = "-"
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
    mixed = members.load(config, nodes)
    keep_configuration(nodes, run_folder)
    with enough_memory():
        data = prepare(config)
        if isinstance(config.model, MixtureConfig):
            members.check(config.model.members, mixed, data)
        chosen = execution.choose(config, data)
        make_ready(chosen, data)
        module = make_module(config, nodes, data, chosen, mixed)
        results = Results(Timer(verbose=False), config.test)
        trainer = make_trainer(config, module, data, chosen, run_folder, results)
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
    """Trains; a second Ctrl-C, for which Lightning ends the process, is one again.

    Raises:
        UserError: somebody has told this process to end.
    """
    try:
        trainer.fit(module, datamodule=data)
    except (SystemExit, SIGTERMException) as error:
        if trainer.received_sigterm:
            raise UserError("the run was told from outside to end, by the signal SIGTERM") from error
        raise KeyboardInterrupt from error


def quieten() -> None:
    """Leaves out what Lightning says in every run whatever was asked; its other warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The folder was made for this run alone: what is in it is the configuration and the log.
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    # Models that are fitted at once have no optimizer, and are meant to have none.
    warnings.filterwarnings("ignore", ".*configure_optimizers. returned .None.*")
    # Lightning 2.6 on PyTorch 2.13, of itself.
    warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")


# Documents that several runs have in common, for the processes that these are forked into.
_read: dict[str, Documents] = {}


def read_once(config: DataConfig) -> None:
    """Reads the documents of a run to come, which it may have in common with others, before these are forked.

    What cannot be read is left for the run to say, which has a folder to say it in.
    """
    if _identity(config) not in _read:
        with contextlib.suppress(UserError):
            _read[_identity(config)] = datamodule.read(config)


@functools.cache
def preload() -> None:
    """Loads what every run would load for itself at its first step, figure and chart, before runs are forked.

    Once in a process, however often it is called.
    """
    plots.loss_curve(torch.ones(3), {1: 1.0}).savefig(io.BytesIO())
    summary.hparams({"a": 1}, {"b": 1.0})  # type: ignore[no-untyped-call]
    if compiled.is_ready():
        compiled.prepare()


def _identity(config: DataConfig) -> str:
    """What decides which documents a run has, and how they are split."""
    return repr(dataclasses.replace(config, block_size=0, batch_size=0, replacement=False))


def prepare(config: TrainConfig) -> WindowDataModule:
    """The data of a run, read and split."""
    data = WindowDataModule(
        config.data,
        steps=1 if isinstance(config.model, FittedConfig) else config.steps,
        eval_every=config.eval_every or max(1, config.steps // EVALUATIONS),
        seed=config.seed,
        documents=_read.get(_identity(config.data)),
    )
    data.prepare_data()
    path = corpus.locate(config.data)
    megabytes = os.path.getsize(path) / 1e6 if os.path.isfile(path) else 0  # noqa: PTH113, PTH202 (Path's raise for odd names)
    if megabytes > LONG_READING:
        log.info(f"reading {megabytes:,.0f} MB of text ...")
    data.setup()
    log.info(
        f"{data.path.name}: {data.number:,} documents, {len(data.vocabulary)} characters with the boundary; "
        f"{len(data.train):,} / {len(data.dev):,} / {len(data.test):,} examples to train / dev / test"
    )
    return data


def make_ready(chosen: execution.Execution, data: WindowDataModule) -> None:
    """Puts into effect what was chosen, and says what that is."""
    log.info(f"computing: {chosen}")
    torch.set_num_threads(chosen.threads)
    data.steps_per_execution = chosen.steps_per_execution
    if chosen.accelerator is Accelerator.gpu:
        data.device = "cuda"
    if chosen.gradients is Gradients.compiled:
        if not compiled.is_ready():
            log.info("compiling the steps for this processor: a few seconds, once")
        compiled.prepare()


def make_module(
    config: TrainConfig,
    nodes: DictConfig,
    data: WindowDataModule,
    chosen: execution.Execution,
    mixed: Sequence[SavedModel] = (),
) -> LanguageModule:
    """The model with its initial weights, or yet to be fitted.

    Raises:
        UserError: the machine's memory cannot hold it.
    """
    model = config.model
    common: dict[str, Any] = {"vocabulary": data.vocabulary, "settings": settings(config, nodes)}
    if isinstance(model, NgramConfig):
        return Ngram(model, **common)
    if isinstance(model, MixtureConfig):
        return Mixture(model, mixed, **common)
    common |= {
        "optimizer": build("optimizer", nodes.optimizer, lr=config.schedule.lr),
        "schedule": build("schedule", nodes.schedule, steps=config.steps),
        "log_every": log_every(config),
        "seed": config.seed,
    }
    if isinstance(model, BigramConfig):
        return Bigram(**common)
    assert chosen.gradients is not None
    check_size(model, config.data.block_size, len(data.vocabulary))
    return MLP(model, block_size=config.data.block_size, gradients=chosen.gradients, **common)


def check_size(model: MLPConfig, block_size: int, vocabulary: int) -> None:
    """Makes sure that a network fits into memory before it is made.

    Raises:
        UserError: it does not.
    """
    sizes = map(math.prod, mlp.shapes(vocabulary, block_size, model.emb_dim, model.hidden))
    # Parameters and gradients in float32, and as much again while checkpoints are written.
    needed, there = 4 * 4 * sum(sizes), physical_memory()
    if needed > there:
        raise UserError(
            f"model.hidden={model.hidden} with model.emb_dim={model.emb_dim} and data.block_size={block_size} needs "
            f"{needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f}; choose smaller sizes"
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
    model, fitted = config.model, isinstance(config.model, FittedConfig)
    return {
        "model": model.name,
        "data": data_name(config.data),
        "block_size": config.data.block_size,
        "emb_dim": getattr(model, "emb_dim", 0),
        "hidden": getattr(model, "hidden", 0),
        "init": model.init.value if isinstance(model, MLPConfig) else NONE,
        "dropout": getattr(model, "dropout", 0.0),
        "distillation": getattr(model, "distillation", 0.0),
        "smoothing": smoothing(model) if isinstance(model, NgramConfig) else NONE,
        "batch_size": 0 if fitted else config.data.batch_size or 0,
        "optimizer": NONE if fitted else nodes.optimizer["_target_"].rsplit(".", 1)[-1],
        "weight_decay": 0.0 if fitted else float(nodes.optimizer.get("weight_decay", 0)),
        "schedule": NONE if fitted else nodes.schedule["_target_"].rsplit(".", 1)[-1],
        "lr": 0.0 if fitted else config.schedule.lr,
        "steps": 0 if fitted else config.steps,
        "seed": config.seed,
    }


def smoothing(model: NgramConfig) -> str:
    """The smoothing of an n-gram model with its number, in a word."""
    if model.smoothing is Smoothing.add_k:
        return f"add {model.k:g}"
    if model.smoothing is Smoothing.kneser_ney:
        return "Kneser-Ney" if model.discount is None else f"Kneser-Ney {model.discount:g}"
    return NONE


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
    module: LanguageModule,
    data: WindowDataModule,
    chosen: execution.Execution,
    run_folder: Path,
    results: Results,
) -> L.Trainer:
    """A Trainer that makes one pass over the run's minibatches and evaluates every `eval_every` steps."""
    looking = config.callbacks
    callbacks: list[L.Callback] = [results.timer, results]
    if isinstance(module, DescendingModule):
        callbacks.append(TrainLoss(log_every(config), looking.loss_curve))
        if config.trainer.progress_bar:
            callbacks.append(Progress())
        if looking.lr_range:
            callbacks.append(LRRange())
    for wanted, callback in (
        (looking.saturation, Saturation),
        (looking.update_ratio, UpdateRatio),
        (looking.scales, Scales),
    ):
        if wanted:
            callbacks.append(callback())
    if looking.embedding:
        callbacks.append(EmbeddingPlot())
    if looking.heat_map:
        callbacks.append(HeatMap())
    if looking.context_table:
        callbacks.append(ContextTable())
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
    if metrics["status"] == "finished" and metrics["dev_loss"] == math.inf:
        how += "; dev has pairs that counts alone hold to be impossible: try model.smoothing=kneser_ney"
    if run_folder.is_relative_to(Path.cwd()):
        run_folder = run_folder.relative_to(Path.cwd())
    logs = "outputs" if run_folder.parts[:1] == ("outputs",) else str(run_folder)
    steps, parameters = metrics["steps"], f"{metrics['parameters']:,} parameters"
    rate = f" ({metrics['fit_seconds'] / steps * 1e6:.0f} µs a step)" if steps else ""
    rows = [
        ("run", how),
        ("loss", "   ".join(f"{name} {loss:.4f}" for name, loss in losses.items()) + "   (nats per character)"),
        ("model", f"{parameters} after {steps:,} steps" if steps else f"{parameters}, fitted at once"),
        ("time", f"{metrics['fit_seconds']:.1f} s training{rate}, {seconds:.1f} s with data and figures"),
        ("folder", str(run_folder)),
    ]
    next_commands = [f"tensorboard --logdir {shlex.quote(logs)}"]
    if math.isfinite(metrics["best_dev_loss"]):
        next_commands.insert(0, f"python sample.py {shlex.quote(f'checkpoint={run_folder}')}")
    rows += zip(("next", ""), next_commands, strict=False)
    return "\n" + "\n".join(f"{name:<8}{text}" for name, text in rows) + "\n"
