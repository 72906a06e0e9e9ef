"""One run, start to finish: from checked settings to a trained model in a run folder."""

import contextlib
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler
from lightning.pytorch.profilers import Profiler as AbstractProfiler

from makemore import files, machine
from makemore.config.schema import Accelerator, Layout, Profiler, TrainConfig
from makemore.config.status import Status
from makemore.data.cache import read_documents
from makemore.data.datamodule import WindowDataModule
from makemore.data.dataset import Dataset
from makemore.data.spans import Spans
from makemore.errors import Terminated, UserError
from makemore.files import METRICS, STATE
from makemore.models import registry
from makemore.models.base import LanguageModel
from makemore.models.contract import check_model
from makemore.threads import use_one_thread
from makemore.training import execution
from makemore.training.callbacks import Interruption, LearningRateSchedule, Progress, Results, Throughput, TrainLoss
from makemore.training.instantiation import build_all, instantiate, opened
from makemore.training.memory import check_size, explain_lack_of_memory
from makemore.training.module import LanguageModule
from makemore.training.parallel import ALONE, Share, StopTogether, run_together, trainer_arguments
from makemore.training.report import report
from makemore.training.saving import (
    KEY,
    AtomicCheckpointIO,
    SaveBest,
    SaveState,
    check_documents,
    check_processes,
    go_back,
    read_state,
)
from makemore.training.start_from import load_weights
from makemore.training.steps import OptimizerFactory

log = logging.getLogger(__name__)

# The loss of an example has a standard deviation of about 1.5 nats: with fewer, that of their mean is above 0.05.
FEW_EXAMPLES = 1000


def run(config: TrainConfig, run_folder: Path) -> dict[str, Any]:
    """Trains one model, leaves everything about it in its folder, and returns what `metrics.json` there holds.

    With `resume` it continues from the state that an earlier attempt left there.

    Raises:
        UserError: the data, the model or a value is not usable.
        Terminated: SIGTERM came while it trained; it has left everything, too.
    """
    silence()
    machine.reuse_freed_memory()  # again, because launchers run this in processes of their own
    if config.trainer.processes == 1:
        return train_share(config, run_folder, run_folder)
    return run_together(partial(train_share, config, run_folder), run_folder, config.trainer.processes)


def train_share(config: TrainConfig, run_folder: Path, into: Path, share: Share = ALONE) -> dict[str, Any]:
    """A run, or one process's share of it, which leaves everything in the folder `into`."""
    started = time.perf_counter()
    callbacks = build_callbacks(config, into)
    loggers = build_all("logger", config.logger, into, Logger) if share.rank == 0 else []
    config, state = find_state(config, run_folder)
    optimizer, stepping = plan_steps(config, share)
    with explain_lack_of_memory(config.model):
        data = read_data(config, share)
        if state is not None:
            check_documents(state, data.dataset)
        model = make_model(config, data.dataset, data.block_size)
        chosen = choose_execution(config, model, data.dataset, callbacks, share)
        steps_taken = 0 if state is None else state[KEY]["steps_taken"]
        calls = execution.plan_calls(config, chosen.steps_per_execution, steps_taken)
        device = f"cuda:{share.rank}" if chosen.accelerator is Accelerator.gpu else chosen.accelerator.value
        data.deal(calls, device, model.minibatches_per_step, model.by_document)
        module = LanguageModule(config, model, data.dataset, optimizer)
        results, save_state = Results(config.test, resumed=state is not None), SaveState(config.trainer.save_every)
        # Figures do not count as training, so results come first; the state comes last, to have that of all others.
        together = [StopTogether()] if share.of > 1 else []
        every = [results, *stepping, *callbacks, *together, Interruption(), SaveBest(), save_state]
        parts = {"logger": loggers, "callbacks": every, "profiler": make_profiler(config.trainer.profiler, into)}
        trainer = make_trainer(chosen, calls, share, default_root_dir=into, **parts)
        with explain_failed_writes(into):
            if config.resume is not None and share.rank == 0:
                go_back(run_folder, loggers, state)
                log.info(f"resuming after {steps_taken:,} steps")
            with opened(loggers):
                fit(trainer, module, data, None if state is None else run_folder / STATE)
            saving = save_state.seconds
            results.metrics |= collect_suggestions(callbacks)
            # From here on there is nothing to resume. The last state is for whoever wants the final weights.
            files.write_text(into / METRICS, files.to_json(results.metrics) + "\n")
            if module.status is Status.finished:
                save_state.save(trainer, module)
    log.info(report(results.metrics, config.data.level, run_folder, time.perf_counter() - started, saving))
    if module.interrupted == signal.SIGTERM:
        raise Terminated
    return results.metrics


