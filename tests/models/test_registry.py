import importlib
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import makemore.models
from makemore.config.schema import ModelConfig, TrainConfig
from makemore.data.cache import read_documents
from makemore.data.dataset import Dataset
from makemore.models import registry
from makemore.models.base import LanguageModel
from makemore.models.mlp.config import Config
from makemore.training import run as training
from makemore.training.hyperparameters import describe_model
from tests.helpers import composed, refused

CONFIG = """
from dataclasses import dataclass
from typing import ClassVar
from makemore.config.schema import ModelConfig

@dataclass
class Config(ModelConfig):
    fitted: ClassVar[bool] = False
"""
MODEL = """
import torch
from makemore.models.base import LanguageModel
from makemore.models.mlp.config import Config

class Model(LanguageModel):
    def __init__(self, config, vocabulary, block_size):
        super().__init__(config, vocabulary, block_size)
        self.W = torch.nn.Linear(block_size, vocabulary)

    def forward(self, contexts):
        return self.W(contexts.float())
"""

Write = Callable[..., str]
numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a model into a folder that the registry looks at, and returns its name: no two tests have the same."""
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    monkeypatch.setattr(makemore.models, "__path__", [*makemore.models.__path__, str(tmp_path)])

    def run(**files: str) -> str:
        name = f"model_{next(numbers)}"
        (tmp_path / name).mkdir()
        for part, text in files.items():
            (tmp_path / name / f"{part}.py").write_text(text)
        importlib.invalidate_caches()
        return name

    return run


def test_a_folder_is_a_model(write: Write) -> None:
    name = write(config=CONFIG, model=MODEL)
    assert registry.names() == [name]
    model = registry.build(registry.config_of(name)(name), 5, 2)
    assert model(torch.zeros(3, 2, dtype=torch.int64)).shape == (3, 5)


def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    with refused("model.name=nothing", *registry.names()):
        registry.config_of("nothing")


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("config", ""),
        ("config", "Config = 3"),
        ("config", "class Config: pass"),
        ("config", CONFIG.replace("class Config", "class Settings")),
        ("config", CONFIG.replace("@dataclass\n", "")),
        ("config", CONFIG.replace("(ModelConfig)", "")),
        # That would train another model under this name.
        ("config", "from makemore.models.mlp.config import Config"),
        ("model", ""),
        ("model", MODEL.replace("class Model", "class Network")),
        ("model", MODEL.replace("LanguageModel)", "torch.nn.Module)")),
        ("model", MODEL.replace("def forward", "def logits")),
        ("model", "from makemore.models.mlp.model import Model"),
    ],
)
def test_a_malformed_part_is_refused_by_its_file(write: Write, part: str, text: str) -> None:
    name = write(**{"config": CONFIG, "model": MODEL, part: text})
    with refused(registry.FOLDER / name / f"{part}.py"):
        registry.model_of(name)


def test_a_model_without_a_file_is_refused(write: Write) -> None:
    name = write(config=CONFIG)
    with refused(f"model={name}", registry.FOLDER / name / "model.py"):
        registry.model_of(name)


def test_a_fitted_model_without_fit_is_refused(write: Write) -> None:
    name = write(config=CONFIG.replace("False", "True"), model=MODEL)
    with refused(registry.FOLDER / name / "model.py", "fit"):
        registry.model_of(name)


def make(name: str, few_names: Path, seed: int = 1) -> LanguageModel:
    """The model as a run makes it, with contexts of two characters."""
    data: Any = OmegaConf.to_object(composed("data=text", f"data.path={few_names}").data)
    config = TrainConfig(model=registry.config_of(name)(name), data=data, seed=seed, start_from=None)
    return training.make_model(config, Dataset.from_documents(read_documents(data), 2), 2)


@pytest.mark.parametrize("wrong", ["[:, 1:]", ".flatten()", ".unsqueeze(1)", "[:1]", ".tolist()"])
def test_a_model_whose_output_has_another_shape_is_refused_before_training(
    write: Write, few_names: Path, wrong: str
) -> None:
    name = write(config=CONFIG, model=MODEL.replace("float())", f"float()){wrong}"))
    with refused(registry.FOLDER / name / "model.py"):
        make(name, few_names)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import torch", "import torch\nimport nothing_of_this_name"),
        ("super().__init__(config, vocabulary, block_size)", "pass"),
        ("vocabulary, block_size):", "vocabulary):"),
        ("float())", "float()) / []"),
        ("float())", "float()).detach()"),
        ("float())", "float()).double()"),
        ("contexts.float()", "contexts.float() - contexts.float().mean(0)"),  # rows that depend on those beside them
    ],
)
def test_an_error_in_a_models_code_is_met_before_training_and_names_its_file(
    write: Write, few_names: Path, old: str, new: str
) -> None:
    assert old in MODEL
    name = write(config=CONFIG, model=MODEL.replace(old, new))
    with refused(registry.FOLDER / name / "model.py"):
        make(name, few_names)


def test_an_error_in_a_config_names_its_file_and_stops_no_other_model(write: Write) -> None:
    name = write(config="def (", model=MODEL)
    with refused(registry.FOLDER / name / "config.py"):
        registry.config_of(name)
    settings = describe_model(Config(name="mlp"))
    assert "hidden" in settings


def test_all_initial_weights_depend_on_the_runs_seed_however_they_are_drawn(write: Write, few_names: Path) -> None:
    more = """
        self.raw = torch.nn.Parameter(torch.randn(3, 4))
        self.attention = torch.nn.MultiheadAttention(4, 2)  # has no `reset_parameters`
"""
    name = write(config=CONFIG, model=MODEL.replace("\n\n    def forward", more + "\n    def forward"))
    one, same, other = (make(name, few_names, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    drawn = [key for key in one if len(one[key].unique()) > 1]
    assert len(drawn) >= 4
    assert [key for key in drawn if torch.equal(one[key], other[key])] == []


def test_every_models_folder_is_whole() -> None:
    for name in registry.names():
        assert issubclass(registry.config_of(name), ModelConfig)
        assert registry.model_of(name).__module__ == f"makemore.models.{name}.model"


def test_configs_are_read_without_torch() -> None:
    asked = (
        "import sys; from makemore.models import registry; "
        "print([registry.config_of(name) for name in registry.names()] and 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
