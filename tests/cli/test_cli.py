"""The commands of the README and the mistakes of a person, each as a process of its own."""

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from makemore.cli import console
from makemore.cli import main as cli
from tests.helpers import ROOT, Script, script_in
from tests.models.test_model_file import content as checkpoint_content


def test_values_that_are_paths_or_pieces_of_names_may_hold_any_character() -> None:
    typed = ["checkpoint=a=b,c", "data.path=my file (1).txt", "prefix=1", 'prefix=a"b', "steps=3", "checkpoint=null"]
    assert cli.quoted(typed) == [
        'checkpoint="a=b,c"',
        'data.path="my file (1).txt"',
        'prefix="1"',
        'prefix="a\\"b"',
        "steps=3",
        "checkpoint=null",
    ]
    assert cli.quoted(["prefix=null", "prefix=a\\", "prefix=${n}"]) == [
        'prefix="null"',
        'prefix="a\\\\"',
        'prefix="\\${n}"',
    ]
    assert cli.quoted(["prefix='x'"]) == ["prefix='x'"]
    assert cli.quoted(["-m", "data.path=a,b"]) == ["-m", "data.path=a,b"]


def test_members_may_be_runs_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("0_a=1,b=2", "1_a=1,b=3", "plain"):
        (tmp_path / run).mkdir()
    typed = "model.members=[0_a=1,b=2,plain,1_a=1,b=3]"
    assert cli.quoted([typed]) == ['model.members=["0_a=1,b=2","plain","1_a=1,b=3"]']
    assert cli.quoted(["model.members=[plain,nowhere]"]) == ["model.members=[plain,nowhere]"]
    assert cli.quoted(["model.members=plain"]) == ["model.members=plain"]


MISTAKES = [
    ("train.py", "model.hiden=3", "model.hiden is not a key (did you mean model.hidden?)"),
    ("train.py", "stesp=3", "stesp is not a key (did you mean steps?)"),
    ("train.py", "+foo=1", "foo is not a key"),
    ("train.py", "optimizer.betas=[0,0]", "it comes with optimizer=adamw"),
    ("train.py", "optimizer=adamm", "optimizer=adamm is not a choice (did you mean adamw?); allowed: adamw, sgd"),
    ("train.py", "modle=mlp", "modle is not a key (did you mean model?)"),
    ("train.py", "model.hidden=big", "model.hidden=big is of the wrong type: it must be a whole number"),
    ("train.py", "steps=2e3", "steps=2000.0 is of the wrong type: it must be a whole number"),
    ("train.py", "test=maybe", "test=maybe is of the wrong type: it must be true or false"),
    ("train.py", "model.init=kaimin", "(did you mean kaiming?); allowed: normal, kaiming"),
    ("train.py", "model.hidden=null", "model.hidden must have a value"),
    ("train.py", "~steps", "steps is missing; give it as steps=VALUE"),
    ("train.py", "~optimizer.momentum", "a key cannot be deleted"),
    ("train.py", "model=[1]", "a group takes the name of a choice"),
    ("train.py", "schedule.lr=1e39", "schedule.lr=1e+39 is out of range"),
    ("train.py", "optimizer=adamw optimizer.momentum=0.3", "it goes with another choice of optimizer"),
    ("train.py", f"data=text data.path={300 * 'a'}", "cannot be read: File name too long"),
    ("train.py", "data=text data.path=~nobody-here/x", "there is no such file"),
    ("train.py", "data=text data.path=/dev/zero", "is a device"),
    ("sample.py", f"checkpoint={300 * 'a'}", "cannot be read: File name too long"),
    ("sample.py", "checkpoint=/dev/zero", "cannot be read"),
    ("sample.py", "--multi n=1,2", "takes no sweep"),
    ("train.py", "optimizer=null", "a group takes the name of a choice"),
    ("train.py", "model.name=cnn", "model.name=cnn is not what model=mlp is called"),
    ("train.py", "trainer.accelerator=abc", "allowed: auto, cpu, gpu"),
    ("train.py", "data.splits=0.8", "data.splits is of the wrong type: it must be a list"),
    ("train.py", "callbacks.samples=1.5", "callbacks.samples=1.5 is of the wrong type"),
    ("train.py", "hydra.run.dirr=x", "did you mean hydra.run.dir?"),
    ("train.py", "experiment=lr_range schedule=constant", "schedule.end_lr is not a key of this configuration"),
    ("train.py", "experiment=lr_range schedule.lr=2", "needs a rate that grows from step to step"),
    ("train.py", "model.hidden", "'model.hidden' cannot be understood"),
    ("train.py", "model.hidden=0", "model.hidden=0 is out of range: it must be at least 1"),
    ("train.py", "seed=${sed}", "sed"),
    ("train.py", "data.path=nowhere.txt data=text", "data.path=nowhere.txt: there is no such file"),
    ("train.py", "optimizer.nesterov=true", "Nesterov momentum requires a momentum"),
    ("train.py", "model.hidden=100000000000", "of memory"),
    ("sample.py", "", "there is no checkpoint under outputs/"),
    ("sample.py", "checkpoint=nowhere.ckpt", "checkpoint=nowhere.ckpt: there is no such file"),
    ("sample.py", "novell=true", "novell is not a key (did you mean novel?)"),
    ("sample.py", "-m n=1,2", "takes no sweep"),
    ("sample.py", "n=0", "n=0 is out of range: it must be at least 1"),
    ("sample.py", "temperature=0", "temperature=0.0 is out of range: it must be at least 1e-06"),
    ("sample.py", "checkpoint=", "checkpoint= is empty"),
]


