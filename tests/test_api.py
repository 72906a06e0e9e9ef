import math
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from torch import Tensor, nn

import makemore
from makemore.config.schema import ModelConfig
from makemore.errors import UserError
from makemore.files import CONFIG
from makemore.models import registry
from makemore.models.base import LanguageModel
from tests.helpers import FEW_NAMES, QUIET, ROOT, Script, refused, restore_composing


@pytest.fixture(autouse=True)
def hydra_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has `makemore.train` compose without what the scripts do to Hydra."""
    restore_composing(monkeypatch)


@pytest.fixture
def model(trained: Path) -> makemore.Model:
    return makemore.load(next(trained.rglob("best.safetensors")).parent)


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, makemore; makemore.__all__; print(*{'torch', 'lightning', 'hydra'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_loading_and_sampling_take_no_lightning(model: makemore.Model) -> None:
    code = "import sys, makemore; makemore.load(sys.argv[1]).sample(1); print('lightning' in sys.modules)"
    command = [sys.executable, "-c", code, str(model.folder)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_names_are_those_of_the_script(script: Script, model: makemore.Model) -> None:
    keys = {"prefix": "ka", "temperature": 0.9, "top_k": 10, "seed": 7}
    printed = script("sample.py", f"checkpoint={model.folder}", "n=8", *(f"{key}={keys[key]}" for key in keys))
    assert model.sample(8, prefix="ka", temperature=0.9, top_k=10, seed=7) == printed.stdout.splitlines()


def test_a_names_loss_is_that_of_the_probabilities_of_its_letters(model: makemore.Model) -> None:
    product = 1.0
    for place, letter in enumerate("emma."):
        p = model.probabilities("emma"[:place])
        assert sum(p.values()) == pytest.approx(1)
        assert list(p.values()) == sorted(p.values(), reverse=True)
        product *= p[letter]
    assert model.loss(["emma"]) == pytest.approx(-math.log(product) / 5)
    assert model.loss(["emma", "ava"]) == pytest.approx((5 * model.loss(["emma"]) + 4 * model.loss(["ava"])) / 9)


def test_what_the_model_does_not_know_is_refused(model: makemore.Model) -> None:
    with refused("Q"):
        model.probabilities("Q")
    with refused("Q"):
        model.loss(["Q"])
    with refused("words=[]"):
        model.loss([])
    with refused("words='emma'"):
        model.loss("emma")
    wrong: Any = [3]
    with refused("words=[3]"):
        model.loss(wrong)
    with refused("prefix=[3]"):
        model.probabilities(wrong)
    values: dict[str, Any]
    for key, value in (("n", 0), ("temperature", 0.0), ("top_k", 0), ("max_length", 0), ("seed", -1), ("n", "many")):
        values = {key: value}
        with refused(key):
            model.sample(**values)
    with refused("nowhere"):
        makemore.load("nowhere")


def test_training_leaves_what_train_py_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_names: Path) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("data=text", f"data.path={few_names}", "steps=20", "trainer.progress_bar=false")
    one, other = (makemore.train("model.hidden=20", *data) for _ in range(2))
    assert one.folder != other.folder
    left = {"best.safetensors", "metrics.json", "loss.png", "train.log", CONFIG}
    assert left <= {path.name for path in one.folder.iterdir()}
    assert "20 steps" in (one.folder / "train.log").read_text()
    assert makemore.load().folder.samefile(other.folder)
    assert one.metrics["dev_loss"] == other.metrics["dev_loss"] > 0
    assert "mlp" in repr(one)


def test_a_mistake_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mistakes = (
        "model.hiden=20",
        "model=mpl",
        "steps=many",
        "model.hidden=-1",
        "model.hidden=many",
        "data.path=nowhere.txt",
    )
    for override in mistakes:
        with refused(override.partition("=")[2] if "path" in override else override.partition("=")[0][:7]):
            makemore.train("data=text" if "path" in override else "steps=5", override)
    with refused("resume"):
        makemore.train("resume=nowhere")
    wrong: Any = ["steps=5"]
    with refused("steps=5"):
        makemore.train(wrong)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    with refused("hydra.run.dir=taken"):
        makemore.train("steps=5", "hydra.run.dir=taken")
    assert not (tmp_path / "outputs").exists()


def test_training_works_in_a_thread_beside_another_hydra_and_for_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my (1), file.txt").write_text("\n".join(FEW_NAMES))
    settings = ("data=text", "data.path=my (1), file.txt", "model.hidden=5", "steps=5", *QUIET)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"), ThreadPoolExecutor(1) as pool:
        model = pool.submit(makemore.train, *settings, "trainer.progress_bar=false").result()
        assert compose("train").steps == 200_000
    assert model.metrics["steps"] == 5
    assert "load" in dir(makemore)


@dataclass
class LinearConfig(ModelConfig):
    emb_dim: int = 3


class Linear(LanguageModel):
    def __init__(self, config: LinearConfig, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        self.C = nn.Embedding(vocabulary, config.emb_dim)
        self.output = nn.Linear(block_size * config.emb_dim, vocabulary)

    def forward(self, contexts: Tensor) -> Tensor:
        logits: Tensor = self.output(self.C(contexts).flatten(1))
        return logits


class Broken(Linear):
    def forward(self, contexts: Tensor) -> Tensor:
        logits: Tensor = self.output(self.C(contexts))
        return logits


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Forgets the models that a test adds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_ADDED", {})
    yield
    ConfigStore.instance().repo["model"].pop("mine.yaml", None)


def test_a_model_without_a_folder_trains_loads_mixes_and_is_replaced(added: None, few_names: Path) -> None:
    makemore.add_model("mine", LinearConfig, Linear)
    data = ("data=text", f"data.path={few_names}", "steps=20", "trainer.progress_bar=false", *QUIET)
    model = makemore.train("model=mine", "model.emb_dim=5", *data)
    assert model.trained.model.state_dict()["C.weight"].shape == (len(model.trained.vocabulary), 5)
    again = makemore.load(model.folder)
    assert again.sample(5, seed=1) == model.sample(5, seed=1)
    counts = makemore.train("model=ngram", *data)
    mixture = makemore.train("model=mixture", f"model.members=[{model.folder},{counts.folder}]", *data)
    assert mixture.metrics["dev_loss"] < model.metrics["dev_loss"]
    with refused("model.emb_dim=many"):
        makemore.train("model=mine", "model.emb_dim=many", *data)
    with refused("model.width", "emb_dim"):
        makemore.train("model=mine", "+model.width=1", *data)
    makemore.add_model("mine", LinearConfig, Broken)
    with pytest.raises(RuntimeError) as error:  # a fault in the code of a notebook keeps its place
        makemore.train("model=mine", *data)
    assert any(entry.name == "forward" and str(entry.path) == __file__ for entry in error.traceback)


def test_a_malformed_model_is_refused(added: None) -> None:
    class NoDataclass(ModelConfig):
        width: int = 1

    class NoForward(LanguageModel):
        pass

    @dataclass
    class Layers(ModelConfig):
        activation: Any = nn.Tanh

    wrong: Any
    for name, *wrong in (
        ("mlp", LinearConfig, Linear),
        ("my model", LinearConfig, Linear),
        ("mine", Linear, LinearConfig),
        ("mine", LinearConfig, LinearConfig(name="mine")),
        ("mine", LinearConfig, LanguageModel),
        ("mine", NoDataclass, Linear),
        ("mine", LinearConfig, NoForward),
        ("mine", Layers, Linear),
    ):
        with refused(name):
            makemore.add_model(name, *wrong)


def test_a_notebook_shows_a_mistake_without_a_traceback() -> None:
    (line,) = UserError("steps=many")._render_traceback_()
    assert "steps=many" in line
