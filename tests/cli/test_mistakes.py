"""A mistake gets one sentence, with the key, its value and what is allowed, and exit code 1."""

import logging
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import evaluate
import pytest
import sample
import torch
import train
from omegaconf import BooleanNode
from omegaconf.errors import OmegaConfBaseException

from makemore.cli import main as cli
from makemore.cli.mistakes import explain, find_nearest
from makemore.cli.run_folder import ClaimRunFolder
from tests.helpers import Script

Refuse = Callable[[str], str]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Refuse:
    """Calls a script in this process, in an empty folder, with arguments that it refuses; returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(logging.root, "handlers", [])  # Hydra's write to this test's output
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(ClaimRunFolder, "made", [])
    monkeypatch.setattr(ClaimRunFolder, "sweep", None)
    monkeypatch.setattr(BooleanNode, "_validate_and_convert_impl", BooleanNode._validate_and_convert_impl)

    def call(command: str) -> str:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            if sys.argv[0] == "train.py":
                cli.main(train.train, train.CONF, "train", sweeps=True)
            elif sys.argv[0] == "evaluate.py":
                cli.main(evaluate.evaluate, evaluate.CONF, "evaluate")
            else:
                cli.main(sample.sample, sample.CONF, "sample")
        # Python prints a text to stderr and exits with code 1.
        sentence = ended.value.code
        assert isinstance(sentence, str) and sentence.startswith("error: ") and "\n" not in sentence
        assert not (tmp_path / "outputs").exists()
        return sentence

    return call


@pytest.mark.parametrize(
    ("command", "said"),
    [
        # keys
        ("train.py model.hiden=3", ["model.hiden", "model.hidden"]),
        ("train.py stesp=3", ["stesp", "steps"]),
        ("train.py +foo=1", ["foo"]),
        ("train.py lr=0.1", ["lr", "schedule.lr"]),
        ("train.py modle=mlp", ["modle", "model"]),
        ("train.py hydra.run.dirr=x", ["hydra.run.dirr", "hydra.run.dir"]),
        ("train.py optimizer.betas=[0,0]", ["optimizer.betas", "optimizer=adamw"]),
        ("train.py optimizer=adamw optimizer.momentum=0.3", ["optimizer.momentum", "another choice of optimizer"]),
        ("train.py experiment=lr_range schedule=constant", ["schedule.end_lr", "schedule=exponential"]),
        ("train.py ~steps", ["steps"]),
        ("train.py ~optimizer.momentum", ["optimizer.momentum"]),
        ("train.py ~hydra.run.dir", ["deleted"]),
        ("train.py ~data.path", ["data.path", "another value"]),
        ("train.py ~callbacks.lss", ["callbacks.lss", "callbacks.loss"]),
        ("train.py ~optimizer=adamw", ["optimizer"]),
        ("train.py ~model", ["model", "conf/model/"]),
        ("train.py ckpt_path=x", ["ckpt_path", "resume"]),
        ("sample.py ckpt_path=", ["ckpt_path", "checkpoint"]),
        ("sample.py +n=3", ["n=VALUE"]),
        # flags
        ("train.py --nonsense", ["--nonsense", "--hydra-help"]),
        ("sample.py -x", ["-x"]),
        ("evaluate.py --cfg", ["--cfg"]),
        ("train.py --info=nonsense", ["nonsense", "defaults-tree"]),
        ("sample.py --config-name train", ["--config-name=train", "sample.py"]),
        ("evaluate.py -cn train", ["--config-name=train"]),
        ("train.py --resolve", ["--resolve", "--cfg"]),
        ("train.py --shell-completion", ["install"]),
        ("train.py a=1 -m seed=1,2", ["a is not a key"]),
        ("train.py model.hidden", ["'model.hidden'", "KEY=VALUE"]),
        ("train.py 'seed=${sed}'", ["sed"]),
        # choices
        ("train.py optimizer=adamm", ["optimizer=adamm", "adamw, sgd"]),
        ("train.py callbacks=[default,saturaton]", ["callbacks=saturaton", "saturation", "default"]),
        ("train.py model.init=kaimin", ["model.init=kaimin", "normal, kaiming"]),
        ("train.py trainer.accelerator=abc", ["trainer.accelerator=abc", "auto, cpu, gpu"]),
        ("train.py model=[1]", ["group", "--help"]),
        ("train.py optimizer=null", ["group", "--help"]),
        # values
        ("train.py model.hidden=big", ["model.hidden=big", "whole number"]),
        ("train.py steps=2e3", ["steps=2000.0", "whole number"]),
        ("train.py test=maybe", ["test=maybe", "true or false"]),
        ("train.py test=2", ["test=2", "true or false"]),
        ("train.py data.unique=1", ["data.unique=1", "true or false"]),
        ("train.py optimizer=adamw optimizer.fused=0", ["optimizer.fused=0", "true or false"]),
        ("sample.py novel=2", ["novel=2", "true or false"]),
        ("evaluate.py json=2", ["json=2", "true or false"]),
        ("train.py 'data.splits=[[0.8],[0.1],[0.1]]'", ["data.splits=[[0.8],[0.1],[0.1]]", "list"]),
        ("train.py 'data.splits={a: 1}'", ["data.splits", "list"]),
        ("train.py data.splits=0.8,0.1,0.1", ["data.splits=0.8,0.1,0.1", "[A,B]", "-m"]),
        ("train.py optimizer=adamw 'optimizer.betas=[[0.9],[0.9]]'", ["optimizer.betas=[[0.9],[0.9]]", "list"]),
        ("evaluate.py words=[[a]]", ["words=[[a]]", "list"]),
        ("evaluate.py 'words=[\"a\",null]'", ["words[1]", "null"]),
        ("train.py name=[1]", ["name=[1]", "text"]),
        ("train.py optimizer=[sgd,adamw]", ["optimizer=[sgd,adamw]", "single"]),
        ("train.py -m 'seed=range(1,2,0)'", ["seed=range(1,2,0)", "0"]),
        ("train.py -m steps=abc,2", ["steps=abc"]),
        ("train.py -m 'steps=glob(*)'", ["steps=glob(*)", "group"]),
        ("train.py -m 'model=glob(z*)'", ["model=glob(z*)"]),
        ("train.py --experimental-rerun x", ["--experimental-rerun", "--config-dir"]),
        ("train.py hydra.searchpath=[file:///nowhere]", ["hydra.searchpath", "/nowhere"]),
        ("train.py hydra.verbose=[makemore,7]", ["hydra.verbose", "string"]),
        ("train.py hydra.output_subdir=../..", ["hydra.output_subdir=../..", ".hydra"]),
        ("train.py -m steps=5,6 hydra.output_subdir=null", ["hydra.output_subdir=null", ".hydra"]),
        ("train.py resume=x hydra.run.dir=y", ["hydra.run.dir=y", "resume=x"]),
        ("train.py hydra.job_logging.version=7", ["hydra.job_logging", "7"]),
        ("train.py model=wavenet data.block_size=4 data.batch_size=1", ["data.batch_size=1", "model=wavenet"]),
        ("train.py model=mixture model.members=[]", ["model.members", "empty"]),
        ("train.py model=mixture model.members=[1]", ["model.members=[1]", "[RUN,RUN]"]),
        ("train.py trainer=gpu", ["trainer=gpu", "trainer=cpu"]),
        ("train.py data.overfit=99999", ["data.overfit=99999", "32,178"]),
        ("train.py model.emb_dim=9223372036854775808", ["model.emb_dim=9223372036854775808", "1,000,000,000,000"]),
        (f"train.py model.emb_dim={10**12} model.hidden={10**12}", ["memory", f"model.emb_dim={10**12}"]),
        ("train.py data.batch_size=1000000000 data.block_size=1000", ["data.batch_size=1000000000", "memory"]),
        ("train.py schedule.lr=fast", ["schedule.lr=fast", "a number"]),
        ("train.py data.splits=0.8", ["data.splits", "list"]),
        ("train.py model.hidden=null", ["model.hidden", "null"]),
        ("train.py optimizer.nesterov=true", ["optimizer.nesterov=true", "optimizer.momentum"]),
        ("train.py model.hidden=100000000000", ["memory"]),
        # files
        ("train.py data=text data.path=nowhere.txt", ["data.path=nowhere.txt"]),
        ("train.py data=text data.path=x data.dev_path=y", ["data.test_path"]),
        ("train.py data.dev_path=y data.test_path=z", ["data.dev_path=y", "data=text"]),
        ("train.py data.layout=running data.unique=true", ["data.unique=true"]),
        ("train.py data.level=letter", ["data.level=letter", "char"]),
        ("train.py data.min_count=0", ["data.min_count=0", "1"]),
        ("train.py data.level=word data.layout=running data.splits=[99999,9]", ["data.splits=[99999,9]", "32,178"]),
        ("train.py data=brown data.path=nowhere.zip", ["data.path=nowhere.zip"]),
        ("train.py data=text data.path=~nobody-here/x", ["data.path=~nobody-here/x"]),
        ("train.py data=text data.path=/dev/zero", ["data.path=/dev/zero"]),
        (f"train.py data=text data.path={300 * 'a'}", ["data.path=aaa"]),
        (f"sample.py checkpoint={300 * 'a'}", ["checkpoint=aaa"]),
        ("sample.py checkpoint=/dev/zero", ["checkpoint=/dev/zero"]),
        ("sample.py checkpoint=nowhere.ckpt", ["checkpoint=nowhere.ckpt"]),
        ("sample.py checkpoint=", ["checkpoint="]),
        ("sample.py 'checkpoint=a\0b'", ["checkpoint=a", "NUL"]),
        ("train.py data=text 'data.path=a\0b'", ["data.path=a", "NUL"]),
        ("train.py 'hydra.run.dir=\"a\0b\"'", ["run's folder a"]),
        ("train.py hydra.run.dir=/proc/x", ["/proc/x"]),
        ("sample.py hydra.run.dir=/proc/x", ["hydra.run.dir=/proc/x"]),
        ("evaluate.py hydra.output_subdir=x", ["hydra.output_subdir=x"]),
        ("evaluate.py data.path=x", ["data=text"]),
        ("evaluate.py data=text data.path=x data.level=word", ["data.level=word"]),
        ("evaluate.py data=text data.path=x data.levle=word", ["data.levle", "data.level"]),
        ("train.py data=brown data.path=none.zip", ["data.path=none.zip", "NLTK's brown.zip"]),
        ("evaluate.py checkpoint=", ["checkpoint= is empty"]),
        ("sample.py", ["outputs/"]),
        # sample.py
        ("sample.py novell=true", ["novell", "novel"]),
        ("sample.py n=0", ["n=0", "1"]),
        ("sample.py temperature=0", ["temperature=0.0", "1e-06"]),
        ("sample.py -m n=1,2", ["-m"]),
        ("sample.py --multi n=1,2", ["-m"]),
        ("sample.py 'prefix=\udcff'", [r"prefix=\udcff", "UTF-8"]),
    ],
)
def test_a_mistake_gets_one_sentence_and_leaves_no_model(refuse: Refuse, command: str, said: list[str]) -> None:
    sentence = refuse(command)
    assert all(part in sentence for part in said), sentence


@pytest.mark.parametrize(
    "command", ["train.py model.hiden=3", "train.py model.hidden=100000000000", "sample.py", "sample.py -m n=1,2"]
)
def test_a_mistake_ends_a_process_with_one_line_and_exit_code_1(script: Script, tmp_path: Path, command: str) -> None:
    done = script(*shlex.split(command))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("lr", "schedule.lr"),
        ("optimizer.lr", "schedule.lr"),
        ("modle.hidden", "model.hidden"),
        ("hydra.run.dirr", "hydra.run.dir"),
        ("dir", None),
        ("ckpt_path", None),
        ("epochs", None),
    ],
)
def test_the_nearest_key_has_a_similar_last_part(typed: str, nearest: str | None) -> None:
    keys = ["steps", "schedule.lr", "schedule.end_lr", "model.hidden", "data.path", "hydra.run.dir", "hydra.sweep.dir"]
    assert find_nearest(typed, keys) == nearest


@pytest.mark.parametrize(("line", "said"), [("typo: 1", "model.typo"), ("hidden: [", "mine.yaml")])
def test_a_mistake_in_a_file_is_named(refuse: Refuse, tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(f"defaults: [mlp]\n{line}\n")
    assert said in refuse("train.py --config-dir . model=mine")


def test_unknown_words_of_a_library_are_passed_on() -> None:
    error = OmegaConfBaseException("Something new\nwith details")
    assert explain(error, train.CONF, "train") == "Something new"


def test_a_fault_of_the_program_is_not_explained() -> None:
    with pytest.raises(ZeroDivisionError) as fault:
        print(1 / 0)
    assert explain(fault.value, train.CONF, "train") is None
