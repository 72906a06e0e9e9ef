"""The scripts, and every command of the README and docs/, each as a process of its own."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from makemore.cli import main as cli
from tests.helpers import QUIET, ROOT, Script, script_in, wait_for
from tests.models.test_model_file import saved as saved_model


def test_a_folder_that_holds_something_is_not_written_into(script: Script, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = script("train.py", "hydra.run.dir=mine", "steps=1")
    assert done.returncode == 1
    assert done.stderr.startswith("error: hydra.run.dir=mine ")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["train.py", "sample.py"])
def test_a_python_without_the_project_is_told_how_to_install_it(name: str) -> None:
    done = subprocess.run([sys.executable, "-S", str(ROOT / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "make install" in done.stderr


def test_a_run_may_change_into_its_folder(script: Script) -> None:
    done = script("train.py", "hydra.job.chdir=true", "hydra.job.name=a/b", "steps=3", "logger=none", "callbacks=none")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "key"), [("train.py", "emb_dim: 10"), ("sample.py", "\nn: 20\n")])
def test_help_lists_keys_and_does_not_import_torch(name: str, key: str) -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / name), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"python {name}" in done.stdout
    assert key in done.stdout
    assert " torch\n" not in done.stderr


@pytest.mark.parametrize("mistake", ["model.hidden=0", "data.path=nowhere.txt"])
def test_a_mistake_is_answered_without_torch(tmp_path: Path, mistake: str) -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "train.py"), "data=text", "data.path=few.txt", mistake]
    (tmp_path / "few.txt").write_text("emma")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"error: {mistake}" in done.stderr
    assert " torch\n" not in done.stderr


def test_help_lists_every_choice(script: Script) -> None:
    lines = script("train.py", "--help").stdout.splitlines()
    for group in ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "experiment", "sweep"):
        assert f"{group}: {', '.join(sorted(path.stem for path in (ROOT / 'conf' / group).glob('*.yaml')))}" in lines


def test_what_a_model_reads_as_unknown_in_a_prefix_is_said(script: Script) -> None:
    assert script("train.py", "steps=5", "data.min_count=2000", *QUIET).returncode == 0
    for prefix, unknown in ((".", True), ("q", True), ("a", False)):
        assert ("<unk>" in script("sample.py", "n=1", f"prefix={prefix}").stderr) is unknown


def test_train_then_sample_then_sweep_in_an_empty_folder(script: Script, tmp_path: Path) -> None:
    done = script("train.py", "experiment=smoke", "steps=60")
    assert done.returncode == 0, done.stderr
    assert "python sample.py checkpoint=outputs/" in done.stdout
    printed = next(line for line in done.stdout.splitlines() if "python sample.py" in line)
    sampled = script(*shlex.split(printed.partition("python ")[2]), "n=3", "seed=1")
    assert len(sampled.stdout.splitlines()) == 3
    assert script("sample.py", "n=3", "seed=1").stdout == sampled.stdout
    assert script("sample.py", "n=5", "prefix=ka").stdout.count("ka") >= 5
    folders = set(tmp_path.rglob("best.safetensors"))

    sweep = script("train.py", "-m", "model.emb_dim=2,3", "model.hidden=5,7", "steps=5")
    assert sweep.returncode == 0, sweep.stderr
    runs = sorted(path.parent.name for path in set(tmp_path.rglob("best.safetensors")) - folders)
    assert runs[1] == "emb_dim=2,hidden=7"
    assert len(runs) == 4
    assert not (tmp_path / "multirun").exists()
    # Of runs side by side any may be the last to end.
    assert re.search("emb_dim=[23],hidden=[57]", script("sample.py", "n=1").stderr)


def test_a_run_can_be_run_again_from_its_folder(script: Script, tmp_path: Path) -> None:
    settings = ["steps=30", "optimizer=adamw", "schedule=one_cycle", "model.hidden=9", "data.unique=true", "seed=5"]
    assert script("train.py", *settings, "logger=none", "callbacks=none").returncode == 0
    (first,) = tmp_path.rglob("last.ckpt")
    assert re.fullmatch(
        r"\d\d-\d\d-\d\d-mlp,hidden=9,optimizer=adamw,schedule=one_cycle,seed=5,steps=30,unique=true", first.parent.name
    )
    again = script("train.py", "--config-dir", str(first.parent), "--config-name", "config")
    assert again.returncode == 0, again.stderr
    second = next(path for path in tmp_path.rglob("last.ckpt") if path != first)
    a, b = (torch.load(path, weights_only=True)["state_dict"] for path in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)
    typo = script("train.py", "--config-dir", str(first.parent), "--config-name", "config", "model.hiden=3")
    assert typo.returncode == 1
    assert "model.hidden" in typo.stderr


def test_sampling_and_evaluating_import_neither_lightning_nor_a_compiler(tmp_path: Path) -> None:
    path = saved_model(tmp_path / "model")
    for script, asked in (("sample.py", "n=2"), ("evaluate.py", "words=[a,b]")):
        command = [sys.executable, "-X", "importtime", str(ROOT / script), asked, f"checkpoint={path}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert len(done.stdout.splitlines()) >= 2
        assert " torch\n" in done.stderr
        assert "lightning" not in done.stderr
        assert "torch._dynamo" not in done.stderr  # a second


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


def interrupted_once_there(
    folder: Path, pattern: str, *arguments: str, by: signal.Signals = signal.SIGINT
) -> tuple[int, str]:
    """Runs train.py and interrupts it as soon as it has written a file; gives its exit code and what it printed."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: list(folder.rglob(pattern)))
    process.send_signal(by)
    printed, _ = process.communicate(timeout=120)
    return process.returncode, printed