@pytest.mark.parametrize(("name", "arguments", "complaint"), MISTAKES)
def test_a_mistake_gets_one_sentence_and_leaves_no_model(
    script: Script, tmp_path: Path, name: str, arguments: str, complaint: str
) -> None:
    done = script(name, *shlex.split(arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_folder_that_holds_something_is_not_written_into(script: Script, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = script("train.py", "hydra.run.dir=mine", "steps=1")
    assert done.returncode == 1
    assert "hydra.run.dir=mine already holds something" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["train.py", "sample.py"])
def test_a_python_without_the_project_is_told_how_to_install_it(name: str) -> None:
    done = subprocess.run([sys.executable, "-S", str(ROOT / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: this Python has no")
    assert "make install" in done.stderr


def test_runs_of_a_sweep_are_not_given_one_folder(script: Script, tmp_path: Path) -> None:
    done = script("train.py", "-m", "steps=3,4", "hydra.sweep.subdir=x", "logger=none", "callbacks=none")
    assert done.returncode == 1
    assert done.stderr.startswith("error: hydra.sweep.subdir=x cannot be set for a sweep")
    assert not list(tmp_path.iterdir())


def test_a_run_may_change_into_its_folder(script: Script) -> None:
    done = script("train.py", "hydra.job.chdir=true", "hydra.job.name=a/b", "steps=3", "logger=none", "callbacks=none")
    assert done.returncode == 0, done.stderr


def test_help_explains_and_lists_keys(script: Script) -> None:
    for name, key in (("train.py", "emb_dim: 10"), ("sample.py", "temperature: 1.0")):
        done = script(name, "--help")
        assert done.returncode == 0
        assert key in done.stdout
        assert f"python {name}" in done.stdout


def test_train_then_sample_then_sweep_in_an_empty_folder(script: Script, tmp_path: Path) -> None:
    done = script("train.py", "experiment=smoke", "steps=60")
    assert done.returncode == 0, done.stderr
    assert "python sample.py checkpoint=outputs/" in done.stdout
    printed = next(line for line in done.stdout.splitlines() if "python sample.py" in line)
    sampled = script(*shlex.split(printed.partition("python ")[2]), "n=3", "seed=1")
    assert len(sampled.stdout.splitlines()) == 3
    assert script("sample.py", "n=3", "seed=1").stdout == sampled.stdout
    assert script("sample.py", "n=5", "prefix=ka").stdout.count("ka") >= 5
    folders = set(tmp_path.rglob("best.ckpt"))

    sweep = script("train.py", "-m", "model.emb_dim=2,3", "model.hidden=5,7", "steps=5")
    assert sweep.returncode == 0, sweep.stderr
    runs = sorted(path.parent.name for path in set(tmp_path.rglob("best.ckpt")) - folders)
    assert runs[1] == "1_model.emb_dim=2,model.hidden=7"
    assert len(runs) == 4
    assert not (tmp_path / "multirun").exists()
    # Of runs side by side any may be the last to end.
    assert re.search("[0-3]_model.emb_dim=[23],model.hidden=[57]", script("sample.py", "n=1").stderr)


def test_a_run_can_be_run_again_from_its_folder(script: Script, tmp_path: Path) -> None:
    settings = ["steps=30", "optimizer=adamw", "schedule=one_cycle", "model.hidden=9", "data.unique=true", "seed=5"]
    assert script("train.py", *settings, "logger=none", "callbacks=none").returncode == 0
    (first,) = tmp_path.rglob("last.ckpt")
    assert re.fullmatch(r"\d\d-\d\d-\d\d-mlp", first.parent.name)
    again = script("train.py", "--config-dir", str(first.parent), "--config-name", "config")
    assert again.returncode == 0, again.stderr
    second = next(path for path in tmp_path.rglob("last.ckpt") if path != first)
    a, b = (torch.load(path, weights_only=True)["state_dict"] for path in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)
    typo = script("train.py", "--config-dir", str(first.parent), "--config-name", "config", "model.hiden=3")
    assert "did you mean model.hidden?" in typo.stderr


def test_sampling_does_not_import_lightning(tmp_path: Path) -> None:
    torch.save(checkpoint_content(), tmp_path / "best.ckpt")
    command = [sys.executable, "-X", "importtime", str(ROOT / "sample.py"), "n=2", "checkpoint=best.ckpt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 2
    assert " torch\n" in done.stderr
    assert "lightning" not in done.stderr


def test_output_that_nobody_reads_any_more_is_no_error(trained: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "sample.py"), "n=100000", "max_length=9"],
        cwd=trained,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert "Error" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def interrupted_once_there(folder: Path, pattern: str, *arguments: str) -> tuple[int, str]:
    """Runs train.py and presses Ctrl-C as soon as it has written a file; gives its exit code and what it printed."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(folder.rglob(pattern)) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    return process.returncode, printed


def test_ctrl_c_ends_a_run_early_but_whole(tmp_path: Path) -> None:
    code, printed = interrupted_once_there(tmp_path, "best.ckpt", "steps=100000000", "eval_every=1000")
    assert code == console.INTERRUPTED
    assert "stopped early by Ctrl-C" in printed
    assert "sample.py" in printed
    (metrics,) = tmp_path.rglob("metrics.json")
    assert '"status": "interrupted"' in metrics.read_text()
    left = {path.name for path in metrics.parent.iterdir()}
    assert {"best.ckpt", "last.ckpt", "loss.png", "samples.txt"} <= left


def test_ctrl_c_while_figures_are_drawn_loses_nothing(tmp_path: Path) -> None:
    code, printed = interrupted_once_there(tmp_path, "metrics.json", "steps=2000")
    assert code == 0
    assert "finished" in printed
    (metrics,) = tmp_path.rglob("metrics.json")
    assert '"status": "finished"' in metrics.read_text()
    assert {"loss.png", "embedding.png", "samples.txt"} <= {path.name for path in metrics.parent.iterdir()}


README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^python (?:train|sample)\.py.*$", README, re.MULTILINE)))


# What needs a network, a finished run or a cluster; `test_sweep_commands` and others have these.
ELSEWHERE = ("data=makemore", "--config-dir", "resume_sweep=", "hydra/launcher=")


def test_readme_has_commands() -> None:
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("command", [command for command in COMMANDS if not any(word in command for word in ELSEWHERE)])
def test_readme_commands_run(tmp_path: Path, trained: Path, command: str) -> None:
    (tmp_path / "my_words.txt").write_text("\n".join(["emma", "ava", "mia", "kalia", "zoë"] * 4), encoding="utf-8")
    words = shlex.split(command, comments=True)[1:]
    if words[0] == "sample.py":
        run = next(trained.rglob("best.ckpt")).parent
        done = script_in(trained)(*[re.sub(r"^checkpoint=.*", f"checkpoint={run}", word) for word in words])
    else:
        run = next(trained.rglob("best.ckpt")).parent
        words = [word.replace("outputs/DATE/RUN", str(run)) for word in words]
        # Short; everything else is what the README says.
        short = ["steps=20", *(["logger=none", "callbacks=none"] if "-m" in words else [])]
        if "sweep=optuna" in words:
            short.append("hydra.sweeper.n_trials=2")
            pytest.importorskip("optuna", reason="the extra 'optuna' is not installed")
        done = script_in(tmp_path)(*words, *short)
    assert done.returncode == 0, done.stderr
