"""What several test modules share: seeded generators, tiny cases, composed configurations, runs of the scripts."""

import atexit
import contextlib
import inspect
import math
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.plugins.sweeper import Sweeper
from hypothesis import strategies as st
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from makemore.cli import hydra_fixes
from makemore.config import compose as configuration
from makemore.config.schema import TrainConfig
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.files import STATE
from makemore.models import model_file, registry
from makemore.models.base import LanguageModel
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp.config import Init

ROOT = Path(__file__).parent.parent
REFERENCE = Path(os.environ.get("MAKEMORE_DATA", ROOT.parent / "shared" / "data"))
# A run that leaves no figures and no TensorBoard events.
QUIET = ("logger=none", "callbacks=none")
# A text on which runs take no time.
FEW_NAMES = ["emma", "ava", "mia", "amelia", "ella", "eva", "liam", "lia", "ali", "mila"] * 3
# Any Unicode text but surrogates, which no UTF-8 file can hold, and NUL, which makes a file a binary one.
DOCUMENTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1)

Script = Callable[..., "subprocess.CompletedProcess[str]"]


# A process that has imported the libraries, and nothing more, forks every run of a script: that takes seconds off each.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["hydra", "makemore.cli.main", "makemore.training.run", "makemore.inference.comparison"])


def script_in(folder: Path, project: Path = ROOT) -> Script:
    """Runs train.py or sample.py as a user would, in a folder: script_in(folder)("train.py", "steps=10").

    They are those of the project, or of a copy of it, with the copy's package.
    """

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        if project != ROOT:
            environment["PYTHONPATH"] = str(project / "src")
        command = [str(project / name), *arguments]
        with tempfile.TemporaryDirectory() as outputs:
            process = FORKS.Process(target=_run_script, args=(command, folder, environment, outputs))
            process.start()
            process.join(300)
            if process.exitcode is None:
                process.kill()
                raise subprocess.TimeoutExpired(command, 300)
            out, err = (Path(outputs, each).read_text(encoding="utf-8") for each in ("out", "err"))
        return subprocess.CompletedProcess(command, process.exitcode, out, err)

    return run


def _run_script(command: list[str], folder: Path, environment: dict[str, str], outputs: str) -> None:
    """In a fork: what `python SCRIPT ARGUMENTS` does in a folder, with its output in two files."""
    for number, name in ((1, "out"), (2, "err")):
        with Path(outputs, name).open("wb") as file:
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    project = Path(command[0]).parent
    sys.argv, sys.path[0] = command, str(project)
    if project != ROOT:  # a copy with a package of its own
        sys.path.insert(1, str(project / "src"))
        for name in [name for name in sys.modules if name.partition(".")[0] in ("makemore", "hydra_plugins")]:
            del sys.modules[name]
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()


def wait_for(condition: Callable[[], Any]) -> None:
    """Waits until a condition holds; fails after two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Run:
    """A finished run: its metrics, its folder and its model."""

    def __init__(self, folder: Path, metrics: dict[str, Any]) -> None:
        self.folder = folder
        self.metrics = metrics

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The last state's parameters and buffers, by the model's names; those of the only model if it was fitted."""
        if not (self.folder / STATE).exists():
            return model_file.load(self.folder).model.state_dict()
        state: dict[str, Tensor] = torch.load(self.folder / STATE, weights_only=True)["state_dict"]
        return {name.removeprefix("model."): tensor for name, tensor in state.items()}

    @property
    def events(self) -> EventAccumulator:
        """What the run wrote for TensorBoard."""
        events = EventAccumulator(str(self.folder))
        events.Reload()
        return events

    def points(self, tag: str) -> dict[int, float]:
        """The points of one of TensorBoard's charts, by step."""
        return {point.step: point.value for point in self.events.Scalars(tag)}


Train = Callable[..., Run]


def same_state(a: Run, b: Run) -> bool:
    """Whether two runs ended with the same parameters and buffers, bit for bit."""
    one, other = a.parameters, b.parameters
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@contextlib.contextmanager
def refused(*named: object) -> Iterator[None]:
    """Expects a UserError of one line that names these."""
    with pytest.raises(UserError) as error:
        yield
    assert "\n" not in str(error.value)
    for each in named:
        assert str(each) in str(error.value)


@contextlib.contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """Makes writes fail that would make a file larger, as `ulimit -f` or a full disk does."""
    resource = pytest.importorskip("resource", reason="this system has no limits")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def build(name: str, vocabulary: int, block_size: int, seed: int = 1, **keys: Any) -> LanguageModel:
    """A model with initial weights, without a run around it."""
    model = registry.build(registry.config_of(name)(name, **keys), vocabulary, block_size)
    model.initialize(seeded(seed))
    return model


def composed(*overrides: str) -> DictConfig:
    """The configuration of train.py with overrides, as Hydra hands it to the job."""
    configuration.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(overrides))


# Hydra composes as it does for the scripts: in a tenth of the time.
hydra_fixes.share_config_store()
hydra_fixes.compose_choices_once()


def restore_composing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoes what fixes do to Hydra's composing, until the end of a test."""
    for owner, name in (
        (config_loader_impl, "create_defaults_list"),
        (ConfigLoaderImpl, "_compose_config_from_defaults_list"),
        (Sweeper, "validate_batch_is_legal"),
    ):
        monkeypatch.setattr(owner, name, inspect.unwrap(getattr(owner, name)))


def check(nodes: DictConfig) -> TrainConfig:
    """The checked settings of a run."""
    return configuration.check_run(nodes, registry.config_of)


SEED = 2147483647


def seeded(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first_five_names() -> tuple[Tensor, Tensor]:
    names = corpus.read(corpus.BUNDLED)
    windows = Windows.from_documents(names[:5], Vocabulary.from_documents(names), 3)
    return windows.gather(torch.arange(len(windows)))


def random_case(
    vocabulary: int, block_size: int, emb_dim: int, hidden: int, rows: int
) -> tuple[mlp.Parameters, Tensor, Tensor]:
    generator = seeded(1)
    drawn = mlp.initial(vocabulary, block_size, emb_dim, hidden, Init.normal, generator)
    p = mlp.Parameters(*(parameter.double().requires_grad_() for parameter in drawn))
    contexts = torch.randint(vocabulary, (rows, block_size), generator=generator)
    return p, contexts, torch.randint(vocabulary, (rows,), generator=generator)


def mlp_loss(p: mlp.Parameters, contexts: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean cross-entropy in nats; the targets are ids (B,) or distributions (B, vocabulary)."""
    return F.cross_entropy(mlp.logits(p, contexts, mask), targets)


def any_distributions(rows: int, vocabulary: int) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=seeded(), dtype=torch.float64).softmax(1)


def tanh_inputs() -> Tensor:
    """From a float32's smallest to 100, positive and negative, and the special values, in float64."""
    x = torch.cat([torch.logspace(-45, 2, 10_001, dtype=torch.float64), torch.linspace(0, 100, 10_001).double()])
    return torch.cat([x, -x, torch.tensor([math.inf, -math.inf, math.nan], dtype=torch.float64)])
