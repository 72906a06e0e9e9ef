"""An idea is local: networks, callbacks, loggers, optimizers and schedules that the project has never heard of."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import QUIET, ROOT, script_in

# A network with a mode, nested modules and a buffer.
TINY = {
    "src/makemore/models/tiny/config.py": """
from dataclasses import dataclass

from makemore.config.schema import ModelConfig, number


@dataclass
class Config(ModelConfig):
    width: int = number(at_least=1, at_most=64)
    drop: float = number(at_least=0, below=1)
""",
    "src/makemore/models/tiny/model.py": """
import torch
from torch import nn

from makemore.models.base import LanguageModel


class Half(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.Tanh())

    def forward(self, x):
        return self.layers(x)


class Model(LanguageModel):
    def __init__(self, config, vocabulary, block_size):
        super().__init__(config, vocabulary, block_size)
        self.table = nn.Embedding(vocabulary, 4)
        self.halves = nn.ModuleDict({name: Half(4 * block_size, config.width) for name in ("a", "b")})
        self.drop = nn.Dropout(config.drop)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.output = nn.Linear(2 * config.width, vocabulary)

    def forward(self, contexts):
        if self.training:
            self.calls += 1
        e = self.table(contexts).flatten(1)
        return self.output(self.drop(torch.cat([half(e) for half in self.halves.values()], dim=1)))
""",
    "conf/model/tiny.yaml": "name: tiny\nwidth: 8\ndrop: 0.1\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project to add files to, with its compiled functions, which take long to compile again."""
    ignored = shutil.ignore_patterns("*.pyc*", "*.tmp.*", "*.egg-info")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("train.py", "sample.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def write(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(project: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return script_in(project, project)(*command)


def succeed(project: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    done = run(project, *command)
    assert done.returncode == 0, done.stderr
    return done


def read_metrics(folder: Path) -> dict[str, float]:
    metrics: dict[str, float] = json.loads((folder / "metrics.json").read_text())
    del metrics["fit_seconds"], metrics["examples_per_second"]
    return metrics


def test_a_network_in_a_folder_of_its_own_trains_samples_mixes_sweeps_and_replays(project: Path) -> None:
    write(project, TINY)
    few = "data.overfit=1000"
    tiny = ("model=tiny", "optimizer=adamw", "schedule.lr=0.01", "steps=60", "eval_every=20", few)
    succeed(project, "train.py", *tiny, "distillation=0.5", "hydra.run.dir=one")
    assert {"best.safetensors", "embedding.png", "samples.txt", "loss.png"} <= {
        path.name for path in (project / "one").iterdir()
    }
    names = succeed(project, "sample.py", "checkpoint=one", "n=20", "seed=2147483647").stdout
    assert names == (project / "one" / "samples.txt").read_text()

    # Again from its folder, with every figure that looks into a network: the same run.
    views = "callbacks=[default,saturation,update_ratio,scales]"
    replay = ("--config-dir", "one", "--config-name", "config", "hydra.run.dir=two", "steps_per_execution=1")
    succeed(project, "train.py", *replay)
    assert read_metrics(project / "two") == read_metrics(project / "one")
    succeed(project, "train.py", *tiny, "distillation=0.5", views, "hydra.run.dir=three")
    assert read_metrics(project / "three") == read_metrics(project / "one")
    assert {"saturation.png", "update_ratio.png", "scales.png"} <= {path.name for path in (project / "three").iterdir()}

    succeed(project, "train.py", "model=ngram", few, "hydra.run.dir=counts", *QUIET)
    succeed(project, "train.py", "model=mixture", "model.members=[one,counts]", few, "hydra.run.dir=mixed", *QUIET)
    mixed, alone = read_metrics(project / "mixed"), read_metrics(project / "one")
    # The weights are fitted to dev, up to a tolerance.
    assert mixed["dev_loss"] < min(alone["dev_loss"], read_metrics(project / "counts")["dev_loss"]) + 1e-5
    shutil.rmtree(project / "one")  # the mixture stands by itself
    assert len(succeed(project, "sample.py", "checkpoint=mixed", "n=5").stdout.splitlines()) == 5

    succeed(project, "train.py", "-m", *tiny, "model.width=4,8", "hydra.sweep.dir=many", *QUIET)
    table = (project / "many" / "sweep.csv").read_text()
    assert "model.width" in table
    assert table.count("finished") == 2
    refused = run(project, "train.py", "model=tiny", "model.width=65")
    assert refused.returncode == 1
    assert "model.width=65" in refused.stderr
    assert "tiny" in succeed(project, "train.py", "--help").stdout


def test_settings_of_one_machine_are_taken_but_the_command_line_comes_last(project: Path) -> None:
    local = "# @package _global_\ndefaults:\n  - override /logger: none\nsteps: 7\nmodel:\n  hidden: 3\n"
    write(project, {"conf/local/default.yaml": local})
    succeed(project, "train.py", "experiment=smoke", "model.hidden=4", "callbacks=none", "hydra.run.dir=one")
    config = (project / "one" / "config.yaml").read_text()
    assert "\nsteps: 7\n" in config and "\n  hidden: 4\n" in config and "\nlogger: {}\n" in config
    write(project, {"conf/local/default.yaml": "# @package _global_\ntrainer:\n  thread: 2\n"})
    refused = run(project, "train.py", "steps=1")
    assert refused.returncode == 1
    assert all(each in refused.stderr for each in ("local/default.yaml", "trainer.thread ", "trainer.threads"))
    write(project, {"conf/local/default.yaml": "steps: 7\n"})
    assert "# @package _global_" in run(project, "train.py", "logger=none").stderr


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("src/makemore/models/tiny/config.py", "from makemore.models.mlp.config import Config\n"),
        ("src/makemore/models/tiny/model.py", "from makemore.models.mlp.model import Model\n"),
        ("src/makemore/models/tiny/model.py", "class Model:\n    pass\n"),
    ],
)
def test_a_malformed_network_is_refused_by_its_file_before_anything_is_trained(
    project: Path, file: str, text: str
) -> None:
    write(project, TINY | {file: text})
    done = run(project, "train.py", "model=tiny", "hydra.run.dir=one", *QUIET)
    assert done.returncode == 1
    assert file in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "one" / "metrics.json").exists()


def test_everything_that_the_guide_shows_runs(project: Path) -> None:
    guide = (ROOT / "docs" / "your-own-model.md").read_text()
    files = dict(re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)```", guide, re.DOTALL | re.MULTILINE))
    assert len(files) >= 8
    network = [text for name, text in files.items() if "resmlp" in name]
    assert sum(len(text.splitlines()) for text in network) <= 40
    write(project, files)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) for line in block.splitlines()]
    for command in commands:
        python, *words = shlex.split(command)
        assert python == "python"
        short = ["steps=40", "data.overfit=300"] if words[0] == "train.py" else []
        succeed(project, *words, *short)
    runs = sorted(path.parent for path in (project / "outputs").rglob("metrics.json"))
    assert len(runs) >= 6
    assert any((folder / "csv" / "metrics.csv").exists() for folder in runs)