def build_callbacks(config: TrainConfig, into: Path) -> list[L.Callback]:
    """The callbacks that the configuration names. Raises UserError if one of them refuses it."""
    callbacks = build_all("callbacks", config.callbacks, into, L.Callback)
    for callback in callbacks:
        if hasattr(callback, "check"):
            callback.check(config)
    return callbacks


def plan_steps(config: TrainConfig, share: Share) -> tuple[OptimizerFactory | None, list[L.Callback]]:
    """What makes the optimizer, and the callbacks that go with steps: neither for a model that is fitted at once."""
    if config.model.fitted:
        return None, []
    schedule = instantiate("schedule", config.schedule, steps=config.steps)
    log_every = min(config.log_every, max(1, config.steps // 20))  # at least 20 points in a chart
    stepping = [LearningRateSchedule(schedule, log_every), TrainLoss(log_every), Throughput()]
    if config.trainer.progress_bar and share.rank == 0:
        stepping.append(Progress())
    return partial(instantiate("optimizer", config.optimizer), lr=schedule(0)), stepping


def choose_execution(
    config: TrainConfig, model: LanguageModel, data: Dataset, callbacks: Sequence[L.Callback], share: Share
) -> execution.Execution:
    """How the run computes, which is logged, and holds for PyTorch's threads from here on."""
    single_steps = any(getattr(callback, "single_steps", False) for callback in callbacks)
    chosen = execution.choose(config, model, count_rows(config, data) // share.of, single_steps)
    log.info(f"computing: {chosen}")
    torch.set_num_threads(chosen.threads)
    return chosen


def find_state(config: TrainConfig, run_folder: Path) -> tuple[TrainConfig, dict[str, Any] | None]:
    """The state that `resume` goes on from, if there is one, and the settings that go with it."""
    state = read_state(run_folder) if config.resume is not None else None
    if state is None:
        return config, None
    check_processes(state, config.trainer.processes)
    # The state has the weights, and it goes on in the same number of threads.
    threads = config.trainer.threads or state[KEY].get("threads")
    return replace(config, start_from=None, trainer=replace(config.trainer, threads=threads)), state


def collect_suggestions(callbacks: Sequence[L.Callback]) -> dict[str, str]:
    """What callbacks suggest, which is then the result of a run instead of its model."""
    made = [callback.suggestion for callback in callbacks if hasattr(callback, "suggestion")]
    return {"suggestion": "; ".join(made)} if made else {}


def make_profiler(kind: Profiler | None, folder: Path) -> AbstractProfiler | None:
    """What times a run, and leaves `fit-profile.txt` in a folder."""
    kinds = {Profiler.simple: SimpleProfiler, Profiler.advanced: AdvancedProfiler}
    return None if kind is None else kinds[kind](dirpath=folder, filename="profile")


def make_trainer(chosen: execution.Execution, calls: execution.Calls, share: Share, **arguments: Any) -> L.Trainer:
    """Lightning's trainer, which counts in calls."""
    trainer = L.Trainer(
        accelerator=chosen.accelerator.value,
        **trainer_arguments(share),
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=True,
        max_epochs=1,
        val_check_interval=calls.per_evaluation,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )
    # Lightning evaluates when this count is a multiple of `val_check_interval`; a resumed run would begin at 0.
    trainer.fit_loop.epoch_loop.batch_progress.total.ready = calls.before
    return trainer


@contextlib.contextmanager
def explain_failed_writes(run_folder: Path) -> Iterator[None]:
    """Turns an error of the file system while a run writes into a UserError."""
    # An error ends TensorBoard's thread, and Python would print a traceback; the writer's next call raises it here.
    hook = threading.excepthook
    threading.excepthook = lambda each: None if isinstance(each.exc_value, OSError) else hook(each)
    try:
        yield
    except OSError as error:
        if error.filename is not None and run_folder not in Path(os.fsdecode(error.filename)).parents:
            raise
        if not run_folder.is_dir():
            raise UserError(f"the run's folder {run_folder} has been deleted") from error
        why = f"{error.strerror or error}; what it had saved before is whole"
        raise UserError(f"the run cannot write into {run_folder}: {why}") from error
    finally:
        threading.excepthook = hook


def check(config: TrainConfig) -> None:
    """Refuses a run that cannot be, before it has a folder. What this reads is not read again.

    Raises:
        UserError: there is no GPU for it, its documents are not usable, its minibatches cannot be shared, a teacher
            would see pieces of documents, or its network does not fit into memory.
    """
    execution.require_gpu(config.trainer)
    # A process that is forked afterwards would wait for PyTorch's threads forever.
    with use_one_thread(), explain_lack_of_memory(config.model):
        documents = read_documents(config.data)
        block_size, processes = config.model.context_length(config.data), config.trainer.processes
        by_document = reads_documents(config)
        data = Dataset.from_documents(documents, block_size)
        rows = count_rows(config, data)
        if by_document:
            check_spans(config, data.spans)
        if rows < processes or (rows % processes and not by_document):
            given = f"data.batch_size={config.data.batch_size or 'null'} makes minibatches of {rows:,} examples"
            raise UserError(f"{given}, which trainer.processes={processes} cannot share; give it a multiple of that")
        check_size(config.model, len(documents.vocabulary), block_size, rows, processes)


def reads_documents(config: TrainConfig) -> bool:
    """Whether minibatches hold documents."""
    return registry.model_of(config.model.name).by_document


def count_rows(config: TrainConfig, data: Dataset) -> int:
    """The examples in a minibatch, or the documents."""
    return config.data.batch_size or len(data.spans if reads_documents(config) else data.train)


def silence() -> None:
    """Silences Lightning's routine messages; its other warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for routine in (
        ".*configure_optimizers. returned .None.*",  # for a model that is fitted at once
        ".*recommended to use `self.log\\('dev_loss'.*",  # which has been added up already
        ".*isinstance\\(treespec, LeafSpec\\).*",  # Lightning 2.6 on PyTorch 2.13 about its own code
    ):
        warnings.filterwarnings("ignore", routine)


def read_data(config: TrainConfig, share: Share = ALONE) -> WindowDataModule:
    block_size = config.model.context_length(config.data)
    data = WindowDataModule(config.data, block_size=block_size, seed=config.seed, rank=share.rank, ranks=share.of)
    data.setup()
    dataset = data.dataset
    sizes = " / ".join(f"{len(part):,}" for part in (dataset.train, dataset.dev, dataset.test))
    text = "a running text" if config.data.layout is Layout.running else f"{dataset.documents:,} documents"
    if reads_documents(config) and not dataset.spans.whole:
        text += f" in {len(dataset.spans):,} pieces of at most {data.block_size:,} to train on"
    counts = f"{text}, {len(dataset.vocabulary):,} {config.data.level}s with the boundary"
    log.info(f"{dataset.path.name}: {counts}; {sizes} examples to train / dev / test")
    if len(dataset.dev) < FEW_EXAMPLES and config.data.overfit is None:
        log.info(f"dev has {len(dataset.dev):,} examples, and a loss over so few says little; give it a longer text")
    return data


def make_model(config: TrainConfig, data: Dataset, block_size: int) -> LanguageModel:
    """The model with its initial weights, or yet to be fitted.

    Raises UserError if the machine's memory cannot hold it, or it does not keep the contract of a model.
    """
    vocabulary = len(data.vocabulary)
    if config.model.fitted:
        return registry.build(config.model, vocabulary, block_size, config.seed)
    check_size(config.model, vocabulary, block_size, count_rows(config, data), config.trainer.processes)
    model = registry.build(config.model, vocabulary, block_size, config.seed)
    model.initialize(torch.Generator().manual_seed(config.seed))
    model.adapt(data.train)
    if config.start_from is not None:
        load_weights(model, config.start_from, data.vocabulary)
    # Two examples, if there are, for each minibatch of a step.
    few = torch.arange(min(config.data.batch_size or len(data.train), len(data.train), 2))
    check_model(model, *data.train.gather(few.repeat(model.minibatches_per_step)))
    return model


def check_spans(config: TrainConfig, spans: Spans) -> None:
    """Raises UserError if a teacher were to judge pieces of documents, whose contexts are incomplete."""
    if config.distillation == 0 or spans.whole:
        return
    given = f"distillation={config.distillation:g} with model={config.model.name} needs whole documents"
    if config.data.layout is Layout.running:
        advice = "use distillation=0, or a model that sees windows, such as model=mlp"
        raise UserError(f"{given}, and a running text has none; {advice}")
    longer = f"data.block_size={spans.windows.block_size} is shorter than some with their boundaries"
    raise UserError(f"{given}, and {longer}; give it a larger value")


def fit(trainer: L.Trainer, module: LanguageModule, data: WindowDataModule, state: Path | None) -> None:
    """Trains; from a saved state if there is one."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=state, weights_only=True)
    except SystemExit as error:  # by Lightning, for a KeyboardInterrupt: a second Ctrl-C
        raise error.__context__ or KeyboardInterrupt from None
    except RuntimeError as error:
        if "conditioned on metric" in str(error):  # EarlyStopping's `monitor` names what nobody logs
            raise UserError(f"callbacks: {error}") from error
        raise
    fitted = module.model.config.fitted
    if module.status is Status.finished and module.steps_taken < module.steps and not fitted:
        log.info(f"a callback ended the run after {module.steps_taken:,} of {module.steps:,} steps")
