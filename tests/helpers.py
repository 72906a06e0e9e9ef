"""What several test modules share: seeded generators, tiny cases, composed configurations, runs of the scripts."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hypothesis import strategies as st
from omegaconf import DictConfig
from torch import Tensor

from makemore.config import check as config
from makemore.config.schema import Init
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models.mlp import formulas as mlp

ROOT = Path(__file__).parent.parent
REFERENCE = Path(os.environ.get("MAKEMORE_DATA", ROOT.parent / "shared" / "data"))
# A run that leaves no figures and no TensorBoard events.
QUIET = ("logger=none", "callbacks=none")
# Any Unicode text but surrogates, which no UTF-8 file can hold, and the boundary.
DOCUMENTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1), min_size=1)

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def script_in(folder: Path) -> Script:
    """Runs train.py or sample.py as a user would, in a folder: script_in(folder)("train.py", "steps=10")."""

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        return subprocess.run(
            [sys.executable, str(ROOT / name), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


class Run:
    """A finished run: its metrics, its folder and its model."""

    def __init__(self, folder: Path, metrics: dict[str, Any]) -> None:
        self.folder = folder
        self.metrics = metrics

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The last checkpoint's parameters."""
        content = torch.load(self.folder / "last.ckpt", weights_only=True)
        state: dict[str, Tensor] = content["state_dict"]
        return state


Train = Callable[..., Run]


def composed(*overrides: str) -> DictConfig:
    """The configuration of train.py with overrides, as Hydra hands it to the job."""
    config.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(overrides))


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


def any_distributions(rows: int, vocabulary: int) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=seeded(), dtype=torch.float64).softmax(1)


def tanh_inputs() -> Tensor:
    """From a float32's smallest to 100, positive and negative, and the special values, in float64."""
    x = torch.cat([torch.logspace(-45, 2, 10_001, dtype=torch.float64), torch.linspace(0, 100, 10_001).double()])
    return torch.cat([x, -x, torch.tensor([math.inf, -math.inf, math.nan], dtype=torch.float64)])