@pytest.mark.parametrize(("by", "expected"), [(signal.SIGINT, cli.INTERRUPTED), (signal.SIGTERM, cli.TERMINATED)])
def test_a_signal_ends_a_run_early_but_whole(tmp_path: Path, by: signal.Signals, expected: int) -> None:
    code, printed = interrupted_once_there(tmp_path, "best.safetensors", "steps=100000000", "eval_every=1000", by=by)
    assert code == expected
    assert "sample.py" in printed
    (metrics,) = tmp_path.rglob("metrics.json")
    assert '"status": "interrupted"' in metrics.read_text()
    left = {path.name for path in metrics.parent.iterdir()}
    assert {"best.safetensors", "last.ckpt", "loss.png", "samples.txt"} <= left


def test_ctrl_c_while_figures_are_drawn_loses_nothing(tmp_path: Path) -> None:
    code, printed = interrupted_once_there(tmp_path, "loss.png", "steps=2000")
    assert code == 0, printed
    (metrics,) = tmp_path.rglob("metrics.json")
    assert '"status": "finished"' in metrics.read_text()
    assert {"loss.png", "embedding.png", "samples.txt"} <= {path.name for path in metrics.parent.iterdir()}


# Of docs/, the guide to one's own networks is tested in tests/test_own_model.py, and the log of experiments is history.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTED = [page for page in PAGES if page.name not in ("your-own-model.md", "experiments.md")]
# A command is a line, or stands between backquotes. The lists of names that are no part of the project are left out, so
# that the bundled one takes their place.
COMMAND = re.compile(r"(?:^|`)(python (?:train|sample|evaluate)\.py[^`\n]*)", re.MULTILINE)
LIST = re.compile(r" data=text data\.path=(?:names|train)\.txt(?: data\.dev_path=val\.txt data\.test_path=test\.txt)?")


def find_commands(text: str) -> list[str]:
    return [shlex.join(shlex.split(LIST.sub("", command), comments=True)) for command in COMMAND.findall(text)]


COMMANDS = sorted({command for page in TESTED for command in find_commands(page.read_text(encoding="utf-8"))})
# What needs more than the project has.
ELSEWHERE = (
    "data=makemore",  # a download
    "data=brown",  # a corpus that is no part of the project
    "experiment=words",  # reads it, too
    "neighbours=[he,",  # a model trained on it
    "--config-dir",  # an earlier run: test_a_run_can_be_run_again_from_its_folder
    "resume=",  # tests/cli/test_resume.py
    "start_from=",  # tests/training/test_start_from.py
    "resume_sweep=",  # tests/sweeps/test_sweep_commands.py
    "hydra/launcher=",  # a cluster: tests/sweeps/test_ray.py
)
# At full size, evaluating these takes long.
SMALLER = {
    "experiment=best": ["model.hidden=8", "model.emb_dim=8"],
    "experiment=gru": ["model.hidden=16"],
    "experiment=lstm": ["model.hidden=16"],
    "experiment=transformer": ["model.width=16"],
    "experiment=deep": ["model.hidden=16"],
    "experiment=bow": ["model.hidden=16"],
    "experiment=rnn": ["model.hidden=16"],
}


def test_every_page_has_commands() -> None:
    assert {"python train.py", "python sample.py", "python evaluate.py"} < set(COMMANDS)
    without = [page.name for page in TESTED if not find_commands(page.read_text(encoding="utf-8"))]
    assert without == ["faq.md"]
    # A reason to leave commands out that applies to none is out of date.
    assert [reason for reason in ELSEWHERE if not any(reason in command for command in COMMANDS)] == []


def list_different() -> list[str]:
    """The commands to try out: one of those that differ only in their order, and in their steps, which are cut."""
    here = [command for command in COMMANDS if not any(word in command for word in ELSEWHERE)]
    return list({frozenset(w for w in shlex.split(each) if not w.startswith("steps=")): each for each in here}.values())


@pytest.mark.parametrize("command", list_different())
def test_commands_on_pages_run(tmp_path: Path, trained: Path, command: str) -> None:
    (tmp_path / "my_words.txt").write_text("\n".join(["emma", "ava", "mia", "kalia", "zoë"] * 4), encoding="utf-8")
    run = next(trained.rglob("best.safetensors")).parent
    words = [word.replace("my_words.txt", str(tmp_path / "my_words.txt")) for word in shlex.split(command)[1:]]
    words = [re.sub(r"outputs/DATE/(TIME-mlp|RUN)|\bRUN\b", str(run), word) for word in words]
    if words[0] in ("sample.py", "evaluate.py"):
        done = script_in(trained)(*words)
    else:
        # Short; everything else is what the page says.
        shows = any(re.match(r"~?(experiment|callbacks|logger)\b", word) for word in words)
        own_data = any(re.match(r"data=|data\.(overfit|unique|path)|model=mixture", word) for word in words)
        # Two values of each number that is swept.
        words = [re.sub(r"=(\d+,\d+),[\d,]+$", r"=\1", word) for word in words]
        short = ["steps=10", *([] if shows else QUIET), *([] if own_data else ["data.overfit=1000"])]
        short += [setting for word in words for setting in SMALLER.get(word, [])]
        if "sweep=optuna" in words:
            short.append("hydra.sweeper.n_trials=2")
            pytest.importorskip("optuna", reason="the extra 'optuna' is not installed")
        done = script_in(tmp_path)(*words, *short)
    assert done.returncode == 0, done.stderr
